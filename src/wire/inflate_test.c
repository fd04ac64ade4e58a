/* wire/inflate_test.c - gzip as Python's gzip and zlib made it, broken in every place that is checked, and
 * bombs. Bytes are given in hexadecimal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <libdeflate.h>

#include "wire/inflate.h"

#define EMPTY "1f8b080000000000020303000000000000000000"
#define HELLO "1f8b0800000000000203cb48cdc9c9070086a6103605000000"
#define WORLD "1f8b08000000000002035328cf2fca490100cb423b4a06000000"
/* FEXTRA "AB" 2 bytes "xy", FNAME "n", FCOMMENT "c", FHCRC */
#define FIELDS "1f8b081e00000000000306004142020078796e006300f332cb48cdc9c9070086a6103605000000"

static const struct { const char *name, *hex, *text; enum err_kind kind; } rows[] = {
    { "one member", HELLO, "hello", ERR_NONE },
    { "two members", HELLO WORLD, "hello world", ERR_NONE },
    { "empty members count for nothing", EMPTY HELLO EMPTY EMPTY WORLD EMPTY, "hello world", ERR_NONE },
    { "B045 nothing inside", EMPTY, "", ERR_NONE },
    { "every header field", FIELDS, "hello", ERR_NONE },
    { "B045 nothing at all", "", NULL, ERR_INPUT },
    { "B038 cut off by one", "1f8b0800000000000203cb48cdc9c9070086a61036050000", NULL, ERR_INPUT },
    { "B038 cut off in the data", "1f8b0800000000000203cb48cd", NULL, ERR_INPUT },
    { "B038 cut off in the second member", HELLO "1f8b0800000000000203cb48cd", NULL, ERR_INPUT },
    { "B038 cut off in the second header", HELLO "1f8b08", NULL, ERR_INPUT },
    { "B038 bad crc", "1f8b0800000000000203cb48cdc9c9070086a6103705000000", NULL, ERR_INPUT },
    { "B038 bad length", "1f8b0800000000000203cb48cdc9c9070086a6103606000000", NULL, ERR_INPUT },
    { "B038 bad data", "1f8b0800000000000203ffffffffff070086a6103605000000", NULL, ERR_INPUT },
    { "B038 reserved flag", "1f8b0820000000000203cb48cdc9c9070086a6103605000000", NULL, ERR_INPUT },
    { "B038 other reserved flag", "1f8b0880000000000203cb48cdc9c9070086a6103605000000", NULL, ERR_INPUT },
    { "B038 bad header crc", "1f8b081e00000000000306004142020078796e006300f432cb48cdc9c9070086a6103605000000", NULL, ERR_INPUT },
    { "B038 extra field beyond the end", "1f8b0804000000000203ffffcb48cdc9c9070086a6103605000000", NULL, ERR_INPUT },
    { "B038 name without an end", "1f8b08080000000002036e6e6e6e6e6e6e6e6e6e6e6e6e6e6e", NULL, ERR_INPUT },
    { "B040 trailing rubbish", HELLO "00", NULL, ERR_INPUT },
    { "B040 trailing zeros", HELLO "000000000000000000000000000000000000000000", NULL, ERR_INPUT },
    { "B040 trailing text", HELLO "7b7d7b7d7b7d7b7d7b7d7b7d7b7d7b7d7b7d7b7d7b7d7b7d7b7d7b7d", NULL, ERR_INPUT },
    { "another method", "1f8b0700000000000203cb48cdc9c9070086a6103605000000", NULL, ERR_INPUT },
    { "not gzip", "7b7d7b7d7b7d7b7d7b7d7b7d7b7d7b7d7b7d7b7d7b7d7b7d7b7d7b7d", NULL, ERR_INPUT },
};

static struct span unhex(const char *hex)
{
    size_t   bytes = strlen(hex) / 2;
    uint8_t *at = malloc(bytes + (bytes == 0));

    for (size_t i = 0; i < bytes; i++) {
        char     digits[3] = { hex[2 * i], hex[2 * i + 1], 0 };
        unsigned value = (unsigned)strtoul(digits, NULL, 16);

        at[i] = (uint8_t)value;
    }
    return span_of(at, bytes);
}

static void members_are_inflated(void **state)
{
    struct inflate *inflate = inflate_new();

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t cap = 0; cap < 20; cap++) {
            struct span body = unhex(rows[i].hex);
            struct err  err = { 0 };
            struct buf  out;
            int         rc;

            buf_init(&out, cap);
            rc = inflate_gzip(inflate, body, &out, &err);
            assert_true(out.bytes <= cap && out.size <= (cap < 256 ? 256 : cap));
            if (rows[i].text != NULL && strlen(rows[i].text) > cap) {
                if (rc == 0 || err.kind != ERR_FULL || out.bytes != 0)
                    fail_msg("%s, %zu: %d %s", rows[i].name, cap, rc, err.text);
            } else if (rc != (rows[i].kind == ERR_NONE ? 0 : -1) ||
                       (rc != 0 && err.kind != rows[i].kind && !(err.kind == ERR_FULL && cap < 11)) ||
                       (rc == 0 && !span_is(buf_span(&out), rows[i].text)))
                fail_msg("%s, %zu: %d %s", rows[i].name, cap, rc, err.text);
            buf_fini(&out);
            free((void *)(uintptr_t)body.at);
        }
    inflate_free(inflate);
}

/* B041: fields of 65536 bytes pass, of one more do not. */
static void header_fields_are_bounded(void **state)
{
    struct inflate *inflate = inflate_new();
    struct span     hello = unhex(HELLO);

    (void)state;
    for (size_t more = 0; more <= 1; more++) {
        struct buf body, out;
        struct err err = { 0 };

        buf_init(&body, 100000);
        buf_init(&out, 100);
        buf_add(&body, span_of(hello.at, 10));
        body.at[3] = 8;
        for (size_t i = 0; i < 65535 + more; i++)
            buf_add_byte(&body, 'n');
        buf_add_byte(&body, 0);
        buf_add(&body, span_from(hello, 10));
        assert_int_equal(inflate_gzip(inflate, buf_span(&body), &out, &err), more ? -1 : 0);
        assert_int_equal(err.kind, more ? ERR_INPUT : ERR_NONE);
        buf_fini(&body);
        buf_fini(&out);
    }
    free((void *)(uintptr_t)hello.at);
    inflate_free(inflate);
}

static struct span zeros_packed(size_t bytes)
{
    struct libdeflate_compressor *deflate = libdeflate_alloc_compressor(1);
    void                         *zeros = calloc(bytes, 1);
    size_t                        bound = libdeflate_gzip_compress_bound(deflate, bytes);
    uint8_t                      *packed = malloc(bound);

    bound = libdeflate_gzip_compress(deflate, zeros, bytes, packed, bound);
    libdeflate_free_compressor(deflate);
    free(zeros);
    assert_true(bound > 0);
    return span_of(packed, bound);
}

/* Peak resident KiB of this process since the last call. */
static long peak_kib(void)
{
    char  line[128];
    long  kib = -1;
    FILE *file = fopen("/proc/self/status", "r");

    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmHWM: %ld", &kib) == 1)
            break;
    if (file != NULL)
        (void)fclose(file);
    file = fopen("/proc/self/clear_refs", "w");
    if (file != NULL) {
        (void)fputs("5", file);
        (void)fclose(file);
    }
    return kib;
}

enum {
    MIB = 1 << 20,
    COUNT_KIB = 256, /* resident pages are counted a CPU, and added up by 32 (mm/percpu counters of Linux): two CPUs, 4 KiB a page */
};

/* B035, B039: a child inflates `body` against a ceiling of 20 MiB and tells how much memory that took.
 * lie: what the trailer says instead of the true length; 0: the truth. */
static void bomb(struct span body, uint32_t lie)
{
    pid_t pid;
    int   status;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        struct inflate *inflate = inflate_new();
        struct err      err = { 0 };
        struct buf      out;
        long            before;

        if (lie != 0)
            memcpy((uint8_t *)(uintptr_t)body.at + body.bytes - 4, &lie, sizeof lie);
        buf_init(&out, 20 * MIB);
        (void)peak_kib();
        before = peak_kib();
        for (int i = 0; i < 2; i++) /* the second time malloc has the memory of the first */
            if (inflate_gzip(inflate, body, &out, &err) == 0 || err.kind != ERR_FULL || out.bytes != 0)
                _exit(1);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        if (peak_kib() - before > 21 * 1024 + COUNT_KIB)
            _exit(2);
#else
        (void)before;
#endif
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void bombs_cost_the_ceiling_and_no_more(void **state)
{
    struct span one = zeros_packed((size_t)200 * MIB), small = zeros_packed(3 * MIB);
    struct buf  many;

    (void)state;
    bomb(one, 0);
    bomb(one, 1);
    bomb(one, 1000 * 1000);
    bomb(one, 5 * MIB);
    buf_init(&many, MIB);
    for (size_t i = 0; i < 7; i++)
        buf_add(&many, small);
    bomb(buf_span(&many), 0); /* 21 MiB in seven members */
    bomb(buf_span(&many), 1);
    buf_fini(&many);
    free((void *)(uintptr_t)one.at);
    free((void *)(uintptr_t)small.at);
}

/* Found by fuzzing: the data runs past the end of the bytes and inflates what is not there, without end. */
static void no_end_is_damage(void **state)
{
    struct inflate *inflate = inflate_new();
    struct span     body = unhex("1f8b080103cb48cdc9000000feff0103cb48cdc9c9070086a61036052500" "0000");
    struct err      err = { 0 };
    struct buf      out;

    (void)state;
    buf_init(&out, MIB);
    assert_int_equal(inflate_gzip(inflate, body, &out, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    buf_fini(&out);
    free((void *)(uintptr_t)body.at);
    inflate_free(inflate);
}

static void exactly_the_ceiling_passes(void **state)
{
    struct inflate *inflate = inflate_new();
    struct err      err = { 0 };

    (void)state;
    for (size_t more = 0; more <= 1; more++) {
        struct span body = zeros_packed(MIB + more);
        struct buf  out;

        buf_init(&out, MIB);
        assert_int_equal(inflate_gzip(inflate, body, &out, &err), more ? -1 : 0);
        assert_int_equal(err.kind, more ? ERR_FULL : ERR_NONE);
        assert_int_equal(out.bytes, more ? 0 : MIB);
        buf_fini(&out);
        free((void *)(uintptr_t)body.at);
    }
    inflate_free(inflate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_inflated),
        cmocka_unit_test(header_fields_are_bounded),
        cmocka_unit_test(bombs_cost_the_ceiling_and_no_more),
        cmocka_unit_test(exactly_the_ceiling_passes),
        cmocka_unit_test(no_end_is_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
