/* wire/json.h - reads JSON without changing it: validates once, gives spans into the original bytes.
 *
 * Why not a DOM: Penstock stores what was sent. 64-bit ids, 30-digit numbers, key order, escapes and
 * white space survive because unchanged values are copied as spans; only what a rule changes is
 * written anew (design: "the bytes of an event are never re-encoded without need").
 *
 * Life: json_reader_init over bytes that stay put; walk forward with enter/next/skip; json_finish says
 * that nothing but white space is left. Nothing is allocated and nothing is read twice.
 *  J1  every byte passed over has been validated: grammar (RFC 8259), escapes, UTF-8, depth
 *  J2  constant stack: depth is bounded by JSON_DEPTH_MAX
 *  J3  after an error the reader stays in error and every call returns -1
 *  J4  reads never go past the end of the text, not even by one byte
 *  J5  with JSON_REPAIR, what is stored is valid for every consumer: unpaired surrogate escapes and
 *      \u0000 are overwritten in place by \ufffd (same length), and counted
 * One thread at a time. */
#ifndef PENSTOCK_WIRE_JSON_H
#define PENSTOCK_WIRE_JSON_H

#include "base/arena.h"
#include "base/between.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

enum {
    JSON_DEPTH_MAX = 64, /* source: docs/limits.md; upstream's parser stops at 128 */
    JSON_DEEP_MAX = 1024 /* json_skip_deep */
};

enum json_kind { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_value {
    enum json_kind kind;
    bool           escaped; /* a string (or key) with a backslash in it */
    uint8_t        tag;     /* 0 as read: for who hands the value on and wants to know it again */
    struct span    raw;     /* as written, quotes included; no white space around */
};

enum json_problem {
    JSON_FINE,
    JSON_SYNTAX,         /* what is there cannot be there */
    JSON_END_EARLY,      /* the text stops inside a value */
    JSON_TOO_DEEP,
    JSON_BAD_STRING,     /* an unescaped control character, or an unknown escape */
    JSON_BAD_NUMBER,
    JSON_BAD_UTF8,
    JSON_LONE_SURROGATE, /* only without JSON_REPAIR */
    JSON_TRAILING        /* a second document, or rubbish, after the value */
};

enum {
    JSON_REPAIR = 1,   /* the text is ours to write to: see J5 */
    JSON_PORTABLE = 2, /* do without vector instructions; same answers (tests compare the two) */
    JSON_KEEP_NULS = 8, /* J5 without its \u0000: for bytes that somebody wrote as text, such as packed recordings */
    JSON_VECTOR = 4,   /* set by json_reader_init alone, where the CPU has AVX2 */
    JSON_WIDE = 16,    /* as well, where it has AVX-512 */
    JSON_NARROW = 32   /* do without those; for tests, as JSON_PORTABLE */
};

/* Which of 64 bytes from `base` on end a run of plain characters, for the paths that look at so many at once. Base 0: none yet. */
struct json_window {
    uintptr_t base;
    uint64_t  stops;
};

struct json_reader {
    const uint8_t    *start, *at, *end; /* borrowed */
    unsigned          flags;
    unsigned          depth;
    uint32_t          surrogates_repaired;
    uint32_t          nuls_repaired;
    enum json_problem problem;
    struct json_window window; /* of bytes that were compared already; it stays true, as repairs change no byte that ends a run */
    uint8_t           levels[JSON_DEPTH_MAX + 1]; /* per open depth: object or array; nothing read in it yet */
};

/* A UTF-8 byte order mark at the start is passed over. */
void json_reader_init(struct json_reader *reader, struct span text, unsigned flags);

/* The kind of the value that comes next, without passing it (white space is passed). -1: error. */
int json_peek(struct json_reader *reader);

/* Goes into the object (array) that comes next; -1 when something else comes, or on error. */
int json_object_enter(struct json_reader *reader) must_check;
int json_array_enter(struct json_reader *reader) must_check;

/* 1: *key_out is the next key and the reader stands before its value, which must be skipped or entered
 * before the next call; 0: the object is closed and left; -1: error. */
int json_object_next(struct json_reader *reader, struct json_value *key_out) must_check;
/* The same for who wants few members: those whose key cannot be one of his are checked and passed in one
 * go. Bit n of lengths: keys of n bytes are wanted. Keys that are longer
 * than 63 bytes or have escapes are always given. */
int json_object_next_of(struct json_reader *reader, uint64_t lengths, struct json_value *key_out) must_check;
/* 1: the reader stands before the next element; 0: the array is closed and left; -1: error. */
int json_array_next(struct json_reader *reader) must_check;

/* Passes the whole value that comes next, validated to its depths, and gives it. -1: error. */
int json_skip(struct json_reader *reader, struct json_value *value_out) must_check;

/* The same for a value that may be JSON_DEEP_MAX levels deep, whatever the reader is in. */
int json_skip_deep(struct json_reader *reader, struct json_value *value_out) must_check;
/* The same, stopping between the value's own elements or members when BETWEEN_BYTES were read since: for values of many MiB. */
int json_skip_deep_between(struct json_reader *reader, const struct between *between, struct json_value *value_out) must_check;

/* 0 when only white space is left; -1 (JSON_TRAILING) otherwise. */
int json_finish(struct json_reader *reader) must_check;

/* Turns the reader's problem into an ERR_INPUT text: "trailing comma? unexpected '}' at byte 17". -1. */
int json_explain(const struct json_reader *reader, struct err *err);
/* Where the problem is, as an offset into the text. */
size_t json_problem_at(const struct json_reader *reader);

/* --- values ------------------------------------------------------------------------------------ */

/* The text of a string value: between the quotes if there is no escape, else decoded into the arena.
 * `at` is NULL when the arena has no room. Surrogate pairs become UTF-8. */
struct span json_text(const struct json_value *value, struct arena *arena);
/* Whether the string value reads exactly as this text (escapes are taken into account). */
bool json_text_is(const struct json_value *value, const char *text);
/* A number that is an integer and fits; false otherwise ("1.0" and "1e3" are no integers here). */
bool json_int64(const struct json_value *value, int64_t *out);
/* The nearest double; HUGE_VAL for 1e400. Only where a rule needs a number; never to store it. */
double json_double(const struct json_value *value);

/* One member of an object. key is decoded text; key_raw is as written, with quotes. */
struct json_member {
    struct span       key;
    struct span       key_raw;
    struct json_value value;
};

struct json_members {
    size_t              count;
    struct json_member *at;    /* in the arena; NULL when there is none */
    uint32_t           *slots; /* hash index over the keys, in the arena; NULL for few members */
    size_t              slots_count;
};

/* Reads an object's members. A key that stands twice keeps its first place and its last value (as a
 * JavaScript object does). ERR_FULL: arena; ERR_INPUT: not a valid object. */
int json_members_read(struct span object, struct arena *arena, struct json_members *out, struct err *err) must_check;
/* The same for the object that comes next in a reader, which passes it and is in error after ERR_INPUT. */
int json_members_take(struct json_reader *reader, struct arena *arena, struct json_members *out, struct err *err) must_check;
/* NULL when there is none. Values may be changed in place; who adds, removes, reorders or renames
 * members sets slots = NULL, and every member is then looked at. */
struct json_member *json_members_find(const struct json_members *members, struct span key);

/* The value with every duplicate key at every depth resolved as above; the same span when there is
 * none (the usual case), a new text in the arena otherwise. `raw` must be valid JSON. */
int json_dedupe(struct span raw, struct arena *arena, struct span *out, struct err *err) must_check;

/* --- writing ----------------------------------------------------------------------------------- */

/* A quoted string: `"` `\` and controls escaped, everything else as it is. text must be UTF-8. */
void json_write_string(struct buf *buf, struct span text);
/* What stands between the quotes of such a string. */
void json_write_escaped(struct buf *buf, struct span text);
/* The same for any bytes: what is no UTF-8 becomes U+FFFD, byte by byte. */
void json_write_escaped_lossy(struct buf *buf, struct span text);
/* A valid value without the white space between its tokens. */
void json_write_compact(struct buf *buf, struct span raw);
/* The shortest decimal that reads back as the same double; null for NaN and infinities. */
void json_write_double(struct buf *buf, double value);

#endif
