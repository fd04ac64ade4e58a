/* command/status_by.h - penstock status --by: the equation of fates, a line for each project, hour or fate. */
#ifndef PENSTOCK_COMMAND_STATUS_BY_H
#define PENSTOCK_COMMAND_STATUS_BY_H

#include "command/command.h"

/* The exit code. */
int status_by_run(const struct command_args *args);

#endif
