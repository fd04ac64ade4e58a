/* log/head.h - the published end, shared through a small mapped file.
 *
 *   at  bytes  field
 *    0      8  magic "PNSTHEAD"
 *    8      8  id of the partition
 *   16      4  epoch
 *   20      4  owner     process id of the writer (0: closed)
 *   24      4  crc       crc32c of the bytes before
 *   28      4  seq       counts publishings; the word that readers sleep on (futex); its lowest bit tells
 *                        which slot is the newest
 *   64     64  slot 0    0: end u64 | 8: segment base u64 | 16: place of the last published frame u64
 *                        24: seq u32 | 28: crc32c of the slot's bytes before
 *  128     64  slot 1
 *  192   3904  a note: how the clock jumped (steady.h)
 *
 * H1  a slot says only what was durable when it was written, so an old one is harmless after a power cut
 * H2  a killed or interrupted publishing leaves the other slot whole
 * H3  losing the file costs a slower recovery and nothing else
 * Threads: one writer; any number of readers in any process. */
#ifndef PENSTOCK_LOG_HEAD_H
#define PENSTOCK_LOG_HEAD_H

#include "log/part.h"

enum { HEAD_NOTE_BYTES = 3904 };

struct head {
    int      fd;
    uint8_t *map;
    uint64_t ino; /* which file this is: it may be replaced */
};

struct head_place {
    uint64_t end;
    uint64_t seg_base, frame_at; /* frame_at 0: not told */
};

/* Maps the head for writing, creating it when missing or of a wrong size. */
int  head_open_writer(struct head *head, const struct part *part, struct err *err) must_check;
/* 1: mapped; 0: there is none yet. */
int  head_open_reader(struct head *head, const struct part *part, struct err *err) must_check;
void head_close(struct head *head);
/* Is the file of that name still this one? */
bool head_is_current(const struct head *head, const struct part *part);

/* False: never written, or damaged. */
bool head_identity(const struct head *head, uint64_t *id_out, uint32_t *epoch_out, uint32_t *owner_out);
bool head_load(const struct head *head, struct head_place *out, uint32_t *seq_out);

void head_set_identity(struct head *head, uint64_t id, uint32_t epoch, uint32_t owner);
/* Makes both slots say this; for recovery and cut. */
void head_set(struct head *head, const struct head_place *place);
/* The next slot, then the readers are woken. */
void head_publish(struct head *head, const struct head_place *place);
/* As it stands: whoever wrote it has its own sum. */
void head_note_get(const struct head *head, uint8_t note[HEAD_NOTE_BYTES]);
void head_note_put(struct head *head, const uint8_t note[HEAD_NOTE_BYTES]);
int  head_sync(struct head *head, const struct part *part, struct err *err) must_check;

/* Sleeps while seq is unchanged. */
void head_wait(const struct head *head, uint32_t seq, int64_t timeout_us);

#endif
