/* people/illegal_id.c - distinct ids that stand for nobody, and therefore never merge.
 *
 * A client that sends "undefined" or "null" as an id does so for all of its users: one merge with it, and
 * thousands of people are one. Events with such ids are kept and have their person; only merging is refused.
 * The lists are PostHog's, and so are their edges: nothing is trimmed, NULL and 00 are good names. */
#include <strings.h>

#include "people/batch.h"
#include "wire/utf8.h"
#include "wire/white_space.h"

enum { DISTINCT_ID_POINTS_MAX = 400 };

static const char *const illegal_any_case[] = {
    "anonymous", "guest", "distinctid", "distinct_id", "id", "not_authenticated", "email", "undefined", "true", "false",
};
static const char *const illegal_exact[] = { "[object Object]", "NaN", "None", "none", "null", "0" };

static bool is_listed(struct span id)
{
    for (size_t i = 0; i < sizeof illegal_any_case / sizeof *illegal_any_case; i++)
        if (id.bytes == strlen(illegal_any_case[i]) &&
            strncasecmp((const char *)id.at, illegal_any_case[i], id.bytes) == 0)
            return true;
    for (size_t i = 0; i < sizeof illegal_exact / sizeof *illegal_exact; i++)
        if (span_is(id, illegal_exact[i]))
            return true;
    return false;
}

static bool is_blank(struct span id)
{
    while (id.bytes > 0) {
        size_t white = white_space_bytes(WHITE_ECMASCRIPT, id);

        if (white == 0)
            return false;
        id = span_from(id, white);
    }
    return true;
}

bool people_id_is_illegal(struct span distinct_id)
{
    struct span inner = distinct_id;

    if (inner.bytes >= 2 && (inner.at[0] == '\'' || inner.at[0] == '"') && inner.at[inner.bytes - 1] == inner.at[0])
        inner = span_of(inner.at + 1, inner.bytes - 2);
    return is_blank(distinct_id) || is_listed(distinct_id) || is_listed(inner) ||
           memchr(distinct_id.at, 0, distinct_id.bytes) != NULL ||
           (distinct_id.bytes > DISTINCT_ID_POINTS_MAX && utf8_count(distinct_id) > DISTINCT_ID_POINTS_MAX);
}
