/* people/tell.h - rows of persons, distinct ids and groups, as the files of the people step give them out. Not for others. */
#ifndef PENSTOCK_PEOPLE_TELL_H
#define PENSTOCK_PEOPLE_TELL_H

#include "people/batch.h"

/* deleted: its last row, with nothing but who it was, and a version PEOPLE_DELETED_VERSIONS above its own. */
int people_tell_person(const struct person *person, bool deleted, people_row_seen *seen, void *ctx, struct err *err)
    must_check;
int people_tell_link(uint32_t project, struct span distinct_id, const struct uuid *person, uint64_t version, bool deleted,
                     people_row_seen *seen, void *ctx, struct err *err) must_check;
/* type: the name that its index stands for. */
int people_tell_group(const struct group *group, struct span type, people_row_seen *seen, void *ctx, struct err *err) must_check;

#endif
