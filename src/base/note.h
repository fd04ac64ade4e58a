/* base/note.h - memory that outlives the process: a small file in DIR/run, mapped.
 *
 * What stands in it at the instant of a crash is what the next process finds there; it is not synced, so a power cut may bring
 * back something older, or zeros. Who uses it checks what it finds.
 *
 * Two notes hold what a role had in work (ingest/attempt.h, load/poison.h), and blame it when the role has died. A death says
 * something of what was in work only when it was the role's own: when the whole server is killed, or its machine or container
 * goes, the same event is in work again and again, and had no part in it. A role's own death is one that the process that
 * started it, the supervisor, has outlived; so they note who that was (struct note_starter) and ask. */
#ifndef PENSTOCK_BASE_NOTE_H
#define PENSTOCK_BASE_NOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* FOLDER/NAME, made when missing, of so many bytes whatever it had (zeros where it had fewer). Ended by munmap(). NULL: not to be had. */
void *note_map(const char *folder, const char *name, size_t bytes, struct err *err) must_check;

/* A process that starts others. The pid alone is not enough: in a container it is 1 for each of them. */
struct note_starter {
    uint64_t pid;   /* 0: nobody yet */
    uint64_t birth; /* made of when it began and of the machine's start; 0: not known */
};

/* Whether the process that is noted here started this one, too: then it outlived whoever noted it. True when nobody is noted.
 * Notes who started this process, in its place. */
bool note_starter_outlived(struct note_starter *noted);

#endif
