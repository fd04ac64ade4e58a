/* wire/uuid_test.c - forms that are uuids, forms that are not; RFC 9562 appendix A for version 7. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/uuid.h"

#define PLAIN "919108f7-52d1-4320-9bac-f847db4148a8" /* RFC 9562 A.3 */

static const struct { const char *text; bool any, hyphenated; } rows[] = {
    { PLAIN, true, true },
    { "919108F7-52D1-4320-9BAC-F847DB4148A8", true, true },
    { "919108f752d143209bacf847db4148a8", true, false },
    { "{" PLAIN "}", true, false },
    { "{919108f752d143209bacf847db4148a8}", true, false },
    { "urn:uuid:" PLAIN, true, false },
    { "URN:UUID:" PLAIN, true, false },
    { "", false, false },
    { "919108f7-52d1-4320-9bac-f847db4148a", false, false },
    { PLAIN "0", false, false },
    { "919108g7-52d1-4320-9bac-f847db4148a8", false, false },
    { "919108f7-52d1-4320-9bac-f847db4148a/", false, false },
    { "919108f7:52d1:4320:9bac:f847db4148a8", false, false },
    { "919108f75-2d1-4320-9bac-f847db4148a8", false, false },
    { "(" PLAIN ")", false, false },
    { "{" PLAIN "]", false, false },
    { "urn:uuie:" PLAIN, false, false },
    { "urn:uuid:919108f752d143209bacf847db4148a8", false, false },
    { " 919108f7-52d1-4320-9bac-f847db4148a8", false, false },
    { "\xff" "19108f7-52d1-4320-9bac-f847db4148a8", false, false },
};

static void forms(void **state)
{
    static const uint8_t bytes[16] = { 0x91, 0x91, 0x08, 0xf7, 0x52, 0xd1, 0x43, 0x20,
                                       0x9b, 0xac, 0xf8, 0x47, 0xdb, 0x41, 0x48, 0xa8 };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct uuid uuid, again;
        char        text[UUID_TEXT_BYTES];

        if (uuid_parse(span_text(rows[i].text), &uuid) != rows[i].any ||
            uuid_parse_hyphenated(span_text(rows[i].text), &again) != rows[i].hyphenated)
            fail_msg("%s", rows[i].text);
        if (!rows[i].any)
            continue;
        assert_memory_equal(uuid.bytes, bytes, 16);
        assert_int_equal(uuid_version(&uuid), 4);
        uuid_format(&uuid, text);
        assert_memory_equal(text, PLAIN, UUID_TEXT_BYTES);
        assert_true(uuid_parse(span_of(text, sizeof text), &again) && uuid_equal(&uuid, &again));
        again.bytes[15] ^= 1;
        assert_false(uuid_equal(&uuid, &again));
    }
}

static void version_7(void **state)
{
    static const struct { int64_t ms; uint8_t random[10]; const char *text; } times[] = {
        /* RFC 9562 A.6 */
        { 0x017f22e279b0, { 0x0c, 0xc3, 0x18, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f }, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f" },
        { 1770091506000, { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, "019c21ac-e950-7fff-bfff-ffffffffffff" },
        { -5, { 0 }, "00000000-0000-7000-8000-000000000000" },
        { INT64_MIN, { 0 }, "00000000-0000-7000-8000-000000000000" },
        { INT64_MAX, { 0 }, "ffffffff-ffff-7000-8000-000000000000" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        struct uuid uuid = uuid_v7(times[i].ms, times[i].random);
        char        text[UUID_TEXT_BYTES];

        uuid_format(&uuid, text);
        assert_memory_equal(text, times[i].text, UUID_TEXT_BYTES);
        assert_int_equal(uuid_version(&uuid), 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(forms), cmocka_unit_test(version_7) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
