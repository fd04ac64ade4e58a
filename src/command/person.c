/* command/person.c - penstock person show | delete | undelete | split.
 *
 * Shows what ingest's own store holds, beside the running ingest. What is to be done is asked for in the topic `control`
 * and done by ingest, the one writer of persons, in its own transaction and in order with the events; so a request can
 * be made while nothing runs, and is done when ingest starts. It is durable before the command answers. */
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "command/account.h"
#include "command/as_owner.h"
#include "command/catalog_access.h"
#include "command/people_access.h"
#include "event/packed.h"
#include "event/record.h"
#include "log/log.h"
#include "people/operate.h"
#include "wire/json.h"
#include "wire/time.h"
#include "wire/utf8.h"

enum { SHOWN_IDS_MAX = 1000, SHOWN_BYTES_MAX = 64 << 20, WRITER_WAIT_US = 5000000, WRITER_POLL_US = 20000 };

/* --- finding ----------------------------------------------------------------------------------- */

struct found {
    struct people_access store;
    uint32_t             project;
    struct person        person;
    char                 distinct_id[CONTROL_ID_BYTES_MAX]; /* one that leads to it */
    size_t               distinct_id_bytes;
};

static void found_close(struct found *found)
{
    command_people_end(&found->store);
}

static int found_open(const struct command_args *args, struct found *found, struct err *err)
{
    struct catalog *catalog;
    int             rc;

    *found = (struct found){ .project = 0 };
    if (command_catalog_open(args, false, &catalog, err) < 0)
        return -1;
    rc = command_project(args, false, catalog, &found->project, err);
    catalog_close(catalog);
    if (rc == 0)
        rc = command_people_begin(args_data(args), &found->store, err);
    if (rc == 0)
        return err_set(err, ERR_INPUT, "there are no persons in %s yet: ingest has not run", args_data(args));
    return rc < 0 ? -1 : 0;
}

static int keep_id(struct found *found, struct span distinct_id, struct err *err)
{
    if (distinct_id.bytes > sizeof found->distinct_id)
        return err_set(err, ERR_INPUT, "a distinct id of %zu bytes is longer than a request takes (%d)", distinct_id.bytes,
                       CONTROL_ID_BYTES_MAX);
    if (distinct_id.bytes > 0)
        memcpy(found->distinct_id, distinct_id.at, distinct_id.bytes);
    found->distinct_id_bytes = distinct_id.bytes;
    return 0;
}

static int first_id(void *ctx, struct span distinct_id, const struct person_link *link, struct err *err)
{
    (void)link;
    return keep_id(ctx, distinct_id, err) < 0 ? -1 : -2;
}

/* A distinct id goes before a person's uuid: ids often are uuids. ERR_INPUT: nobody. */
static int person_find(struct found *found, const char *who, struct err *err)
{
    struct person_link link;
    struct uuid        uuid;
    int                got = people_link_get(found->store.txn, found->project, span_text(who), &link, err);

    if (got == 1 && link.person != 0) {
        got = people_person_get(found->store.txn, link.person, &found->person, err);
        return got == 1 ? keep_id(found, span_text(who), err) : -1;
    }
    if (got < 0)
        return -1;
    if (uuid_parse(span_text(who), &uuid)) {
        got = people_person_find(found->store.txn, found->project, &uuid, &found->person, err);
        if (got == 1)
            return people_person_links(found->store.txn, found->person.id, first_id, found, err) == -1 ? -1 : 0;
        if (got < 0)
            return -1;
    }
    return err_set(err, ERR_INPUT, "project %u has no person of the distinct id or uuid \"%.100s\"", found->project, who);
}

static struct span found_id(const struct found *found)
{
    return span_of(found->distinct_id, found->distinct_id_bytes);
}

/* --- show -------------------------------------------------------------------------------------- */

struct showing {
    struct buf *out;
    bool        json;
    uint64_t    count;
};

static int show_id(void *ctx, struct span distinct_id, const struct person_link *link, struct err *err)
{
    struct showing *showing = ctx;

    (void)err;
    if (showing->count++ >= SHOWN_IDS_MAX)
        return 0;
    if (showing->json)
        buf_add_format(showing->out, "%s{\"distinct_id\":", showing->count == 1 ? "" : ",");
    else
        buf_add_text(showing->out, "  distinct id   ");
    json_write_string(showing->out, distinct_id);
    buf_add_format(showing->out, showing->json ? ",\"version\":%" PRIu64 "}" : "  (version %" PRIu64 ")\n", link->version);
    return 0;
}

static void show_time(struct buf *out, bool json, const char *name, int64_t at_us)
{
    buf_add_format(out, json ? ",\"%s\":" : "  %-12s  ", name);
    if (at_us == CLOCK_NONE) {
        buf_add_text(out, json ? "null" : "not noted; see person_last_seen: penstock project show");
    } else {
        buf_add_text(out, json ? "\"" : "");
        time_write_rfc3339(out, at_us);
        buf_add_text(out, json ? "\"" : "");
    }
    buf_add_text(out, json ? "" : "\n");
}

/* What was asked about this person and is not done yet. */
static int show_requests(struct found *found, struct buf *out, bool json, struct err *err)
{
    struct people_request waiting;
    uint64_t              after = PEOPLE_REQUEST_NONE;
    bool                  any = false;
    int                   got;

    while ((got = people_request_next(found->store.txn, after, &waiting, err)) == 1) {
        bool erase = (waiting.control.flags & CONTROL_WITH_EVENTS) != 0;

        after = waiting.number;
        if (waiting.control.project != found->project || !uuid_equal(&waiting.control.person, &found->person.uuid))
            continue;
        if (json)
            buf_add_format(out, "%s{\"request\":%" PRIu64 ",\"with_events\":%s,\"due_at\":\"", any ? "," : "",
                           waiting.number, erase ? "true" : "false");
        else
            buf_add_format(out, "  request %" PRIu64 ": will be deleted%s at ", waiting.number,
                           erase ? " with its events" : "");
        time_write_rfc3339(out, waiting.due_us);
        buf_add_text(out, json ? "\"}" : "\n");
        any = true;
    }
    return got;
}

static int show(struct found *found, struct buf *out, bool json, struct err *err)
{
    const struct person *person = &found->person;
    struct showing       showing = { out, json, 0 };
    char                 uuid[UUID_TEXT_BYTES];

    uuid_format(&person->uuid, uuid);
    buf_add_format(out, json ? "{\"uuid\":\"%.36s\",\"project_id\":%u,\"is_identified\":%s,\"version\":%" PRIu64
                             : "%.36s  project %u, %s, version %" PRIu64 "\n",
                   uuid, person->project,
                   json ? (person->identified ? "true" : "false") : (person->identified ? "identified" : "anonymous"),
                   person->version);
    show_time(out, json, "created_at", person->created_us);
    show_time(out, json, "last_seen_at", person->last_seen_us);
    buf_add_text(out, json ? ",\"properties\":" : "  properties    ");
    if (packed_text_to_buf(person->properties, out, err) < 0)
        return -1;
    buf_add_text(out, json ? ",\"distinct_ids\":[" : "\n");
    if (people_person_links(found->store.txn, person->id, show_id, &showing, err) < 0)
        return -1;
    if (json)
        buf_add_format(out, "],\"distinct_id_count\":%" PRIu64 ",\"requests\":[", showing.count);
    else if (showing.count > SHOWN_IDS_MAX)
        buf_add_format(out, "  and %" PRIu64 " more distinct ids\n", showing.count - SHOWN_IDS_MAX);
    if (show_requests(found, out, json, err) < 0)
        return -1;
    buf_add_text(out, json ? "]}\n" : "");
    return out->failed ? err_set(err, ERR_FULL, "the person is too large to be shown") : 0;
}

int person_show_run(const struct command_args *args)
{
    struct err   err = { .kind = ERR_NONE };
    struct found found;
    struct buf   out;
    int          code = EXIT_DONE;

    buf_init(&out, SHOWN_BYTES_MAX);
    if (found_open(args, &found, &err) < 0 || person_find(&found, args_at(args, 0), &err) < 0 ||
        show(&found, &out, args_has(args, "--json"), &err) < 0 ||
        (args_has(args, "--json") ? command_write_json : command_write_text)(buf_span(&out), &err) < 0)
        code = command_failed(&err);
    found_close(&found);
    buf_fini(&out);
    return code;
}

/* --- asking ------------------------------------------------------------------------------------ */

/* Another command may be writing just now. */
static int writer_open(struct log *log, struct log_writer **out, struct err *err)
{
    static const char *const       needed[] = { "ingest", NULL };
    const struct log_topic_options options = { .segment_bytes = 1 << 20, .retention_us = (int64_t)1, .cursors_needed = needed,
                                              .keeps_places = true };
    int64_t                        until_us = clock_mono_us() + WRITER_WAIT_US;

    for (;;) {
        if (log_writer_open(log, input_topic(INPUT_CONTROL), 0, &options, out, err) == 0)
            return 0;
        if (err->kind != ERR_RETRY || clock_mono_us() > until_us)
            return err_wrap(err, "the request was not made");
        (void)usleep(WRITER_POLL_US);
    }
}

static int append(const struct command_args *args, struct span body, uint64_t *number_out, struct err *err)
{
    struct log          *log;
    struct log_writer   *writer;
    struct log_batch    *batch = log_batch_new();
    struct as_owner      before = { .changed = false };
    char                 folder[4096];
    int                  rc = -1;

    if (batch == NULL)
        return err_set(err, ERR_FULL, "no memory");
    if (data_path(args_data(args), "log", folder, sizeof folder, err) < 0)
        goto no_log;
    before = as_owner_begin(folder); /* the topic may have to be made */
    if (account_log_open(args_data(args), &log, err) < 0)
        goto no_log;
    if (writer_open(log, &writer, err) < 0)
        goto no_writer;
    if (log_batch_add(batch, body, err) == 0 &&
        log_writer_append(writer, batch, clock_wall_us(), number_out, err) == 0 && log_writer_sync(writer, err) == 0) {
        log_writer_publish(writer, log_writer_end(writer));
        rc = 0;
    }
    log_writer_close(writer);
no_writer:
    log_close(log);
no_log:
    as_owner_end(&before);
    log_batch_free(batch);
    return rc;
}

static int ask(const struct command_args *args, struct control *control, const struct span *ids, uint64_t *number_out,
               struct err *err)
{
    static uint8_t       body[1 << 22];
    const struct passwd *user = getpwuid(geteuid());
    size_t               bytes;

    control->asked_us = clock_wall_us();
    control->by = user != NULL ? span_text(user->pw_name) : SPAN("");
    if (control->by.bytes > CONTROL_BY_BYTES_MAX || !utf8_valid(control->by))
        control->by = SPAN("");
    bytes = control_bytes(control, ids);
    if (bytes == 0 || bytes > sizeof body)
        return err_set(err, ERR_INPUT, "a request takes at most %d distinct ids of %d bytes", CONTROL_IDS_MAX,
                       CONTROL_ID_BYTES_MAX);
    control_write(control, ids, body);
    return append(args, span_of(body, bytes), number_out, err);
}

static void answer(const struct command_args *args, uint64_t number, const char *text)
{
    if (args_has(args, "--json"))
        printf("{\"request\":%" PRIu64 "}\n", number);
    else
        printf("request %" PRIu64 ": %s\n", number, text);
}

int person_delete_run(const struct command_args *args)
{
    struct control control = { .kind = CONTROL_DELETE, .id_count = 1 };
    struct err     err = { .kind = ERR_NONE };
    struct found   found;
    struct span    id;
    uint64_t       number;
    char           text[256];
    int            rc;

    if (args_has(args, "--with-events"))
        control.flags |= CONTROL_WITH_EVENTS;
    if (args_has(args, "--now"))
        control.flags |= CONTROL_NOW;
    rc = found_open(args, &found, &err);
    if (rc == 0)
        rc = person_find(&found, args_at(args, 0), &err);
    control.project = found.project;
    control.person = found.person.uuid;
    found_close(&found);
    id = found_id(&found);
    if (rc < 0 || ask(args, &control, &id, &number, &err) < 0)
        return command_failed(&err);
    (void)snprintf(text, sizeof text,
                   args_has(args, "--now") ? "the person will be deleted%s as soon as ingest runs"
                                           : "the person will be deleted%s when ingest.undo_window is over (24 hours unless set); until then "
                                             "it can be taken back: penstock person undelete %" PRIu64,
                   (control.flags & CONTROL_WITH_EVENTS) != 0 ? " with its events" : "", number);
    answer(args, number, text);
    return EXIT_DONE;
}

int person_undelete_run(const struct command_args *args)
{
    struct control        control = { .kind = CONTROL_UNDELETE };
    struct people_request waiting = { .number = 0 };
    struct err            err = { .kind = ERR_NONE };
    struct found          found;
    uint64_t              wanted, number, after = PEOPLE_REQUEST_NONE;
    char                 *end, text[128];
    int                   rc;

    wanted = strtoull(args_at(args, 0), &end, 10);
    if (*args_at(args, 0) < '0' || *args_at(args, 0) > '9' || *end != '\0')
        return args_wrong(args, "\"%.60s\" is no number of a request; penstock person show tells it", args_at(args, 0));
    rc = found_open(args, &found, &err);
    while (rc == 0 && (rc = people_request_next(found.store.txn, after, &waiting, &err)) == 1) {
        after = waiting.number;
        rc = waiting.number == wanted && waiting.control.project == found.project ? 2 : 0;
    }
    control.project = found.project;
    control.request = wanted;
    found_close(&found);
    if (rc == 0)
        (void)err_set(&err, ERR_INPUT, "no deletion of the number %" PRIu64 " waits in project %u; it was done, taken back, "
                                       "or ingest has not read it yet", wanted, control.project);
    if (rc <= 0 || ask(args, &control, NULL, &number, &err) < 0)
        return command_failed(&err);
    (void)snprintf(text, sizeof text, "request %" PRIu64 " is taken back as soon as ingest runs", wanted);
    answer(args, number, text);
    return EXIT_DONE;
}

int person_split_run(const struct command_args *args)
{
    static struct span ids[CONTROL_IDS_MAX];
    struct control     control = { .kind = CONTROL_SPLIT };
    struct err         err = { .kind = ERR_NONE };
    struct found       found;
    uint64_t           number;
    int                rc;

    rc = found_open(args, &found, &err);
    if (rc == 0)
        rc = person_find(&found, args_at(args, 0), &err);
    for (size_t i = 0; i < args_count(args) && rc == 0; i++) {
        struct person_link link;
        struct uuid        own;
        int                got;

        ids[i] = i == 0 ? found_id(&found) : span_text(args_at(args, i));
        if (i == 0)
            continue;
        own = people_person_uuid(found.project, ids[i]);
        got = people_link_get(found.store.txn, found.project, ids[i], &link, &err);
        if (got >= 0 && (got == 0 || link.person != found.person.id))
            rc = err_set(&err, ERR_INPUT, "\"%.100s\" is no distinct id of this person", args_at(args, i));
        else if (got == 1 && uuid_equal(&own, &found.person.uuid))
            rc = err_set(&err, ERR_INPUT, "\"%.100s\" is what the person's uuid was made of: it stays, the others can leave", args_at(args, i));
        else if (got < 0)
            rc = -1;
    }
    control.id_count = (uint16_t)args_count(args);
    control.project = found.project;
    control.person = found.person.uuid;
    found_close(&found);
    if (rc < 0 || ask(args, &control, ids, &number, &err) < 0)
        return command_failed(&err);
    answer(args, number, "the ids leave the person as soon as ingest runs");
    return EXIT_DONE;
}
