/* base/map_fault.h - which mapped file could not be read, told before SIGBUS ends the process.
 *
 * A file that is mapped and shorter than who reads it believes, or that lies on a disk that fails, is no error of any call: the read of a page is a
 * signal, and without this nobody would learn of which file. The process ends by the signal all the same: what was mapped is not to be trusted.
 * Linux; needs /proc. Not for a process that is locked in (base/cage.h): it may open nothing. */
#ifndef PENSTOCK_BASE_MAP_FAULT_H
#define PENSTOCK_BASE_MAP_FAULT_H

/* From now on. Again is harmless. @thread any */
void map_fault_tell(void);

#endif
