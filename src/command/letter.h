/* command/letter.h - dead letters as people see them: a row of the warehouse's table dead_letters, and what the
 * catalog knows was done about it.
 *
 * A letter's identity is "STEP:N", N its offset in the topic raw; "STEP:HASH" when the record that failed told
 * no offset. On Kafka each partition has offsets of its own: "STEP:N/UNIT", but for partition 0. A raw offset has at most one letter of a
 * partition, so N alone names it for people (of several: the newest). A UUID names the newest letter
 * of that event: one that was replayed and failed again has an older letter with the same UUID. */
#ifndef PENSTOCK_COMMAND_LETTER_H
#define PENSTOCK_COMMAND_LETTER_H

#include "base/arena.h"
#include "catalog/catalog.h"

struct command_args;

enum { LETTER_KEY_BYTES_MAX = 100, LETTER_NONE = -1 };

struct letter {
    char                  key[LETTER_KEY_BYTES_MAX];
    int64_t               raw_offset;             /* LETTER_NONE: not known */
    int64_t               received_us, failed_us; /* CLOCK_NONE: not known */
    int64_t               team_id;                /* 0: not known */
    uint64_t              request;
    int64_t               index;                  /* LETTER_NONE: not known */
    bool                  is_event; /* data is what the client sent; else a record or a row of ours */
    bool                  base64;   /* data is base64 of bytes that are no text */
    struct span           uuid, event, distinct_id, step, reason, detail, ip, token, data; /* "": not known */
    struct catalog_letter known;
    struct span           repaired;    /* "": not */
    char                  earlier[LETTER_KEY_BYTES_MAX]; /* the letter whose replay this is; "" */
};

/* Which letters; NULL and 0: whatever they are. */
struct letter_filter {
    const char *word;   /* N, UUID or identity: the newest of these */
    const char *reason;
    int64_t     since_us; /* CLOCK_NONE: from the first on */
    const char *state;  /* open, replayed, discarded */
};

/* --reason, --since and --state of a command line. -1: it was said what is wrong. */
int letter_filter_read(const struct command_args *args, const char *state, struct letter_filter *out) must_check;

/* 0: go on; 1: enough; -1. Everything in letter is borrowed until return. */
typedef int letter_visit(void *ctx, const struct letter *letter, struct err *err);

/* Every letter there is at the moment of the call, oldest first. */
int letter_each(const char *data, struct catalog *catalog, const struct letter_filter *filter, letter_visit *visit,
                void *ctx, struct err *err) must_check;
/* The one that word names, in arena. ERR_INPUT: there is none. */
int letter_find(const char *data, struct catalog *catalog, const char *word, struct arena *arena, struct letter *out,
                struct err *err) must_check;

/* How many of these letters (keys as SQL texts, parted by commas) the warehouse has. */
int letter_count_keys(const char *data, struct span keys, uint64_t *out, struct err *err) must_check;
/* One more for letter_count_keys. */
void letter_add_key(struct buf *keys, struct span key);

/* DIR/catalog.db, which must be there. */
int letter_catalog_open(const char *data, struct catalog **out, struct err *err) must_check;

/* The unit (a partition of Kafka) in whose input it stands; 0 without Kafka. */
uint32_t letter_unit(const struct letter *letter);

const char *letter_state_name(const struct letter *letter);
/* One JSON object with everything. */
void letter_write_json(const struct letter *letter, bool with_data, struct buf *out);

#endif
