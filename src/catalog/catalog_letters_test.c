/* catalog/catalog_letters_test.c - what was done about dead letters. */
#include "catalog/catalog_test_kit.h"

struct decided { uint64_t replayed, discarded; };

static int decided_count(void *ctx, struct span letter, bool replayed, struct err *err)
{
    struct decided *decided = ctx;

    (void)err;
    assert_true(span_is(letter, "capture:5"));
    ++*(replayed ? &decided->replayed : &decided->discarded);
    return 0;
}

/* A letter's way: each row does one thing to the same letter and says what is known of it afterwards. */
static void letters_are_kept(void **state)
{
    enum act { NOTHING, REPAIR, REPLAY, DISCARD };
    static const struct {
        const char *name; enum act act; const char *text; int gives;
        enum catalog_letter_state now; uint32_t replays; const char *repaired, *uuid; uint64_t replayed, discarded;
    } rows[] = {
        { "unknown is open", NOTHING, "", 0, CATALOG_LETTER_OPEN, 0, "", "", 0, 0 },
        { "repaired is still open", REPAIR, "{\"a\":1}", 0, CATALOG_LETTER_OPEN, 0, "{\"a\":1}", "", 0, 0 },
        { "a second repair replaces the first", REPAIR, "{\"a\":2}", 0, CATALOG_LETTER_OPEN, 0, "{\"a\":2}", "", 0, 0 },
        { "discarded", DISCARD, "", 1, CATALOG_LETTER_DISCARDED, 0, "{\"a\":2}", "", 0, 1 },
        { "discarded once", DISCARD, "", 0, CATALOG_LETTER_DISCARDED, 0, "{\"a\":2}", "", 0, 1 },
        { "who changes his mind may replay", REPLAY, "u-1", 0, CATALOG_LETTER_REPLAYED, 1, "{\"a\":2}", "u-1", 1, 0 },
        { "again is counted", REPLAY, "u-2", 0, CATALOG_LETTER_REPLAYED, 2, "{\"a\":2}", "u-2", 1, 0 },
        { "replayed is not discarded", DISCARD, "", 0, CATALOG_LETTER_REPLAYED, 2, "{\"a\":2}", "u-2", 1, 0 },
    };
    struct place *place = *state;
    struct err    err = { 0 };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct catalog       *catalog = must_open(place->path); /* each anew: it is in the file */
        struct catalog_letter letter = { .replays = 77 };
        struct buf            repaired;
        uint64_t              replayed, discarded;
        struct decided        decided = { 0 };
        int                   rc = 0;

        buf_init(&repaired, 1000);
        if (rows[i].act == REPAIR)
            rc = catalog_letter_repair(catalog, "capture:5", span_text(rows[i].text), 11, &err);
        else if (rows[i].act == REPLAY)
            rc = catalog_letter_replayed(catalog, "capture:5", rows[i].text, 22, &err);
        else if (rows[i].act == DISCARD)
            rc = catalog_letter_discard(catalog, "capture:5", 33, &err);
        if (rc != rows[i].gives || catalog_letter_find(catalog, "capture:5", &letter, &repaired, &err) < 0 ||
            catalog_letter_counts(catalog, &replayed, &discarded, &err) < 0 ||
            catalog_letters_decided(catalog, decided_count, &decided, &err) < 0)
            fail_msg("%s: %d %s", rows[i].name, rc, err.text);
        if (letter.state != rows[i].now || letter.replays != rows[i].replays || replayed != rows[i].replayed ||
            discarded != rows[i].discarded || decided.replayed != replayed || decided.discarded != discarded || !span_is(buf_span(&repaired), rows[i].repaired) ||
            strcmp(letter.replay_uuid, rows[i].uuid) != 0)
            fail_msg("%s: state %d, %u replays", rows[i].name, (int)letter.state, letter.replays);
        assert_int_equal(letter.replayed_us, letter.state == CATALOG_LETTER_REPLAYED ? 22 : 0);
        assert_int_equal(letter.discarded_us, letter.state == CATALOG_LETTER_DISCARDED ? 33 : 0);
        assert_int_equal(catalog_letter_find(catalog, "capture:6", &letter, NULL, &err), 0);
        assert_int_equal(letter.state, CATALOG_LETTER_OPEN); /* the neighbour is left alone */
        buf_fini(&repaired);
        catalog_close(catalog);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(letters_are_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
