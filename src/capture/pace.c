/* capture/pace.c - see pace.h. Additive increase and multiplicative decrease, as in ingest/lanes.c and for the same reason:
 * imports in several loops and several processes share two cores and a disk, and know nothing of each other. */
#include "capture/pace.h"

#define PACE_SHARE_MIN (1.0 / 512)
#define PACE_SHARE_FIRST (1.0 / 16)
#define PACE_SHARE_MAX 0.5
#define PACE_SHARE_STEP (1.0 / 256) /* every PACE_STEP_US: from the least to the most in 13 s */
#define PACE_LIVE_LAG_S 0.5         /* of ingest's work; it is told of its place after each batch */
#define PACE_IMPORT_LAG_S 3.0
#define PACE_LAG_RECORDS_MIN 1000.0 /* a few requests are no queue */

enum { PACE_CUT_US = 300000 /* what the last cut did does not show before */ };

void pace_init(struct pace *pace, int64_t now_us)
{
    *pace = (struct pace){ .share = PACE_SHARE_FIRST, .live_us = now_us - PACE_QUIET_US, .import_us = now_us - PACE_QUIET_US,
                           .free_us = now_us, .committed_us = now_us - PACE_GAP_US, .stepped_us = now_us,
                           .cut_us = now_us - PACE_CUT_US };
}

bool pace_beside_live(const struct pace *pace, int64_t now_us)
{
    return now_us - pace->live_us < PACE_QUIET_US;
}

void pace_live(struct pace *pace, int64_t now_us)
{
    pace->live_us = now_us;
}

void pace_import(struct pace *pace, int64_t now_us, int64_t took_us)
{
    pace->import_us = now_us;
    if (pace->free_us < now_us - took_us)
        pace->free_us = now_us - took_us;
    pace->free_us += (int64_t)((double)took_us / pace->share);
    if (pace->free_us > now_us + PACE_WAIT_US) /* a debt that nobody waits for is none: A1 */
        pace->free_us = now_us + PACE_WAIT_US;
}

static void smooth(double *value, double with, double part)
{
    *value = *value <= 0 ? with : *value + (with - *value) * part;
}

void pace_commit(struct pace *pace, int64_t now_us, int64_t took_us)
{
    if (now_us - pace->import_us >= PACE_QUIET_US)
        smooth(&pace->commit_alone_us, (double)took_us, 1.0 / 64);
    else
        smooth(&pace->commit_us, (double)took_us, 1.0 / 16);
}

bool pace_step_due(const struct pace *pace, int64_t now_us)
{
    return now_us - pace->stepped_us >= PACE_STEP_US && now_us - pace->import_us < PACE_QUIET_US &&
           pace_beside_live(pace, now_us);
}

/* Whether more than so many seconds of ingest's work wait. */
static bool behind(const struct pace *pace, uint64_t end, uint64_t taken, double seconds)
{
    double most = pace->speed * seconds;

    return end > taken && (double)(end - taken) > (most > PACE_LAG_RECORDS_MIN ? most : PACE_LAG_RECORDS_MIN);
}

static void note_speed(struct pace *pace, int64_t now_us, uint64_t taken)
{
    if (pace->taken_us != 0 && now_us > pace->taken_us && taken >= pace->taken)
        smooth(&pace->speed, (double)(taken - pace->taken) * 1e6 / (double)(now_us - pace->taken_us), 1.0 / 8);
    pace->taken = taken;
    pace->taken_us = now_us;
}

void pace_step(struct pace *pace, int64_t now_us, const struct pace_ingest *ingest)
{
    bool slow = pace->commit_alone_us > 0 && pace->commit_us > 1.5 * pace->commit_alone_us + PACE_COMMIT_SLACK_US;

    note_speed(pace, now_us, ingest->live_taken + ingest->import_taken);
    if (slow || behind(pace, ingest->live_end, ingest->live_taken, PACE_LIVE_LAG_S) ||
        behind(pace, ingest->import_end, ingest->import_taken, PACE_IMPORT_LAG_S)) {
        if (now_us - pace->cut_us >= PACE_CUT_US) {
            pace->share = pace->share / 2 > PACE_SHARE_MIN ? pace->share / 2 : PACE_SHARE_MIN;
            pace->cut_us = now_us;
        }
    } else if (pace->limited) {
        pace->share = pace->share + PACE_SHARE_STEP < PACE_SHARE_MAX ? pace->share + PACE_SHARE_STEP : PACE_SHARE_MAX;
    }
    pace->limited = false;
    pace->stepped_us = now_us;
}

int64_t pace_due_us(const struct pace *pace, int64_t now_us, int64_t since_us)
{
    int64_t due_us = pace->free_us > pace->committed_us + PACE_GAP_US ? pace->free_us : pace->committed_us + PACE_GAP_US;

    if (!pace_beside_live(pace, now_us))
        return now_us;
    return due_us < since_us + PACE_WAIT_US ? due_us : since_us + PACE_WAIT_US;
}

void pace_gone(struct pace *pace, int64_t now_us)
{
    pace->limited |= pace->free_us > pace->committed_us + PACE_GAP_US;
    pace->committed_us = now_us;
}
