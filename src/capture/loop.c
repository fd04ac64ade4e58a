/* capture/loop.c - edge-triggered: a connection is registered once for everything and never touched again
 * with epoll_ctl, and after a short read nobody asks the kernel whether there is more. A turn's clock is
 * read once. The committer's answer comes through an eventfd that is never read: with EPOLLET each write
 * to it is an event of its own. */
#include "capture/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/say.h"

enum {
    LOOP_EVENTS_MAX = 256,
    LOOP_EVENTS_OVERLOAD = 64,
    LOOP_OUT_BYTES_MAX = 16 << 20, /* the largest answer is /metrics */
    LOOP_POOLED_BYTES_MAX = 1 << 20, /* of each class of buffer */
    LOOP_RETRY_MS = 10,
    LOOP_PACED_PART = 8, /* of the memory: so much of imports does not wait for its turn */
    LOOP_HOLD_WAITING_MIN = 8,
    LOOP_GROUP_BYTES = 3 << 20, /* goes to an idle disk at once; measured: 2 costs a tenth more, 4 is often all that there is */
    LOOP_HOLD_US_MAX = 1000,
    LOOP_DRAIN_IDLE_US = 1000000, /* at a stop: how long a kept connection may still bring a request */
    LOOP_HANDED_IDLE_US = 10000000 /* and when another capture serves: nobody waits for this one's end */
};

/* --- memory ------------------------------------------------------------------------------------ */

static int loop_buf_class(size_t bytes, size_t *size_out)
{
    size_t size = LOOP_CONN_BUF_FIRST_BYTES;
    int    class = 0;

    while (size < bytes) {
        size *= 4;
        class++;
    }
    if (class >= LOOP_BUF_CLASSES) {
        size = LOOP_READ_BYTES;
        while (size < bytes)
            size += size / 2;
    }
    *size_out = size;
    return class;
}

uint8_t *loop_buf_take(struct loop *loop, size_t bytes, size_t *size_out)
{
    int      class = loop_buf_class(bytes, size_out);
    uint8_t *buf;

    if (class < LOOP_BUF_CLASSES && loop->buf_pool[class] != NULL) {
        buf = loop->buf_pool[class];
        memcpy(&loop->buf_pool[class], buf, sizeof(void *));
        loop->buf_pooled[class]--;
    } else {
        buf = malloc(*size_out);
    }
    if (buf != NULL)
        loop->memory += *size_out;
    return buf;
}

void loop_buf_give(struct loop *loop, uint8_t *buf, size_t size)
{
    size_t again;
    int    class;

    if (buf == NULL)
        return;
    class = loop_buf_class(size, &again);
    loop->memory -= size;
    if (class >= LOOP_BUF_CLASSES || again != size || (loop->buf_pooled[class] + 1) * size > LOOP_POOLED_BYTES_MAX) {
        free(buf);
        return;
    }
    memcpy(buf, &loop->buf_pool[class], sizeof(void *));
    loop->buf_pool[class] = buf;
    loop->buf_pooled[class]++;
}

size_t loop_memory(const struct loop *loop)
{
    size_t bytes = loop->memory + intake_bytes(loop->intake) + v1_intake_bytes(loop->v1_intake) +
                   replay_intake_bytes(loop->replay_intake) + segment_intake_bytes(loop->segment_intake);

    bytes += loop->conn_count * sizeof(struct conn);
    for (int i = 0; i < CAPTURE_LANES; i++) {
        const struct flight *flights = loop->lanes[i].flights;
        int                  filling = loop->lanes[i].filling;

        bytes += log_batch_bytes(flights[filling].batch) + (flights[filling ^ 1].busy ? log_batch_bytes(flights[filling ^ 1].batch) : 0);
    }
    return bytes;
}

/* --- timers ------------------------------------------------------------------------------------ */

static int64_t loop_drain_idle_us(const struct loop *loop)
{
    return atomic_load_explicit(&loop->shared->handed, memory_order_relaxed) ? LOOP_HANDED_IDLE_US : LOOP_DRAIN_IDLE_US;
}

int64_t loop_state_us(const struct loop *loop, enum conn_state state)
{
    const struct capture_settings *settings = loop->shared->settings;

    switch (state) {
    case CONN_IDLE: return loop->draining ? loop_drain_idle_us(loop) : settings->idle_timeout_us;
    case CONN_HELLO: return settings->hello_timeout_us;
    case CONN_HEAD: return settings->header_timeout_us;
    case CONN_BODY:
    case CONN_DRAIN: return settings->body_stall_us;
    case CONN_WAIT: return settings->commit_wait_us;
    case CONN_WRITE: return settings->reply_timeout_us;
    case CONN_LINGER: return 2000000;
    default: return 0;
    }
}

static void loop_run_deadlines(struct loop *loop)
{
    for (int state = 0; state < CONN_STATE_COUNT; state++)
        for (;;) {
            struct conn *conn = loop->timers[state].first;

            if (conn == NULL || conn->deadline_us > loop->mono_us)
                break;
            conn_on_deadline(conn);
            assert(loop->timers[state].first != conn || conn->deadline_us > loop->mono_us);
        }
}

/* Until when the records of imports wait beside live ones; not past now: they need not. */
static int64_t lane_pace_us(const struct lane *lane)
{
    const struct loop   *loop = lane->loop;
    const struct flight *flight = &lane->flights[lane->filling];

    if (lane->number != LANE_IMPORTS || loop->draining || flight->since_us == 0 ||
        log_batch_bytes(flight->batch) > loop->memory_max / LOOP_PACED_PART)
        return 0;
    return pace_due_us(&loop->pace, loop->mono_us, flight->since_us);
}

/* Until when large live requests wait for others; not past now: they need not. Kafka's log has its own delay (linger). */
static int64_t lane_delay_us(const struct lane *lane)
{
    const struct loop   *loop = lane->loop;
    const struct flight *flight = &lane->flights[lane->filling];

    if (lane->number != LANE_LIVE || loop->draining || loop->shared->log_remote)
        return 0;
    return group_delay_until_us(&lane->delay, flight->since_us, flight->waiting, log_batch_bytes(flight->batch));
}

/* Until when a lane's filling flight stays; INT64_MAX: until the other one lands. */
static int64_t lane_due_us(const struct lane *lane)
{
    int64_t now_us = lane->loop->mono_us;

    if (lane->flights[lane->filling ^ 1].busy || log_batch_count(lane->flights[lane->filling].batch) == 0)
        return INT64_MAX;
    if (lane_pace_us(lane) > now_us)
        return lane_pace_us(lane);
    if (lane_delay_us(lane) > now_us)
        return lane_delay_us(lane);
    return lane->hold_until_us > now_us ? lane->hold_until_us : now_us + LOOP_RETRY_MS * 1000; /* the committer had no room */
}

/* How long nothing needs to be done; -1: for ever. */
static int64_t loop_wait_us(const struct loop *loop)
{
    int64_t next = INT64_MAX, lanes = INT64_MAX;

    if (loop_queue_wait_us(loop) == 0)
        return 0;
    if (loop_queue_wait_us(loop) < INT64_MAX)
        next = loop->mono_us + loop_queue_wait_us(loop);
    for (int i = 0; i < CAPTURE_LANES; i++)
        if (lane_due_us(&loop->lanes[i]) < lanes)
            lanes = lane_due_us(&loop->lanes[i]);
    for (int state = 0; state < CONN_STATE_COUNT; state++)
        if (loop->timers[state].first != NULL && loop->timers[state].first->deadline_us < next)
            next = loop->timers[state].first->deadline_us;
    if (loop->draining && loop->drain_until_us < next)
        next = loop->drain_until_us;
    if (loop->listen_again_us != 0 && loop->listen_again_us < next)
        next = loop->listen_again_us;
    if (loop->hello_first != NULL || scrape_rendered(loop))
        return 0;
    if (next == INT64_MAX && lanes == INT64_MAX)
        return -1;
    if (lanes < next)
        return lanes - loop->mono_us;
    return next > loop->mono_us ? next - loop->mono_us + 100 : 0; /* late enough that the time is over */
}

_Static_assert(LOOK_EVENTS_MAX + LOOP_EVENTS_OVERLOAD <= LOOP_EVENTS_MAX, "one array holds both");

/* What was noticed and left in the last turn, then what there is to be noticed now. */
static int loop_wait(struct loop *loop, struct epoll_event *events)
{
    int             kept = loop_look_take(loop, events), count;
    int64_t         us = kept > 0 ? 0 : loop_wait_us(loop);
    struct timespec limit = { us / 1000000, us % 1000000 * 1000 };

    /* In an overload few are looked at between the works of two slices: sending away must not cost more than the work. */
    count = epoll_pwait2(loop->epoll_fd, events + kept, loop_queue_judges(loop) ? LOOP_EVENTS_OVERLOAD : LOOP_EVENTS_MAX - kept,
                         us < 0 ? NULL : &limit, NULL);
    return count < 0 && kept == 0 ? -1 : kept + (count < 0 ? 0 : count);
}

/* --- flights ----------------------------------------------------------------------------------- */

/* @thread committer */
static void flight_done(void *ctx, struct log_batch *batch_take, const struct log_commit_result *result)
{
    struct flight *flight = ctx;
    struct loop   *loop = flight->lane->loop;

    assert(batch_take == flight->batch);
    flight->result = *result;
    atomic_store_explicit(&flight->done, true, memory_order_release);
    loop_wake(loop); /* the flight may be used again from here on */
}

void loop_wake(struct loop *loop)
{
    uint64_t one = 1;

    (void)!write(loop->wake_fd, &one, sizeof one);
}

static void loop_fail(struct loop *loop, const struct err *err)
{
    struct capture_shared *shared = loop->shared;

    if (!atomic_flag_test_and_set(&shared->failure_taken)) {
        shared->failure = *err;
        atomic_store(&shared->failed, true);
        for (int64_t i = 0; i < shared->settings->threads; i++)
            if (shared->loops[i].wake_fd >= 0)
                loop_wake(&shared->loops[i]);
    }
    loop->draining = true;
    listener_stop(loop);
}

/* Brokers take a message at the same price whatever is in it, and near ones sooner than a loop has answered its clients and read what they
 * send next: so who was answered gets twice the time there. */
static void lane_hold(struct lane *lane, size_t answered, int64_t took_us)
{
    int64_t hold_us = lane->loop->shared->log_remote ? 2 * took_us : took_us;

    if (answered < LOOP_HOLD_WAITING_MIN)
        return;
    lane->hold_waiting = answered + lane->flights[lane->filling].waiting;
    lane->hold_until_us = lane->loop->mono_us + (hold_us < LOOP_HOLD_US_MAX ? hold_us : LOOP_HOLD_US_MAX);
}

/* Answers everybody who waited for this flight. */
static void flight_land(struct flight *flight, const struct log_commit_result *result)
{
    struct loop   *loop = flight->lane->loop;
    struct refusal refusal;
    struct conn   *conn;

    if (!result->ok && result->err.kind == ERR_FULL)
        refusal_set(&refusal, 503, REFUSAL_STORAGE_FULL, "service unavailable: storage_full: %s", result->err.text);
    else if (!result->ok && result->err.kind == ERR_RETRY)
        refusal_set(&refusal, 503, REFUSAL_UNAVAILABLE, "service unavailable: %s", result->err.text);
    else if (!result->ok)
        refusal_set(&refusal, 503, REFUSAL_UNAVAILABLE, "service unavailable: the log is not writable, restarting");
    if (result->ok) {
        capture_observe(loop->shared->metrics, CAPTURE_METRIC_COMMIT_SECONDS,
                        (double)(loop->mono_us - flight->submitted_us) / 1e6);
        capture_observe(loop->shared->metrics, CAPTURE_METRIC_COMMIT_EVENTS, (double)log_batch_count(flight->batch));
        lane_hold(flight->lane, flight->waiting, loop->mono_us - flight->submitted_us);
        loop->ends[flight->lane->number] = result->base + log_batch_count(flight->batch);
        if (flight->lane->number == LANE_LIVE) {
            pace_commit(&loop->pace, loop->mono_us, loop->mono_us - flight->submitted_us);
            loop_sync_took(loop, loop->mono_us - flight->submitted_us);
        }
    }
    log_batch_reset(flight->batch);
    flight->since_us = 0;
    flight->lane->landed++;
    if (!result->ok)
        flight->lane->failed = flight->lane->landed;
    while ((conn = flight->first) != NULL) {
        bool ok = result->ok;

        flight_remove(conn);
        if (conn->also != 0 && ok) {
            if (flight_wait_also(loop, conn))
                continue;
            /* It has landed before. Of one that failed since, it is not known whose: what is sent again has the same ids. */
            ok = loop->lanes[LANE_IMPORTS].failed < conn->also;
            if (!ok)
                refusal_set(&refusal, 503, REFUSAL_UNAVAILABLE, "service unavailable: not all of the events are written, send again");
        }
        conn_on_ack(conn, ok ? NULL : &refusal);
    }
}

static void lane_take_acks(struct lane *lane)
{
    struct flight *flight = &lane->flights[lane->filling ^ 1];

    if (!flight->busy || !atomic_load_explicit(&flight->done, memory_order_acquire))
        return;
    flight->busy = false;
    atomic_store_explicit(&flight->done, false, memory_order_relaxed);
    if (!flight->result.ok && flight->result.err.kind != ERR_FULL && flight->result.err.kind != ERR_RETRY)
        loop_fail(lane->loop, &flight->result.err);
    flight_land(flight, &flight->result);
}

bool lane_is_due(const struct lane *lane)
{
    const struct flight *other = &lane->flights[lane->filling ^ 1];

    return other->busy ? atomic_load_explicit(&other->done, memory_order_relaxed)
                       : log_batch_bytes(lane->flights[lane->filling].batch) >= LOOP_GROUP_BYTES;
}

/* False: the loop is another thread's now. */
static bool lane_submit(struct lane *lane)
{
    struct loop   *loop = lane->loop;
    struct flight *flight = &lane->flights[lane->filling];
    struct err     err = { 0 };

    if (lane->flights[lane->filling ^ 1].busy || log_batch_count(flight->batch) == 0)
        return true;
    if (lane->hold_until_us > loop->mono_us && flight->waiting < lane->hold_waiting && log_batch_bytes(flight->batch) < LOOP_GROUP_BYTES)
        return true;
    if (lane_pace_us(lane) > loop->mono_us || lane_delay_us(lane) > loop->mono_us)
        return true;
    lane->hold_until_us = 0;
    group_delay_gone(&lane->delay, loop->mono_us, flight->waiting);
    if (lane->number == LANE_IMPORTS)
        pace_gone(&loop->pace, loop->mono_us);
    flight->submitted_us = loop->mono_us;
    flight->busy = true;
    if (loop_syncs(loop, flight)) {
        lane->filling ^= 1;
        if (!loop_sync(loop, flight))
            return false;
        lane_take_acks(lane);
        return true;
    }
    if (log_commit_submit(atomic_load(&loop->shared->commits[lane->number]), flight->batch, flight_done, flight, &err) == 0) {
        lane->filling ^= 1;
        return true;
    }
    flight->busy = false;
    if (err.kind != ERR_FULL) { /* it stays ours, and will never be written */
        struct log_commit_result result = { .err = err };

        loop_fail(loop, &err);
        flight_land(flight, &result);
    }
    return true;
}

/* The live ones last: what is done after a sync of the loop's own must be done before it. */
static bool loop_submit(struct loop *loop)
{
    for (int i = CAPTURE_LANES - 1; i >= 0; i--)
        if (!lane_submit(&loop->lanes[i]))
            return false;
    return true;
}

static bool loop_flying(const struct loop *loop)
{
    for (int i = 0; i < CAPTURE_LANES; i++)
        if (loop->lanes[i].flights[0].busy || loop->lanes[i].flights[1].busy)
            return true;
    return false;
}

/* --- the turn ---------------------------------------------------------------------------------- */

/* A stop after another capture took over shortens what was begun then. */
static void loop_begin_drain(struct loop *loop, bool stop)
{
    bool    begun = loop->draining && loop->drain_until_us != 0, failed = atomic_load(&loop->shared->failed);
    int64_t idle_until_us = loop->mono_us + (stop ? LOOP_DRAIN_IDLE_US : loop_drain_idle_us(loop));

    if (begun && !stop)
        return;
    loop->draining = true;
    if (!begun) {
        loop->drain_until_us = loop->mono_us + loop->shared->settings->drain_us;
        if (failed)
            listener_stop(loop); /* the queue is for the process that comes after this one */
        else
            listener_end(loop, stop);
    }
    for (struct conn *conn = loop->timers[CONN_IDLE].first; conn != NULL; conn = conn->timer_next)
        if (!begun || conn->deadline_us > idle_until_us)
            conn->deadline_us = idle_until_us; /* their order stays */
}

static void loop_handle_event(struct loop *loop, const struct epoll_event *event)
{
    if (listener_owns(loop, event->data.ptr))
        listener_on_ready(loop, event->data.ptr);
    else if (event->data.ptr == &loop->draining)
        loop_begin_drain(loop, true);
    else if (event->data.ptr == loop)
        ; /* woken: acks are looked for in every turn */
    else
        conn_on_event(event->data.ptr, event->events);
}

static void loop_free_retired(struct loop *loop)
{
    while (loop->retired != NULL) {
        struct conn *conn = loop->retired;

        loop->retired = conn->timer_next;
        loop_look_forget(loop, conn);
        conn_retire(conn);
    }
}

static void loop_turn(struct loop *loop, const struct epoll_event *events, int count)
{
    loop->mono_us = clock_mono_us();
    loop->wall_us = clock_wall_us();
    reply_clock_set(&loop->clock, loop->wall_us);
    reply_ready_stamp(&loop->ready, &loop->clock);
    for (int i = 0; i < LOOP_SHED_RETRIES; i++)
        reply_ready_stamp(&loop->ready_shed[i], &loop->clock);
    loop->snapshot = tokens_pin(loop->shared->tokens, loop->number);
    for (int i = 0; i < CAPTURE_LANES; i++)
        lane_take_acks(&loop->lanes[i]);
    loop_queue_judge(loop);
    loop_look_turn(loop);
    conn_hello_turn(loop);
    for (int i = 0; i < count; i++)
        loop_handle_event(loop, &events[i]);
    loop_queue_run(loop);
    loop_run_deadlines(loop);
    loop_queue_run_imports(loop);
    if (loop->listen_again_us != 0 && loop->mono_us >= loop->listen_again_us)
        listener_start(loop);
    if (atomic_load_explicit(&loop->shared->failed, memory_order_relaxed) ||
        atomic_load_explicit(&loop->shared->handed, memory_order_relaxed))
        loop_begin_drain(loop, false);
    loop_pace(loop);
    scrape_step(loop);
    tokens_unpin(loop->shared->tokens, loop->number);
    loop_free_retired(loop);
    if (loop->memory_now != loop->memory_shown) {
        capture_gauge_by(loop->shared->metrics, CAPTURE_METRIC_MEMORY, (int64_t)loop->memory_now - (int64_t)loop->memory_shown);
        loop->memory_shown = loop->memory_now;
    }
    capture_gauge(loop->shared->metrics, CAPTURE_METRIC_OVERLOAD, (int64_t)loop->level);
}

bool loop_turns(struct loop *loop)
{
    struct epoll_event events[LOOP_EVENTS_MAX];

    while (!loop->finished) {
        int count = loop_wait(loop, events);

        if (count < 0 && errno != EINTR) {
            struct err err = { 0 };

            err_errno(&err, errno, "epoll_wait");
            loop_fail(loop, &err);
            return true;
        }
        loop_turn(loop, events, count < 0 ? 0 : count);
        if (!loop_submit(loop))
            return false;
        if (loop->draining && !loop_flying(loop) &&
            (loop->conn_count == 0 || loop->mono_us >= loop->drain_until_us))
            loop->finished = true;
    }
    return true;
}

/* --- life -------------------------------------------------------------------------------------- */

static int loop_watch(struct loop *loop, int fd, uint32_t events, void *ptr, struct err *err)
{
    struct epoll_event event = { .events = events, .data.ptr = ptr };

    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        return err_errno(err, errno, "epoll_ctl");
    return 0;
}

static int lanes_init(struct loop *loop)
{
    int rc = 0;

    for (int i = 0; i < CAPTURE_LANES; i++) {
        struct lane *lane = &loop->lanes[i];

        *lane = (struct lane){ .loop = loop, .number = i };
        for (int k = 0; k < 2; k++) {
            lane->flights[k].lane = lane;
            lane->flights[k].batch = log_batch_new();
            atomic_init(&lane->flights[k].done, false);
            rc = lane->flights[k].batch == NULL ? -1 : rc;
        }
    }
    return rc;
}

int loop_init(struct loop *loop, struct capture_shared *shared, size_t number, struct err *err)
{
    *loop = (struct loop){ .shared = shared, .number = number, .epoll_fd = -1, .wake_fd = -1 };
    stand_by_init(&loop->stand_by);
    pace_init(&loop->pace, clock_mono_us());
    loop->memory_max = (size_t)(shared->settings->memory_max / shared->settings->threads);
    buf_init(&loop->out, LOOP_OUT_BYTES_MAX);
    buf_init(&loop->answer, LOOP_OUT_BYTES_MAX);
    buf_init(&loop->scrape.text, LOOP_OUT_BYTES_MAX / 2); /* with its head it must fit `out` */
    atomic_init(&loop->scrape.state, SCRAPE_IDLE);
    pressure_init(&loop->pressure, shared->settings->queue_wait_us);
    reply_ready_make(&loop->ready, &(struct reply){ .status = 200, .type = "application/json", .body = SPAN("{\"status\":\"Ok\"}") });
    conn_shed_make(loop);
    loop->intake = intake_new(shared->settings);
    loop->v1_intake = v1_intake_new(shared->settings);
    loop->replay_intake = replay_intake_new(shared->settings);
    loop->read_buf = malloc(LOOP_READ_BYTES);
    if (lanes_init(loop) < 0 || loop->intake == NULL || loop->v1_intake == NULL || loop->replay_intake == NULL || loop->read_buf == NULL) {
        err_set(err, ERR_FULL, "no memory for a loop");
        goto failed;
    }
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->epoll_fd < 0 || loop->wake_fd < 0) {
        err_errno(err, errno, "epoll, eventfd");
        goto failed;
    }
    if (loop_watch(loop, loop->wake_fd, EPOLLIN | EPOLLET, loop, err) < 0 ||
        loop_watch(loop, shared->stop_fd, EPOLLIN | EPOLLET, &loop->draining, err) < 0)
        goto failed;
    listener_init(loop);
    return 0;

failed:
    loop_fini(loop);
    return -1;
}

void loop_fini(struct loop *loop)
{
    for (int state = 0; state < CONN_STATE_COUNT; state++)
        while (loop->timers[state].first != NULL)
            conn_close(loop->timers[state].first);
    loop_free_retired(loop);
    tls_drop(&loop->tls);
    while (loop->conn_pool != NULL) {
        struct conn *conn = loop->conn_pool;

        loop->conn_pool = conn->timer_next;
        free(conn);
    }
    for (int class = 0; class < LOOP_BUF_CLASSES; class++)
        while (loop->buf_pool[class] != NULL) {
            void *buf = loop->buf_pool[class];

            memcpy(&loop->buf_pool[class], buf, sizeof(void *));
            free(buf);
        }
    for (int i = 0; i < CAPTURE_LANES; i++)
        for (int k = 0; k < 2; k++)
            log_batch_free(loop->lanes[i].flights[k].batch);
    intake_free(loop->intake);
    v1_intake_free(loop->v1_intake);
    replay_intake_free(loop->replay_intake);
    segment_intake_free(loop->segment_intake);
    buf_fini(&loop->out);
    buf_fini(&loop->answer);
    buf_fini(&loop->scrape.text);
    stand_by_fini(&loop->stand_by);
    free(loop->read_buf);
    free(loop->look.buf);
    if (loop->wake_fd >= 0)
        (void)close(loop->wake_fd);
    if (loop->epoll_fd >= 0)
        (void)close(loop->epoll_fd);
}
