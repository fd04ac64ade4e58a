/* base/note.h - memory that outlives the process: a small file in DIR/run, mapped.
 *
 * What stands in it at the instant of a crash is what the next process finds there; it is not synced, so a power cut may bring
 * back something older, or zeros. Who uses it checks what it finds. */
#ifndef PENSTOCK_BASE_NOTE_H
#define PENSTOCK_BASE_NOTE_H

#include <stddef.h>

#include "base/err.h"

/* FOLDER/NAME, made when missing, of so many bytes whatever it had (zeros where it had fewer). Ended by munmap(). NULL: not to be had. */
void *note_map(const char *folder, const char *name, size_t bytes, struct err *err) must_check;

#endif
