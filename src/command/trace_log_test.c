/* command/trace_log_test.c - what must have become of a record that nobody has noted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "command/trace_log.h"
#include "ingest/testing.h"
#include "log/log.h"

#define SENT(more) "{\"properties\":{\"$cookieless_mode\":true,\"$host\":\"a.example\",\"$raw_user_agent\":\"Firefox\"" more "}}"

/* Written at 2024-03-01T10:00:00Z, when 2024-02-27 was the oldest day that there was (ingest/cookieless.h). */
static const struct fact {
    const char *name, *event, *data;
    int64_t     at_s; /* its time; 0: when it was written */
    enum fate   fate; /* DEDUPLICATED: by itself it is good, so another one of its id was first */
} facts[] = {
    { "a good event", "view", "{}", 0, FATE_DEDUPLICATED },
    { "what never had a row", "$create_alias", SENT(",\"alias\":\"x\""), 0, FATE_COOKIELESS_UNSUPPORTED },
    { "cookieless, judged when it was written and not today", "view", SENT(""), 0, FATE_DEDUPLICATED },
    { "of a day that was over even then", "view", SENT(""), 1708991999, FATE_COOKIELESS_RANGE },
    { "which was the next day where it was sent", "view", SENT(",\"$timezone\":\"Europe/Berlin\""), 1708991999, FATE_DEDUPLICATED },
};
enum { FACTS = sizeof facts / sizeof *facts };

static void what_must_have_become_of_it(void **state)
{
    struct fixture     fixture;
    char               path[128];
    struct log        *log;
    struct log_writer *writer;
    struct log_batch  *batch = log_batch_new();
    struct err         err = { 0 };
    uint64_t           base;

    (void)state;
    fixture_init(&fixture);
    fixture_settings(&fixture, &(struct catalog_project){ .cookieless = CATALOG_COOKIELESS_STATELESS });
    snprintf(path, sizeof path, "%s/log", fixture.folder);
    fixture_must(log_open(&(struct log_options){ .folder = path }, &log, &err), &err);
    fixture_must(log_writer_open(log, "raw", 0, NULL, &writer, &err), &err);
    for (size_t i = 0; i < FACTS; i++)
        fixture_must(log_batch_add(batch, fixture_record(&fixture, (struct record){
            .uuid = { { 1, [15] = (uint8_t)i } }, .event = span_text(facts[i].event), .distinct_id = SPAN("ada"), .ip = SPAN("1.2.3.4"),
            .timestamp_us = facts[i].at_s * TIME_US_S, .data = span_text(facts[i].data) }, fixture.arena), &err), &err);
    fixture_must(log_writer_append(writer, batch, fixture.now_us, &base, &err), &err);
    fixture_must(log_writer_sync(writer, &err), &err);
    log_writer_publish(writer, log_writer_end(writer));
    log_writer_close(writer);
    log_close(log);
    for (size_t i = 0; i < FACTS; i++) {
        struct trace        trace = { .data = fixture.folder, .uuid = { { 1, [15] = (uint8_t)i } }, .arena = fixture.arena, .place = TRACE_NONE };
        struct people_place place = { .input_next = { [INPUT_RAW] = FACTS } };

        if (trace_search(&trace, &place, fixture.snapshot, &err) < 0)
            fail_msg("%s: %s", facts[i].name, err.text);
        if (trace.fate != TRACE_ENDED || !trace.recomputed || trace.ended_fate != (int)facts[i].fate || trace.place != i)
            fail_msg("%s: %s", facts[i].name, trace.fate == TRACE_ENDED ? fate_info(trace.ended_fate)->name : "not found");
    }
    log_batch_free(batch);
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(what_must_have_become_of_it) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
