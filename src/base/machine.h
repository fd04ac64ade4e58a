/* base/machine.h - what there is of the machine, for defaults that go by it.
 * @thread any */
#ifndef PENSTOCK_BASE_MACHINE_H
#define PENSTOCK_BASE_MACHINE_H

#include <stdint.h>

/* Memory that this process may use at all: the machine's, or less where a control group (a container) has a limit. */
uint64_t machine_memory_bytes(void);

/* The same, with the folder of control groups in place of /sys/fs/cgroup: for tests. */
uint64_t machine_memory_under(const char *groups, uint64_t machine_bytes);

#endif
