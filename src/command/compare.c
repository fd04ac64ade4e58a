/* command/compare.c - two heaps of messages that ought to hold the same: what is missing, what is there twice, and in which members
 * records differ. For who runs Penstock beside another pipeline, or two versions of it, on the same events. */
#include "command/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "command/compare_join.h"
#include "log/topic_scan.h"
#include "wire/json.h"

enum {
    LINE_BYTES_MAX = 64 << 20,
    MEMORY_USUAL = 512 << 20,
    TOLERANCE_MS_USUAL = 2000,
    PROPERTIES_MAX = 32
};

/* What has to differ between two runs over the same events: clocks of machines, and how often a person was written. */
static const char *const ignored_usual[] = { "now", "created_at", "captured_at", "version", "inserted_at", "_timestamp", "_offset", "_partition",
                                             "kafka.headers.now", "kafka.headers.dlq_timestamp" };

/* What PostHog's services look at. Others are traces of the way that a message took. */
static const char *const headers_usual[] = { "token", "distinct_id", "session_id", "timestamp", "event", "uuid", "now",
                                             "force_disable_person_processing", "historical_migration", "skip_heatmap_processing",
                                             "dlq_reason", "dlq_step", "dlq_timestamp", "content-encoding" };

struct taking {
    struct join   *join;
    enum join_side side;
    struct arena  *arena;
    bool           all_headers;
};

/* --- reading ----------------------------------------------------------------------------------- */

static bool is_compared(const struct taking *taking, struct span header)
{
    for (size_t i = 0; i < sizeof headers_usual / sizeof *headers_usual; i++)
        if (span_is(header, headers_usual[i]))
            return true;
    return taking->all_headers;
}

static int take_kafka(void *ctx, const struct log_message *message, struct err *err)
{
    struct taking          *taking = ctx;
    struct upstream_message taken = { .has_key = message->key.bytes > 0, .key = message->key, .value = message->value };

    for (size_t i = 0; i < message->header_count; i++)
        if (!is_compared(taking, message->headers[i].name))
            continue;
        else if (message->headers[i].value.at == NULL)
            upstream_header_add_null(&taken, message->headers[i].name);
        else
            upstream_header_add(&taken, message->headers[i].name, message->headers[i].value);
    return join_add(taking->join, taking->side, &taken, true, err);
}

/* A line is a message as `{"value":"...","key":...,"headers":...}`, or its value alone. */
static int take_line(struct taking *taking, struct span line, struct err *err)
{
    struct upstream_message message;
    struct err              not_whole = { 0 };
    bool                    whole = true;
    size_t                  kept = 0;

    arena_reset(taking->arena);
    if (upstream_message_read_line(line, taking->arena, &message, &not_whole) < 0) {
        if (not_whole.kind == ERR_FULL) {
            *err = not_whole;
            return -1;
        }
        message = (struct upstream_message){ .value = line };
        whole = false;
    }
    for (size_t i = 0; i < message.header_count; i++)
        if (is_compared(taking, message.headers[i].name))
            message.headers[kept++] = message.headers[i];
    message.header_count = kept;
    return join_add(taking->join, taking->side, &message, whole, err);
}

static int take_file(struct taking *taking, const char *path, struct err *err)
{
    FILE   *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    char   *line = NULL;
    size_t  room = 0;
    ssize_t bytes;
    int     rc = 0;

    if (file == NULL)
        return err_set(err, ERR_INPUT, "%s cannot be opened: a topic is kafka://HOST:PORT/TOPIC, anything else a file of messages", path);
    while (rc == 0 && (bytes = getline(&line, &room, file)) > 0) {
        if (line[bytes - 1] == '\n')
            bytes--;
        if (bytes > LINE_BYTES_MAX)
            rc = err_set(err, ERR_INPUT, "%s: a line of %zd bytes; at most %d are read", path, bytes, LINE_BYTES_MAX);
        else if (bytes > 0)
            rc = take_line(taking, span_of(line, (size_t)bytes), err);
    }
    if (rc == 0 && ferror(file))
        rc = err_set(err, ERR_INPUT, "%s cannot be read to its end", path);
    free(line);
    if (file != stdin)
        (void)fclose(file);
    return rc;
}

/* kafka://HOST:PORT[,HOST:PORT]/TOPIC */
static int take_topic(struct taking *taking, const char *where, const char *const *properties, int64_t since_us, struct err *err)
{
    const char *brokers = where + strlen("kafka://"), *topic = strrchr(brokers, '/');
    char        address[1024];

    if (topic == NULL || topic == brokers || topic[1] == '\0' || (size_t)(topic - brokers) >= sizeof address)
        return err_set(err, ERR_INPUT, "%s: a topic is kafka://HOST:PORT[,HOST:PORT]/TOPIC", where);
    (void)snprintf(address, sizeof address, "%.*s", (int)(topic - brokers), brokers);
    return topic_scan(address, properties, topic + 1, since_us, take_kafka, taking, err);
}

/* --- telling ----------------------------------------------------------------------------------- */

static void tell_count(const char *name, const uint64_t of[2])
{
    printf("  %-34s %14" PRIu64 " %14" PRIu64 "\n", name, of[0], of[1]);
}

static void tell_text(const struct join_result *result, const struct compare_rules *rules, const char *const sides[2])
{
    printf("left:  %s\nright: %s\n\n  %-34s %14s %14s\n", sides[0], sides[1], "", "left", "right");
    tell_count("messages", result->messages);
    tell_count("no JSON object", result->unreadable);
    tell_count("older versions of the same", result->older);
    tell_count("twice", result->twice);
    tell_count("on this side only", result->only);
    printf("\n  records on both sides: %" PRIu64 " the same, %" PRIu64 " differ\n", result->same, result->differing);
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < result->example_count[side]; i++)
            printf("  only %s: %s\n", side == 0 ? "left" : "right", result->examples[side][i]);
    for (size_t i = 0; i < result->field_count; i++)
        printf("\n  %s differs in %" PRIu64 ", such as %s\n    left:  %s\n    right: %s\n", result->fields[i].path, result->fields[i].records,
               result->fields[i].name, result->fields[i].left, result->fields[i].right);
    if (result->fields_more > 0)
        printf("\n  and %" PRIu64 " differences in members beyond the first %d\n", result->fields_more, JOIN_FIELDS_MAX);
    printf("\n  not compared:");
    for (const char *const *pattern = rules->ignored; *pattern != NULL; pattern++)
        printf(" %s", *pattern);
    printf("%s; times within %" PRId64 " ms count as the same\n", rules->ignored[0] == NULL ? " nothing is left out" : "",
           rules->time_tolerance_us / 1000);
    printf("%s\n", join_is_same(result) ? "the same" : "not the same");
}

static void json_pair(struct buf *out, const char *name, const uint64_t of[2])
{
    buf_add_format(out, "\"%s\":{\"left\":%" PRIu64 ",\"right\":%" PRIu64 "},", name, of[0], of[1]);
}

static void json_text_member(struct buf *out, const char *name, const char *text)
{
    buf_add_format(out, "\"%s\":\"", name);
    json_write_escaped_lossy(out, span_text(text));
    buf_add_text(out, "\"");
}

static void tell_json(const struct join_result *result, const struct compare_rules *rules)
{
    struct buf out;

    buf_init(&out, 64 << 20);
    buf_add_byte(&out, '{');
    json_pair(&out, "messages", result->messages);
    json_pair(&out, "unreadable", result->unreadable);
    json_pair(&out, "older_versions", result->older);
    json_pair(&out, "twice", result->twice);
    json_pair(&out, "only", result->only);
    buf_add_format(&out, "\"same\":%" PRIu64 ",\"differing\":%" PRIu64 ",\"fields\":[", result->same, result->differing);
    for (size_t i = 0; i < result->field_count; i++) {
        buf_add_text(&out, i == 0 ? "{" : ",{");
        json_text_member(&out, "path", result->fields[i].path);
        buf_add_format(&out, ",\"records\":%" PRIu64 ",", result->fields[i].records);
        json_text_member(&out, "record", result->fields[i].name);
        buf_add_byte(&out, ',');
        json_text_member(&out, "left", result->fields[i].left);
        buf_add_byte(&out, ',');
        json_text_member(&out, "right", result->fields[i].right);
        buf_add_byte(&out, '}');
    }
    buf_add_format(&out, "],\"fields_more\":%" PRIu64, result->fields_more);
    for (int side = 0; side < 2; side++) {
        buf_add_format(&out, ",\"only_%s\":[", side == 0 ? "left" : "right");
        for (size_t i = 0; i < result->example_count[side]; i++) {
            buf_add_text(&out, i == 0 ? "\"" : ",\"");
            json_write_escaped_lossy(&out, span_text(result->examples[side][i]));
            buf_add_byte(&out, '"');
        }
        buf_add_byte(&out, ']');
    }
    buf_add_text(&out, ",\"not_compared\":[");
    for (size_t i = 0; rules->ignored[i] != NULL; i++) {
        buf_add_text(&out, i == 0 ? "\"" : ",\"");
        json_write_escaped_lossy(&out, span_text(rules->ignored[i]));
        buf_add_byte(&out, '"');
    }
    buf_add_format(&out, "],\"time_tolerance_ms\":%" PRId64 ",\"is_same\":%s}\n", rules->time_tolerance_us / 1000,
                   join_is_same(result) ? "true" : "false");
    (void)fwrite(out.at, 1, out.bytes, stdout);
    buf_fini(&out);
}

/* --- the command ------------------------------------------------------------------------------- */

static int rules_read(const struct command_args *args, struct compare_rules *out)
{
    size_t             count = 0;
    unsigned long long tolerance_ms;

    *out = (struct compare_rules){ .time_tolerance_us = 0 };
    if (args_number(args, "--tolerance-ms", args_has(args, "--strict") ? 0 : TOLERANCE_MS_USUAL, 86400000, &tolerance_ms) < 0)
        return -1;
    out->time_tolerance_us = (int64_t)tolerance_ms * 1000;
    if (!args_has(args, "--strict"))
        for (size_t i = 0; i < sizeof ignored_usual / sizeof *ignored_usual; i++)
            out->ignored[count++] = ignored_usual[i];
    for (size_t i = 0; args_text_nth(args, "--ignore", i) != NULL; i++) {
        if (count == COMPARE_PATTERNS_MAX)
            return args_wrong(args, "--ignore: at most %d members", COMPARE_PATTERNS_MAX), -1;
        out->ignored[count++] = args_text_nth(args, "--ignore", i);
    }
    return 0;
}

/* NAME=VALUE to names and values by turns; the texts are kept in to. */
static int properties_read(const struct command_args *args, char to[PROPERTIES_MAX][256], const char *out[2 * PROPERTIES_MAX + 1])
{
    size_t at = 0;

    for (; args_text_nth(args, "--client", at) != NULL; at++) {
        const char *text = args_text_nth(args, "--client", at), *equals = strchr(text, '=');

        if (at == PROPERTIES_MAX || equals == NULL || strlen(text) >= sizeof to[at])
            return args_wrong(args, "--client: NAME=VALUE of librdkafka, at most %d of them", PROPERTIES_MAX), -1;
        (void)snprintf(to[at], sizeof to[at], "%s", text);
        to[at][equals - text] = '\0';
        out[2 * at] = to[at];
        out[2 * at + 1] = to[at] + (equals - text) + 1;
    }
    out[2 * at] = NULL;
    return 0;
}

static int memory_read(const struct command_args *args, unsigned long long *mib_out)
{
    enum { MIB_MAX = 1 << 20 };

    if (args_number(args, "--memory", MEMORY_USUAL >> 20, MIB_MAX, mib_out) < 0)
        return -1;
    return *mib_out > 0 ? 0 : (args_wrong(args, "--memory takes a whole number from 1 to %d, not \"%s\"", MIB_MAX, args_text(args, "--memory")), -1);
}

int compare_run(const struct command_args *args)
{
    const char          *sides[2] = { args_at(args, 0), args_at(args, 1) }, *properties[2 * PROPERTIES_MAX + 1];
    const char          *folder = args_text(args, "--folder") != NULL ? args_text(args, "--folder") : getenv("TMPDIR");
    char                 kept[PROPERTIES_MAX][256];
    struct compare_rules rules;
    struct join_result  *result = calloc(1, sizeof *result);
    struct taking        taking = { .arena = arena_new(64 << 10, 256 << 20), .all_headers = args_has(args, "--strict") };
    struct err           err = { 0 };
    unsigned long long   memory_mib, since_s;
    int                  rc = EXIT_USAGE;

    if (result == NULL || taking.arena == NULL) {
        rc = EXIT_FAILED;
        goto done;
    }
    if (rules_read(args, &rules) < 0 || properties_read(args, kept, properties) < 0 || memory_read(args, &memory_mib) < 0 ||
        args_number(args, "--since", 0, 1ull << 31, &since_s) < 0)
        goto done;
    rc = join_open(folder != NULL && folder[0] != '\0' ? folder : "/tmp", (size_t)memory_mib << 20, &taking.join, &err);
    for (int side = 0; side < 2 && rc == 0; side++) {
        int64_t since_us = since_s == 0 ? 0 : clock_wall_us() - (int64_t)since_s * 1000000;

        taking.side = side == 0 ? JOIN_LEFT : JOIN_RIGHT;
        if (strncmp(sides[side], "kafka://", strlen("kafka://")) == 0)
            rc = take_topic(&taking, sides[side], properties, since_us, &err);
        else
            rc = take_file(&taking, sides[side], &err);
    }
    if (rc == 0)
        rc = join_run(taking.join, &rules, result, &err);
    if (rc < 0) {
        rc = command_failed(&err);
        goto done;
    }
    if (args_has(args, "--json"))
        tell_json(result, &rules);
    else
        tell_text(result, &rules, sides);
    rc = join_is_same(result) ? EXIT_DONE : EXIT_FAILED;
done:
    join_close(taking.join);
    if (taking.arena != NULL)
        arena_free(taking.arena);
    free(result);
    return rc;
}
