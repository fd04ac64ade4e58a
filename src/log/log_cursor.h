/* log/log_cursor.h - cursors' files, for the log's own files only (log.h has the functions). */
#ifndef PENSTOCK_LOG_LOG_CURSOR_H
#define PENSTOCK_LOG_LOG_CURSOR_H

#include "log/part.h"

/* A descriptor of the folder of cursors; -2: there is none; -1: error. */
int log_cursor_folder(const struct part *part, bool create, struct err *err) must_check;
/* 1: found; 0: none, or damaged; -1: unreadable, errno. */
int log_cursor_read(int folder_fd, const char *consumer, uint64_t *offset_out) must_check;
/* Up to where a consumer has come as far as is known outside of the topic's own folder (keeps_places). 0: nothing is known. */
uint64_t log_cursor_kept(const struct log *log, const char *topic, uint32_t partition);

#endif
