/* capture/loop.h - one event loop: its connections, its flights to the log, its turn.
 *
 * A turn: wait, handle what happened, then hand the records of all its requests to the committer as one
 * batch, if the committer is idle; while it syncs, the next batch fills. So requests share syncs by
 * themselves, more of them the slower the disk is.
 *
 * One refinement: those who were just answered usually send again within microseconds, and each sync
 * costs the same however many share it. So after a group of eight or more was answered, the next one is
 * held for at most as long as a sync takes (never above 1 ms), until as many wait as would make a full
 * group: measured with 64 connections, 58 instead of 31 requests share a sync. Alone, or in small company, nobody is held.
 * In small company the loop may sync itself instead (loop_sync.c).
 *
 * Large requests are another matter: 64 of them are more than a disk should get at once, and while all of them are read it has
 * nothing to do. So a turn ends as soon as a commit has landed, and as soon as some MiB wait and the disk is idle (lane_is_due).
 *
 * There are three lanes, each with a topic, a committer and flights of its own: live requests, those that say
 * historical_migration, and recordings. An import fills its own syncs, nobody waits in line behind its records, and beside live traffic
 * its own wait for their turn (pace.h). A connection whose last request was an import's or a recording's is looked at after all others.
 *  O1  of each lane at most one flight is with the committer, one is filling
 *  O2  a connection is in the list of exactly one timer, and of a flight only in WAIT
 *  O4  who has something to do waits in the queue; in one turn some 3 ms of it are done (1 in an overload), less when a lane is due, then
 *      epoll is asked again; in an overload also in the middle of a large request, for those who are sent away (loop_look.c)
 *  O3  nobody but the loop's thread touches it, except flight->result and ->done (the committer), and the stand-by's own */
#ifndef PENSTOCK_CAPTURE_LOOP_H
#define PENSTOCK_CAPTURE_LOOP_H

#include <stdatomic.h>
#include <sys/epoll.h>

#include "capture/addresses.h"
#include "capture/capture_metrics.h"
#include "capture/conn.h"
#include "capture/group_delay.h"
#include "capture/intake.h"
#include "capture/pace.h"
#include "capture/pressure.h"
#include "capture/replay_intake.h"
#include "capture/segment_intake.h"
#include "capture/scrape.h"
#include "capture/settings.h"
#include "capture/spool_watch.h"
#include "capture/stand_by.h"
#include "capture/tls.h"
#include "capture/tokens_snapshot.h"
#include "capture/v1_intake.h"
#include "log/log.h"

enum {
    LANE_LIVE = INPUT_RAW,
    LANE_IMPORTS = INPUT_HISTORICAL,
    LANE_REPLAY, /* recordings, which nobody waits for: looked at after all others, and the first to be refused */
    CAPTURE_LANES,
    LOOP_READ_BYTES = 256 << 10, /* one read takes a whole ordinary request; measured: larger gains nothing */
    LOOP_PORTS_MAX = 16,
    LOOP_HELLOS_MAX = 8, /* steps of TLS handshakes in one turn: some milliseconds at most */
    LOOP_TLS_BYTES = 16 << 10, /* counted for each TLS connection: docs/decisions/tls.md */
    LOOP_CONN_BUF_FIRST_BYTES = 1 << 10,
    LOOP_SHED_RETRIES = 4, /* seconds, spread so that those who were sent away do not come back together */
    LOOK_EVENTS_MAX = 64,
    LOOP_BUF_CLASSES = 5 /* 1, 4, 16, 64, 256 KiB are pooled; larger ones are malloc's */
};

/* "raw", ... */
static inline const char *lane_topic(int lane)
{
    return lane == LANE_REPLAY ? "replay" : input_topic((enum input)lane);
}

/* What all loops share. Fixed after start, except the atomics. */
struct capture_shared {
    const struct capture_settings *settings;
    int                            run_fd; /* DIR/run, for the metrics of all roles */
    _Atomic(struct log_commit *)   commits[CAPTURE_LANES]; /* NULL: the disk was full at the start, and still is. The
                                                            * first is stored last */
    _Atomic(struct log *)          log;    /* as the commits; on Kafka NULL for ever */
    bool                           log_remote; /* the log is on Kafka */
    struct spool_watch            *spool_watch; /* NULL: it is not */
    struct capture_watched { struct spool_watch *watch; size_t lane; } watched[CAPTURE_LANES];
    struct tokens                 *tokens;
    struct rates                  *rates;
    struct scrape                 *scrape;
    struct capture_metrics        *metrics;
    const struct role_listener    *listeners;
    size_t                         listeners_count;
    int                            stop_fd;
    struct addresses              *addresses; /* NULL: no bounds for addresses */
    size_t                         connections_max; /* of one loop */
    struct tls                    *tls; /* NULL: no listener says tls */
    struct client_ip_rules         client_ip;
    struct loop                   *loops; /* threads of them */
    atomic_bool                    handed; /* another capture takes the connections now (heir.h) */
    atomic_bool                    failed; /* the log's writer is finished */
    struct err                     failure; /* @lock failed goes from false to true once; written before */
    atomic_flag                    failure_taken;
};

struct flight {
    struct lane             *lane;
    struct log_batch        *batch;
    struct conn             *first, *last; /* waiting */
    size_t                   waiting;
    int64_t                  since_us; /* the first of those who wait came; 0: nobody did */
    int64_t                  submitted_us;
    bool                     busy;   /* with the committer */
    struct log_commit_result result; /* written by the committer before done */
    atomic_bool              done;
};

struct lane {
    struct loop  *loop;
    int           number; /* LANE_LIVE, ... */
    struct flight flights[2];
    int           filling;
    uint64_t      landed, failed; /* commits that are over; the last of them that failed, by its number from 1 */
    int64_t       hold_until_us; /* 0, or: who was just answered may come back until then */
    size_t        hold_waiting;  /* and this many make a full group */
    struct group_delay delay;
};

/* A listening socket as one loop watches it. */
struct port {
    const struct role_listener *from; /* fixed after start */
    bool                        listening;
    int                         accepts_left; /* in this turn */
};

/* In the middle of a large request: loop_look.c. */
struct look {
    struct conn        *in_work;
    int64_t             us;    /* when it was done last, or the work begun */
    int                 left;  /* so many events may be looked at in this turn */
    enum pressure_level level; /* of this turn */
    uint8_t            *buf;   /* as read_buf; NULL: not needed yet */
    struct epoll_event  kept[LOOK_EVENTS_MAX]; /* left for the next turn */
    int                 count;
};

struct timer_list { struct conn *first, *last; };

/* In the order in which they were noticed. */
struct turn_queue {
    struct conn *first, *last;
    size_t       count;
};

struct loop {
    /* fixed after start */
    struct capture_shared *shared;
    size_t                 number;
    int                    epoll_fd, wake_fd;
    struct intake         *intake;
    struct v1_intake      *v1_intake;
    struct replay_intake  *replay_intake;
    struct segment_intake *segment_intake; /* made with the first request of its kind; NULL before */
    size_t                 memory_max;

    /* @thread loop */
    int64_t            mono_us, wall_us; /* of this turn */
    struct reply_clock clock;
    struct reply_ready ready, ready_shed[LOOP_SHED_RETRIES]; /* of each time after which to come back */
    struct timer_list  timers[CONN_STATE_COUNT];
    size_t             conn_count;
    size_t             memory;     /* connections' buffers */
    size_t             replies;    /* bytes of replies that wait for their readers; part of memory */
    struct turn_queue  queues[2];  /* who waits for a turn: all; those behind, of imports, recordings and long pipelines */
    unsigned           shed_turn;
    bool               judging;    /* requests are looked at as they are noticed; those with events wait for their turn */
    struct pressure    pressure;
    struct look        look;
    enum pressure_level level, memory_level; /* of this turn */
    size_t             memory_shown; /* in the gauge */
    size_t             memory_now;
    uint32_t           project;    /* to which the last token belonged that was looked up */
    struct conn       *hello_first, *hello_last; /* their handshakes go on in the next turn */
    int                hello_left;               /* and so many may in this one */
    struct tls_held    tls;
    struct conn       *retired;    /* closed in this turn */
    struct conn       *conn_pool;
    void              *buf_pool[LOOP_BUF_CLASSES];
    size_t             buf_pooled[LOOP_BUF_CLASSES];
    struct lane        lanes[CAPTURE_LANES];
    struct scrape_place scrape;
    struct flight      scrape_asked, scrape_rendered; /* connections that wait for metrics; no batches */
    int64_t            replay_space_us; /* when replay_space was asked for */
    uint64_t           replay_space;    /* free on the disk */
    struct pace        pace;
    uint64_t           ends[CAPTURE_LANES]; /* of the topics, as the last commits told */
    struct port        ports[LOOP_PORTS_MAX];
    struct stand_by    stand_by; /* for both its threads; the rest is the one's that has the loop */
    pthread_t          stand_by_thread;
    bool               stands_by; /* there is one */
    int64_t            sync_us;  /* how long a live commit takes at present: the longest, slowly forgotten */
    bool               draining, finished;
    int64_t            drain_until_us, listen_again_us;
    const struct catalog_snapshot *snapshot; /* pinned for this turn */
    struct buf         out, answer;          /* a reply on its way to the socket; its body */
    struct http_request request;
    char               client_ip[CLIENT_IP_BYTES_MAX + 1]; /* of the request in work, where it is not in its head */
    uint8_t           *read_buf;
};

int  loop_init(struct loop *loop, struct capture_shared *shared, size_t number, struct err *err) must_check;
void loop_fini(struct loop *loop);
/* Until the stop signal came and everything in flight is answered, or the log failed. */
void loop_run(struct loop *loop);
/* From any thread. */
void loop_wake(struct loop *loop);

/* --- for conn.c and listener.c ----------------------------------------------------------------- */

/* Time over which a connection may stay in this state; 0: for ever. */
int64_t loop_state_us(const struct loop *loop, enum conn_state state);
struct flight *loop_filling(struct loop *loop, int lane);
void flight_add(struct flight *flight, struct conn *conn);
void flight_remove(struct conn *conn);
/* The records of a request are in the filling flight, and conn waits for them. They were begun at from_us. */
void loop_add(struct loop *loop, int lane, struct conn *conn, int64_t from_us);
/* Some of them are imports by their age, and in the filling flight of that lane: conn, which waits for a live one, waits for both. */
void loop_add_also(struct loop *loop, struct conn *conn);
/* loop_flights.c. A commit that conn waited for has landed, and conn has left it: true: it waits for the other one now. */
bool flight_wait_also(struct loop *loop, struct conn *conn);
/* loop_sync.c. Whether the loop itself may write and sync this flight, and has the log for it. */
bool loop_syncs(struct loop *loop, const struct flight *flight);
/* Does so. false: it took so long that the loop is the other thread's now. */
bool loop_sync(struct loop *loop, struct flight *flight) must_check;
/* A live commit took so long. */
void loop_sync_took(struct loop *loop, int64_t us);
/* loop.c. Turn by turn until its end: true; false: the other thread goes on. @thread who has the loop */
bool loop_turns(struct loop *loop) must_check;
/* loop.c. Whether there is something to be done for this lane's commits at once: one has landed, or what waits is a large group. */
bool lane_is_due(const struct lane *lane);
/* loop_imports.c. Where ingest is, for the pace. */
void loop_pace(struct loop *loop);
/* Bodies and records held now. */
size_t loop_memory(const struct loop *loop);

/* A buffer of at least `bytes`; *size_out is what it really has. NULL: no memory. */
uint8_t *loop_buf_take(struct loop *loop, size_t bytes, size_t *size_out);
void     loop_buf_give(struct loop *loop, uint8_t *buf, size_t size);

/* loop_queue.c: what connections have to do, in turn. add: it may be there already. judge: once a turn, how much is
 * too much. */
void loop_queue_add(struct conn *conn);
void loop_queue_remove(struct conn *conn);
void loop_queue_judge(struct loop *loop);
void loop_queue_run(struct loop *loop);
/* Whether who comes now may have to be sent away. */
bool loop_queue_judges(const struct loop *loop);
/* One of those of imports, and more while the time for them lasts. */
void loop_queue_run_imports(struct loop *loop);
/* In what time somebody may have a turn; INT64_MAX: nobody waits. */
int64_t loop_queue_wait_us(const struct loop *loop);

/* loop_look.c: sends away who came meanwhile. begin, end: around the work on a request of conn's, which is given what to call between
 * its parts, and at no other time. turn: once a turn, when its level is known. take: what was noticed and left, into
 * out[LOOK_EVENTS_MAX]; gives how many. forget: a connection whose memory may be used again. */
struct between loop_look_begin(struct conn *conn);
void loop_look_end(struct loop *loop);
void loop_look_turn(struct loop *loop);
int  loop_look_take(struct loop *loop, struct epoll_event *out);
void loop_look_forget(struct loop *loop, const struct conn *conn);

/* listener.c: init makes loop->ports of what the supervisor gave, and starts. */
void listener_init(struct loop *loop);
void listener_start(struct loop *loop);
void listener_stop(struct loop *loop);
/* For good: who is in the queue already is taken. refuse: whoever comes now is refused, in all processes. */
void listener_end(struct loop *loop, bool refuse);
bool listener_owns(const struct loop *loop, const void *ptr);
/* Once a turn, when its level is known: how many it may accept. */
void listener_turn(struct loop *loop);
/* ptr: of one of loop->ports. In the middle of a large request a few are accepted. */
void listener_on_ready(struct loop *loop, void *ptr);

#endif
