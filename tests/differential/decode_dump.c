/* tests/differential/decode_dump.c - our decoders for scripts: `decode_dump gzip|base64|base64_lenient|lzstring|
 * rfc3339 CAP`. For each case "ok HEX" ("ok MICROSECONDS ZONE_MINUTES"), "full" or "bad". */
#include "frames.h"
#include "wire/base64.h"
#include "wire/inflate.h"
#include "wire/lzstring.h"
#include "wire/time.h"

static struct inflate *inflate;

static int gzip(struct span text, struct buf *out, struct err *err)
{
    return inflate_gzip(inflate, text, out, err);
}

static int base64(struct span text, struct buf *out, struct err *err)
{
    return base64_decode(text, BASE64_STRICT, out) ? 0 : err_set(err, out->failed ? ERR_FULL : ERR_INPUT, "base64");
}

static int base64_lenient(struct span text, struct buf *out, struct err *err)
{
    return base64_decode(text, BASE64_LENIENT, out) ? 0 : err_set(err, out->failed ? ERR_FULL : ERR_INPUT, "base64");
}

static const struct { const char *name; int (*decode)(struct span, struct buf *, struct err *); } decoders[] = {
    { "gzip", gzip },
    { "base64", base64 },
    { "base64_lenient", base64_lenient },
    { "lzstring", lzstring_decode_base64 },
};

static void decode_all(int (*decode)(struct span, struct buf *, struct err *), size_t cap)
{
    struct span text;

    while (frame_next(&text)) {
        struct err err = { 0 };
        struct buf out;

        buf_init(&out, cap);
        if (decode(text, &out, &err) == 0) {
            (void)printf("ok ");
            print_hex(buf_span(&out));
            (void)printf("\n");
        } else
            (void)printf("%s\n", err.kind == ERR_FULL ? "full" : "bad");
        buf_fini(&out);
        frame_free(text);
    }
}

int main(int argc, char **argv)
{
    struct span text;

    if (argc != 3)
        return 2;
    if (strcmp(argv[1], "rfc3339") == 0) {
        int64_t us;
        int     zone_min;

        for (; frame_next(&text); frame_free(text))
            if (time_parse_rfc3339(text, &us, &zone_min))
                (void)printf("ok %lld %d\n", (long long)us, zone_min);
            else
                (void)printf("bad\n");
        return 0;
    }
    inflate = inflate_new();
    for (size_t i = 0; i < sizeof decoders / sizeof *decoders; i++)
        if (strcmp(argv[1], decoders[i].name) == 0) {
            decode_all(decoders[i].decode, strtoul(argv[2], NULL, 10));
            inflate_free(inflate);
            return 0;
        }
    return 2;
}
