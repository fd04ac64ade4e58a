/* command/account_letters.h - how many dead letters are open, replayed, discarded: what people did about those that there are. It is no part of
 * the equation: a replayed letter stays dead-lettered, and what was sent for it is an accepted event of its own. */
#ifndef PENSTOCK_COMMAND_ACCOUNT_LETTERS_H
#define PENSTOCK_COMMAND_ACCOUNT_LETTERS_H

#include "command/account.h"

/* Needs dead_lettered and letters_waiting. */
int account_letters_read(const char *data, struct account *out, struct err *err) must_check;

#endif
