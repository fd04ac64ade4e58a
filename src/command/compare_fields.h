/* command/compare_fields.h - in what two messages of the same record differ, member by member.
 *
 * Members that are strings with JSON in them (data, properties, person_properties, group_properties, details) are looked into: what is
 * told is `properties.$browser`, not the whole text. Texts count as they read, whatever their escapes; numbers by their value,
 * to the nearest double, when their digits differ; whole numbers of more than 15 digits by each digit. The order of members does not count.
 * A pattern is a member's path, or the beginning of one before a `*`: `properties.$geoip_*`. */
#ifndef PENSTOCK_COMMAND_COMPARE_FIELDS_H
#define PENSTOCK_COMMAND_COMPARE_FIELDS_H

#include "base/arena.h"
#include "base/err.h"
#include "base/span.h"

enum { COMPARE_PATH_BYTES_MAX = 200, COMPARE_PATTERNS_MAX = 64 };

struct compare_rules {
    const char *ignored[COMPARE_PATTERNS_MAX + 1]; /* NULL-terminated patterns */
    int64_t     time_tolerance_us;                 /* two times that are so close are the same */
};

/* One difference. A value that is not there has at NULL. */
typedef void compare_differs(void *ctx, const char *path, struct span left, struct span right);

bool compare_is_ignored(const struct compare_rules *rules, const char *path);

/* Values of two messages, JSON objects. *same_out: nothing differs but what is ignored. ERR_INPUT: one is no object; ERR_FULL: arena. */
int compare_values(const struct compare_rules *rules, struct span left, struct span right, struct arena *arena, compare_differs *differs,
                   void *ctx, bool *same_out, struct err *err) must_check;

#endif
