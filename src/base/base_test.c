/* base/base_test.c - the words that everybody uses, as rows of facts. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/thread.h"

/* RFC 3720 appendix B.4 and the check value of the CRC catalogue. */
static void crc32c_known_values(void **state)
{
    uint8_t bytes[10000];

    (void)state;
    assert_int_equal(crc32c(0, SPAN("123456789")), 0xe3069283);
    memset(bytes, 0, 32);
    assert_int_equal(crc32c(0, span_of(bytes, 32)), 0x8a9136aa);
    memset(bytes, 0xff, 32);
    assert_int_equal(crc32c(0, span_of(bytes, 32)), 0x62a8ab43);
    for (unsigned i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    assert_int_equal(crc32c(0, span_of(bytes, 32)), 0x46dd794e);
    /* The long loop, the short loop and any split agree. */
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    uint32_t bytewise = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytewise = crc32c(bytewise, span_of(bytes + i, 1));
    assert_int_equal(crc32c(0, span_of(bytes, sizeof bytes)), bytewise);
    for (size_t size = 0, one = 0; size < 5000; one = crc32c((uint32_t)one, span_of(bytes + size, 1)), size++)
        assert_int_equal(crc32c(0, span_of(bytes, size)), one);
    assert_int_equal(crc32c(crc32c(0, span_of(bytes, 4097)), span_of(bytes + 4097, sizeof bytes - 4097)), bytewise);
}

static void arena_stops_at_its_ceiling(void **state)
{
    struct arena *arena = arena_new(256, 1024);
    uint8_t      *a, *b;

    (void)state;
    a = arena_alloc(arena, 100);
    assert_non_null(a);
    memset(a, 1, 100);
    b = arena_grow(arena, a, 100, 700);
    assert_non_null(b);
    assert_int_equal(b[99], 1);
    assert_null(arena_alloc(arena, 600));
    assert_null(arena_alloc_array(arena, SIZE_MAX / 2, 3));
    arena_reset(arena);
    assert_int_equal(arena_bytes(arena), 0);
    assert_non_null(arena_alloc(arena, 900));
    assert_null(arena_copy(arena, span_of(b, 200)).at);
    arena_free(arena);
}

static void buf_marks_what_did_not_fit(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 16);
    buf_add_text(&buf, "0123456789");
    buf_add_u32(&buf, 0x31323334);
    assert_false(buf.failed);
    assert_true(span_is(buf_span(&buf), "01234567894321"));
    buf_add_format(&buf, "%d", 12345);
    assert_true(buf.failed);
    buf_reset(&buf);
    assert_false(buf.failed);
    buf_add_format(&buf, "%s", "abc");
    assert_true(span_is(buf_span(&buf), "abc"));
    buf_fini(&buf);
}

/* Whatever room was there: none, too little by one, just enough; and a ceiling in the caller's own storage. */
static void a_format_comes_out_whole(void **state)
{
    char storage[12];

    (void)state;
    for (size_t filled = 0; filled < 300; filled++) {
        struct buf buf;
        char       before[300];

        memset(before, 'x', sizeof before);
        buf_init(&buf, 4096);
        buf_add(&buf, span_of(before, filled));
        buf_add_format(&buf, "%s=%d;", "answer", 4242);
        buf_add_format(&buf, "%s", "");
        buf_add_text(&buf, "end");
        assert_false(buf.failed);
        assert_int_equal(buf.bytes, filled + 15);
        assert_memory_equal(buf.at, before, filled);
        assert_memory_equal(buf.at + filled, "answer=4242;end", 15);
        buf_fini(&buf);
    }
    for (size_t filled = 0; filled <= sizeof storage; filled++) {
        struct buf buf;

        buf_init_over(&buf, storage, sizeof storage);
        buf_add(&buf, span_of("............", filled));
        buf_add_format(&buf, "%d", 123);
        assert_true(buf.failed == (filled > sizeof storage - 4)); /* it needs room for a NUL, too */
        assert_int_equal(buf.bytes, filled + (buf.failed ? 0 : 3));
    }
}

static void err_gains_context(void **state)
{
    struct err err;

    (void)state;
    assert_int_equal(err_errno(&err, 28, "append"), -1);
    assert_int_equal(err.kind, ERR_FULL);
    assert_int_equal(err_wrap(&err, "raw"), -1);
    assert_string_equal(err.text, "raw: append: No space left on device");
}

static void *mask_tell(void *ctx)
{
    (void)pthread_sigmask(SIG_SETMASK, NULL, ctx);
    return NULL;
}

static void a_thread_gets_no_signals(void **state)
{
    sigset_t  before, its, after;
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
    assert_int_equal(thread_start(&thread, mask_tell, &its), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
    for (int number = 1; number < 32; number++) {
        assert_int_equal(sigismember(&its, number), number != SIGKILL && number != SIGSTOP);
        assert_int_equal(sigismember(&after, number), sigismember(&before, number));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_known_values),
        cmocka_unit_test(arena_stops_at_its_ceiling),
        cmocka_unit_test(buf_marks_what_did_not_fit), cmocka_unit_test(a_format_comes_out_whole),
        cmocka_unit_test(err_gains_context),
        cmocka_unit_test(a_thread_gets_no_signals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
