/* people/hot.h - stored values that were used lately, in memory, so that most look-ups need no walk down a tree.
 *
 * What is here is what the tables would give, inside the writer's transaction: whoever puts or deletes a value of
 * the store makes hot_forget or hot_put follow (lmdb.c does it for all that goes through it), and after a
 * transaction that came to nothing all is forgotten (hot_clear).
 * One ring of memory: a new entry is written behind the last one, over the oldest. An entry that is asked for while
 * it is in the older half is written anew, so what is used stays; and small ones, which ids are, are written anew where the ring comes to
 * them again, as long as they take no more than half of it.
 *  H1  what hot_get gave stays as it is until the transaction ends, whatever is put meanwhile, unless its own key's is replaced
 *  H2  the memory is bounded; what does not fit is not kept
 * @thread the writer's */
#ifndef PENSTOCK_PEOPLE_HOT_H
#define PENSTOCK_PEOPLE_HOT_H

#include "base/span.h"

struct hot;

enum { HOT_BYTES_MIN = 64 << 10, HOT_KEY_BYTES_MAX = 511 };

/* NULL: no memory. */
struct hot *hot_new(size_t bytes);
void hot_free(struct hot *hot);
void hot_clear(struct hot *hot);
/* A transaction begins: what was given out before it is given up (H1). */
void hot_begin(struct hot *hot);

/* table: a small number; keys of different tables are different keys. */
uint64_t hot_hash(unsigned table, struct span key);

enum hot_answer { HOT_UNKNOWN, HOT_ABSENT, HOT_THERE };
enum hot_answer hot_get(struct hot *hot, unsigned table, struct span key, struct span *value_out);
/* Gives the copy that is kept, as hot_get would; at is NULL when it is not kept. */
struct span hot_put(struct hot *hot, unsigned table, struct span key, struct span value);
/* The same where nobody looks at the value of before any more: the new one is written over it when there is room, so that what changes
 * often does not fill the ring with what it was. */
struct span hot_replace(struct hot *hot, unsigned table, struct span key, struct span value);
/* Notes that the table holds nothing under this key. */
void hot_put_absent(struct hot *hot, unsigned table, struct span key);
void hot_forget(struct hot *hot, unsigned table, struct span key);

/* For look-ups that come soon, many at once: their misses of the CPU's cache then overlap. First the bucket of each,
 * then, when those have come, what they lead to: hot_near says what would be found, which may be another key's value,
 * with as many of its first bytes asked for. It lives until the next put. */
void hot_expect(const struct hot *hot, uint64_t hash);
bool hot_near(const struct hot *hot, uint64_t hash, size_t bytes_ahead, struct span *value_out);

#endif
