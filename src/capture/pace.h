/* capture/pace.h - how fast imports may go beside live traffic.
 *
 * An import's client sends its next request when the last one was answered. So its speed is set by when its records are
 * committed: their flight waits until imports have had no more than their share of the loop's time, and no more than a
 * commit every PACE_GAP_US, because syncs of two files wait for each other. Nothing is refused and nothing is read
 * ahead: who waits for an answer is not read from, and the rest is TCP's business.
 *
 * The share is halved while, with imports about,
 *   a live commit takes longer than before the import by half and PACE_COMMIT_SLACK_US, or
 *   ingest is behind with live records, or has seconds of imported ones waiting: the queue then is the client's, not ours,
 * and grows by a step otherwise, when it was what limited. Without live traffic for a second there is no pace at all.
 *  A1  records of an import wait at most PACE_WAIT_US for their commit
 * Knows no log and no clock: all it sees is told. @thread one */
#ifndef PENSTOCK_CAPTURE_PACE_H
#define PENSTOCK_CAPTURE_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PACE_QUIET_US = 1000000,
    PACE_WAIT_US = 1000000, /* a fifth of commit_wait as it comes */
    PACE_GAP_US = 25000,
    PACE_STEP_US = 100000,
    PACE_COMMIT_SLACK_US = 5000,
    PACE_TURN_US = 1000     /* of imports' requests in a turn: who comes meanwhile waits so long, and for the last of them */
};

/* How far ingest has come, of the topics of live records and of imports. */
struct pace_ingest {
    uint64_t live_end, live_taken, import_end, import_taken;
};

struct pace {
    double   share;        /* of the loop's time, while there is live traffic */
    int64_t  live_us;      /* a live request last came */
    int64_t  import_us;    /* an import's last came */
    int64_t  free_us;      /* when what imports took will have been their share */
    int64_t  committed_us; /* records of imports last went to the committer */
    int64_t  stepped_us;
    int64_t  cut_us;       /* the share was last halved */
    bool     limited;      /* since stepped_us: records waited for it */
    double   commit_alone_us, commit_us; /* of live flights, smoothed: without imports, and beside one. 0: none yet */
    uint64_t taken;        /* as told last: live and imported */
    int64_t  taken_us;
    double   speed;        /* of ingest: records a second, of both; smoothed */
};

void pace_init(struct pace *pace, int64_t now_us);
/* A request's records are in the batch; it took so long. */
void pace_live(struct pace *pace, int64_t now_us);
void pace_import(struct pace *pace, int64_t now_us, int64_t took_us);
/* A commit of live records was answered after so long. */
void pace_commit(struct pace *pace, int64_t now_us, int64_t took_us);
/* Whether it is worth while to look where ingest is, and what was seen. */
bool pace_step_due(const struct pace *pace, int64_t now_us);
void pace_step(struct pace *pace, int64_t now_us, const struct pace_ingest *ingest);
/* When records of imports that wait since then may go. */
int64_t pace_due_us(const struct pace *pace, int64_t now_us, int64_t since_us);
/* They went. waited: since when, as above. */
void pace_gone(struct pace *pace, int64_t now_us);
/* Live traffic is about. */
bool pace_beside_live(const struct pace *pace, int64_t now_us);

#endif
