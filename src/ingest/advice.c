/* ingest/advice.c - what is told to whoever sends, and changes nothing about the event: the sender can mend it.
 *
 * `$$client_ingestion_warning` events go the same way: a client, or capture, tells of trouble that it had. A client
 * may say so only of what is its own (warning_of_client): a page must not be able to report a merge that never was. */
#include "ingest/normalize_work.h"

#include "wire/time.h"
#include "wire/utf8.h"

enum {
    NAME_UNITS_MAX = 200,          /* as in normalize.c */
    VALUE_UNITS_MAX = 200,         /* of a client's value in a warning */
    CLIENT_DETAILS_BYTES_MAX = 16 << 10,
    CLIENT_SOURCE_BYTES_MAX = 64
};

/* --- the event itself -------------------------------------------------------------------------- */

/* ISO 8601's years of six digits with a sign, as JavaScript writes times beyond the year 9999. */
static bool year_expanded(struct span text, int64_t *out)
{
    int64_t year = 0;

    if (text.bytes < 8 || (text.at[0] != '+' && text.at[0] != '-') || text.at[7] != '-')
        return false;
    for (size_t i = 1; i < 7; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        year = year * 10 + text.at[i] - '0';
    }
    *out = text.at[0] == '-' ? -year : year;
    return true;
}

static void warn_timestamp(struct work *work)
{
    const struct record *record = &work->item->record;
    struct warning      *warning;
    struct span          text;
    int64_t              parsed_us = 0, year = 0;
    bool                 readable;

    if (work->timestamp.raw.bytes <= 2 || work->timestamp.kind != JSON_STRING ||
        (record->timestamp_source != RECORD_TIME_NOW_FALLBACK && record->timestamp_us != 0))
        return;
    text = json_text(&work->timestamp, work->env->arena);
    if (text.at == NULL)
        return;
    readable = time_parse_lenient(text, &parsed_us);
    if (readable)
        year = time_year(parsed_us);
    else
        readable = year_expanded(text, &year) && (year < 0 || year > 9999);
    if (readable && year >= 0 && year <= 9999)
        return;
    warning = warning_add(&work->item->warnings, WARNING_TIMESTAMP);
    warning_text(warning, "field", SPAN("timestamp"));
    warning_text(warning, "value", utf8_cut_utf16(text, VALUE_UNITS_MAX));
    warning_text(warning, "reason", readable ? SPAN("out of bounds") : SPAN("not a time"));
    if (readable)
        warning_number(&work->item->warnings, warning, "parsed_year", year);
}

/* The names that SDKs of the product's own give themselves. */
static bool lib_is_known(struct span lib)
{
    static const char *const libs[] = {
        "web", "js", "posthog-js-lite", "posthog-node", "posthog-edge", "posthog-server", "posthog-python", "posthog-go",
        "posthog-ruby", "posthog-php", "posthog-java", "posthog-dotnet", "posthog-elixir", "posthog-rs", "posthog-ios",
        "posthog-android", "posthog-react-native", "posthog-flutter", "posthog-unity",
    };

    for (size_t i = 0; i < sizeof libs / sizeof *libs; i++)
        if (span_is(lib, libs[i]))
            return true;
    return false;
}

/* Time-ordered ids keep the warehouse's order; whoever uses an SDK of the product's own cannot change it. */
static void warn_uuid_version(struct work *work)
{
    const struct json_value *lib = member_list_get(&work->properties, KEY_LIB);
    struct warning          *warning;
    struct span              text;

    if ((work->item->record.flags & (RECORD_UUID_DERIVED | RECORD_UUID_MADE)) != 0 ||
        uuid_version(&work->item->record.uuid) == 7 || lib == NULL || lib->kind != JSON_STRING || lib->raw.bytes <= 2)
        return;
    text = json_text(lib, work->env->arena);
    if (text.at == NULL || lib_is_known(text))
        return;
    warning = warning_add(&work->item->warnings, WARNING_UUID_VERSION);
    if (warning != NULL)
        warning->key = text;
    warning_text(warning, "event", work->item->name);
    warning_text(warning, "lib", utf8_cut_utf16(text, VALUE_UNITS_MAX));
}

static void warn_capture(struct work *work)
{
    struct item    *item = work->item;
    struct warning *warning;

    if ((item->record.flags & RECORD_DISTINCT_CUT) != 0) {
        warning = warning_add(&item->warnings, WARNING_DISTINCT_ID_CUT);
        warning_text(warning, "event", item->name);
        warning_number(&item->warnings, warning, "maxLength", 200);
    }
    if ((item->record.flags & RECORD_REPAIRED) != 0) {
        warning = warning_add(&item->warnings, WARNING_TEXT_REPAIRED);
        warning_text(warning, "event", item->name);
        warning_text(warning, "message", SPAN("unpaired surrogates or U+0000 were replaced by U+FFFD"));
    }
    if (item->name.bytes < item->record.event.bytes) {
        warning = warning_add(&item->warnings, WARNING_NAME_TOO_LONG);
        warning_text(warning, "event", item->name);
        warning_number(&item->warnings, warning, "maxLength", NAME_UNITS_MAX);
    }
}

/* --- counts of `$ai_` events ------------------------------------------------------------------- */

static bool is_count(const struct json_value *value, struct arena *arena)
{
    struct json_value  number = *value;
    struct json_reader reader;
    struct span        text;

    if (value->kind == JSON_NULL)
        return true;
    if (value->kind == JSON_STRING) { /* a number in quotes is one */
        text = json_text(value, arena);
        if (text.at == NULL)
            return true;
        json_reader_init(&reader, text, 0);
        if (json_skip(&reader, &number) < 0 || json_finish(&reader) < 0)
            return false;
    }
    return number.kind == JSON_NUMBER && json_double(&number) >= 0;
}

/* `$ai_input_tokens` and its like are added up into money. */
static void warn_ai_tokens(struct work *work)
{
    const struct span head = SPAN("$ai_"), tail = SPAN("_tokens");

    if (!span_starts(work->item->name, head))
        return;
    for (size_t i = 0; i < work->properties.count; i++) {
        const struct json_member *member = &work->properties.at[i];
        struct warning           *warning;

        if (member->key.bytes < head.bytes + tail.bytes || !span_starts(member->key, head) ||
            !span_equal(span_from(member->key, member->key.bytes - tail.bytes), tail) ||
            is_count(&member->value, work->env->arena))
            continue;
        warning = warning_add(&work->item->warnings, WARNING_AI_TOKENS);
        warning_text(warning, "event", work->item->name);
        warning_text(warning, "property", member->key);
        warning_text(warning, "value", utf8_cut_utf16(member->value.raw, VALUE_UNITS_MAX));
        warning_text(warning, "receivedType", span_text(value_kind_name(&member->value)));
        return;
    }
}

void advice_give(struct work *work)
{
    warn_capture(work);
    warn_timestamp(work);
    warn_uuid_version(work);
    warn_ai_tokens(work);
}

/* --- `$$client_ingestion_warning` -------------------------------------------------------------- */

/* The details that whoever claims a type gives: members of ours stand behind them, and count. */
static void take_details(struct work *work, struct warning *warning, const struct json_value *details)
{
    struct json_members members;
    struct buf          text;
    uint8_t            *room;
    struct err          ignored;

    if (warning == NULL || details == NULL || details->kind != JSON_OBJECT || details->raw.bytes > CLIENT_DETAILS_BYTES_MAX ||
        json_members_read(details->raw, work->env->arena, &members, &ignored) < 0)
        return;
    room = arena_alloc(work->env->arena, details->raw.bytes + 2);
    if (room == NULL)
        return;
    buf_init_over(&text, room, details->raw.bytes + 2);
    for (size_t i = 0; i < members.count; i++) {
        const struct json_member *member = &members.at[i];

        if (span_is(member->key, "category") || span_is(member->key, "severity") ||
            (span_is(member->key, "pipelineStep") && member->value.kind != JSON_STRING))
            continue;
        warning->has_event = warning->has_event || span_is(member->key, "eventUuid");
        warning->has_distinct_id = warning->has_distinct_id || span_is(member->key, "distinctId");
        buf_add(&text, member->key_raw);
        buf_add_byte(&text, ':');
        buf_add(&text, member->value.raw);
        buf_add_byte(&text, ',');
    }
    if (!text.failed)
        warning->members = buf_span(&text);
}

static void take_source(struct work *work, struct warning *warning, const struct json_value *source)
{
    struct span text;

    if (warning == NULL || source == NULL || source->kind != JSON_STRING)
        return;
    text = json_text(source, work->env->arena);
    if (text.at != NULL && text.bytes <= CLIENT_SOURCE_BYTES_MAX)
        warning->source = text;
}

void advice_become(struct work *work)
{
    const struct json_value *message = member_list_get(&work->properties, KEY_WARNING_MESSAGE);
    const struct json_value *type = member_list_get(&work->properties, KEY_WARNING_TYPE);
    struct span              name = SPAN("");
    struct warning          *warning;
    enum warning_type        claimed;

    if (type != NULL && type->kind == JSON_STRING)
        name = json_text(type, work->env->arena);
    claimed = name.at == NULL ? WARNING_CLIENT : warning_of_client(name);
    warning = warning_add(&work->item->warnings, claimed);
    if (claimed == WARNING_CLIENT) {
        warning_text(warning, "event", work->item->name);
        if (message != NULL)
            warning_raw(warning, "message", message->raw);
    } else {
        take_details(work, warning, member_list_get(&work->properties, KEY_WARNING_DETAILS));
        take_source(work, warning, member_list_get(&work->properties, KEY_WARNING_SOURCE));
    }
    item_decide(work->item, FATE_CLIENT_WARNING);
}
