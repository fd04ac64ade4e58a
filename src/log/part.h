/* log/part.h - the folder of one partition: DIR/TOPIC/PARTITION.
 *
 *   <base offset, 20 digits>.seg   segments; a segment ends where the next one's name begins
 *   <base>.new                     a segment being made; removed by recovery
 *   <base>.deleted                 a segment that retention gave up; removed by recovery
 *   <base>.foreign[-N]             a segment file that is not this partition's, set aside by recovery
 *   head                           published end, epoch, owner (head.h)
 *   epoch                          at  bytes  field
 *                                   0      8  magic "PNSTEPCH"
 *                                   8      8  id, random, made with the partition
 *                                  16      4  epoch of the last opening
 *                                  20      4  crc32c of the bytes before
 *   quarantine                     one line a lost range
 *   roll, confirm                  asks something of the writer, which removes it (log_roll_ask, log_clock_confirm)
 *   cursors/NAME                   log_cursor.c
 *
 * Threads: a struct part belongs to one; several may be open on the same folder. */
#ifndef PENSTOCK_LOG_PART_H
#define PENSTOCK_LOG_PART_H

#include "base/err.h"
#include "base/span.h"
#include "log/embedded.h"

enum {
    PART_NAME_BYTES = 48, /* of a file in the folder */
    SEGMENT_HEADER_BYTES = 64,
    SEGMENT_DATA_AT = 4096 /* the first frame: a block of its own for the header */
};

struct log { /* embedded */
    const struct log_ops *ops;
    int                   dir_fd;
};

/* Makes the name of an open folder durable: the folder above it is synced. -1 and errno. */
int log_parent_sync(int dir_fd) must_check;

struct part {
    int  dir_fd;
    char label[LOG_TOPIC_NAME_BYTES_MAX + 16]; /* "topic/0" for messages */
};

/* 1: open; 0: not there (create false). */
int  part_open(struct part *part, const struct log *log, const char *topic, uint32_t partition, bool create,
               struct err *err) must_check;
void part_close(struct part *part);
int  part_sync_dir(const struct part *part, struct err *err) must_check;

void part_segment_name(char name[PART_NAME_BYTES], uint64_t base, const char *suffix);
/* True: name is 20 digits and `suffix`. */
bool part_segment_base(const char *name, const char *suffix, uint64_t *base_out);

/* The segments in order of their bases. */
struct part_segments {
    uint64_t *bases;
    size_t    count, size;
};
int  part_list(const struct part *part, struct part_segments *out, struct err *err) must_check;
void part_segments_fini(struct part_segments *segments);

/* The header of a segment, twice told by its name; see segment.h for the form.
 * 1: whole and of this base: *id_out; 0: damaged or of another base; -1: unreadable. */
int part_segment_id(const struct part *part, uint64_t base, uint64_t *id_out, struct err *err) must_check;
/* Is that file not this partition's, or not the one that it is named as? A damaged header accuses nobody,
 * and a first frame that is true at its place acquits. */
bool part_segment_foreign(const struct part *part, uint64_t base, uint64_t id);
void part_segment_header_put(uint8_t at[SEGMENT_HEADER_BYTES], uint64_t id, uint64_t base, uint32_t epoch,
                             int64_t created_us);
struct part_header { uint64_t id, base; uint32_t epoch; int64_t created_us; };
/* False: these bytes are no header. */
bool part_segment_header_get(const uint8_t at[SEGMENT_HEADER_BYTES], struct part_header *out);
/* From the file of that name, whatever base it tells. 1; 0: damaged; -1: unreadable. */
int part_segment_header_read(const struct part *part, uint64_t base, struct part_header *out, struct err *err) must_check;

/* 1: whole; 0: missing or damaged. */
int part_epoch_load(const struct part *part, uint64_t *id_out, uint32_t *epoch_out, struct err *err) must_check;
int part_epoch_store(const struct part *part, uint64_t id, uint32_t epoch, struct err *err) must_check;

/* Makes an empty file of that name, for the writer to find (and to remove): somebody asks something of it. 0 as well when there is no
 * such partition. */
int part_ask(const struct log *log, const char *topic, uint32_t partition, const char *name, struct err *err) must_check;

/* Adds a line to the quarantine file unless it is there already. A failure is no failure of the caller's:
 * it must go on serving what is whole. */
void part_quarantine(const struct part *part, uint64_t base, uint64_t count, uint64_t seg_base, uint64_t file_at,
                     const char *what);

bool part_name_valid(const char *name, size_t bytes_max); /* [a-z0-9_]+ */

#endif
