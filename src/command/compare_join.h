/* command/compare_join.h - two heaps of messages, of any order and size, joined by the record that they are about.
 *
 * Every message goes to one of JOIN_PARTS files by the hash of its record's name, from both sides; then one file after the other is
 * read into memory. So memory is that of the largest file, and the disk holds both sides once, in a folder that is removed.
 * The name of a record: (token or team_id, uuid); of a person (team_id, id); of a distinct id (team_id, distinct_id); of a group
 * (team_id, type, key). Of records with versions and without uuid the highest one counts, the others are older states and no
 * doubles. Messages without a name are compared as texts, by how often each is there. */
#ifndef PENSTOCK_COMMAND_COMPARE_JOIN_H
#define PENSTOCK_COMMAND_COMPARE_JOIN_H

#include "command/compare_fields.h"
#include "event/upstream_message.h"

enum { JOIN_PARTS = 256, JOIN_FIELDS_MAX = 200 };
enum join_side { JOIN_LEFT, JOIN_RIGHT };

struct join_field {
    char     path[COMPARE_PATH_BYTES_MAX + 1];
    uint64_t records;
    char     name[160], left[120], right[120]; /* of the first record that differs there */
};

struct join_result {
    uint64_t messages[2], unreadable[2], older[2], twice[2], only[2]; /* by side */
    uint64_t same, differing;
    size_t   field_count;   /* in fields; what is more is in fields_more */
    uint64_t fields_more;
    struct join_field fields[JOIN_FIELDS_MAX];
    size_t   example_count[2];
    char     examples[2][10][160]; /* names of records that are on one side only */
};

struct join;

/* folder: where temporary files may be made. memory_max: of one file; then ERR_FULL. */
int  join_open(const char *folder, size_t memory_max, struct join **out, struct err *err) must_check;
void join_close(struct join *join);
/* whole: its key and headers are known, and compared as members `kafka.key` and `kafka.headers.NAME` with a record that has them, too. */
int  join_add(struct join *join, enum join_side side, const struct upstream_message *message, bool whole, struct err *err) must_check;
/* After everything was added; once. */
int  join_run(struct join *join, const struct compare_rules *rules, struct join_result *out, struct err *err) must_check;

/* Whether the two sides hold the same. */
bool join_is_same(const struct join_result *result);

#endif
