/* command/people_access.h - ingest's store of persons, read beside the running ingest. */
#ifndef PENSTOCK_COMMAND_PEOPLE_ACCESS_H
#define PENSTOCK_COMMAND_PEOPLE_ACCESS_H

#include "people/people.h"

struct people_access {
    struct people     *people;
    struct people_txn *txn; /* one moment of the store; writes nothing */
};

/* Opens DATA/people. 1: end it with command_people_end; 0: there is none yet, ingest has not run; -1. */
int  command_people_begin(const char *data, struct people_access *out, struct err *err) must_check;
/* The place and the small tables are those of this unit; persons are everybody's. 0 without Kafka. */
int  command_people_begin_unit(const char *data, uint32_t unit, struct people_access *out, struct err *err) must_check;
/* What was begun, or tried: also after 0 and -1. */
void command_people_end(struct people_access *access);

#endif
