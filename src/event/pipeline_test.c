/* event/pipeline_test.c - names and kinds, and which of them an import's mark sticks to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "event/pipeline.h"
#include "event/record.h"

static const struct { const char *event; enum pipeline pipeline; bool alone, historical; } rows[] = {
    { "signup", PIPELINE_ANALYTICS, false, true },
    { "$pageview", PIPELINE_ANALYTICS, false, true },
    { "$exception", PIPELINE_EXCEPTIONS, true, false },
    { "$exceptions", PIPELINE_ANALYTICS, false, true },
    { "$exceptio", PIPELINE_ANALYTICS, false, true },
    { "exception", PIPELINE_ANALYTICS, false, true },
    { "$$heatmap", PIPELINE_HEATMAPS, true, false },
    { "$heatmap", PIPELINE_ANALYTICS, false, true },
    { "$$heatmaps", PIPELINE_ANALYTICS, false, true },
    { "$$client_ingestion_warning", PIPELINE_WARNINGS, true, false },
    { "$$client_ingestion_warnings", PIPELINE_ANALYTICS, false, true },
    { "$ai_trace", PIPELINE_LLM, false, false },
    { "$ai_span", PIPELINE_LLM, false, false },
    { "$ai_generation", PIPELINE_LLM, false, false },
    { "$ai_embedding", PIPELINE_LLM, false, false },
    { "$ai_metric", PIPELINE_LLM, false, false },
    { "$ai_feedback", PIPELINE_LLM, false, false },
    { "$ai", PIPELINE_ANALYTICS, false, true },
    { "$AI_trace", PIPELINE_ANALYTICS, false, true },
    { "", PIPELINE_ANALYTICS, false, true },
    { "$", PIPELINE_ANALYTICS, false, true },
};

static void kinds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum pipeline pipeline = pipeline_of(span_text(rows[i].event));

        if (pipeline != rows[i].pipeline || pipeline_stands_alone(pipeline) != rows[i].alone)
            fail_msg("%s: %d", rows[i].event, (int)pipeline);
        for (int way = 0; way < 4; way++)
            assert_int_equal(pipeline_is_historical(pipeline, way & 1, way & 2), way != 0 && rows[i].historical);
    }
}

/* In a record; in one of yesterday, which has none, it is worked out; a number that nobody wrote is damage. */
static void stored(void **state)
{
    uint8_t       bytes[256];
    struct record record = { .kind = RECORD_EVENT, .flags = RECORD_OVERFLOW | RECORD_HISTORICAL, .event = SPAN("$exception"), .data = SPAN("{}") };
    struct record again;
    struct err    err = { 0 };

    (void)state;
    for (int pipeline = 0; pipeline <= 7; pipeline++) {
        size_t size = record_bytes(&record);

        record.pipeline = (enum pipeline)(pipeline < PIPELINE_COUNT ? pipeline : 0);
        record_write(&record, bytes);
        if (pipeline >= PIPELINE_COUNT)
            bytes[3] = (uint8_t)(bytes[3] | pipeline << 4);
        if (pipeline >= PIPELINE_COUNT) {
            assert_int_equal(record_read(span_of(bytes, size), &again, &err), -1);
            continue;
        }
        assert_int_equal(record_read(span_of(bytes, size), &again, &err), 0);
        assert_int_equal(again.pipeline, record.pipeline);
        assert_int_equal(again.flags, RECORD_OVERFLOW | RECORD_HISTORICAL);
        assert_int_equal(record_pipeline(&again), pipeline == 0 ? PIPELINE_EXCEPTIONS : pipeline);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(kinds), cmocka_unit_test(stored) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
