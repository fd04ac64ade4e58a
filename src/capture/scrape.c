/* capture/scrape.c - the thread sleeps unless somebody asks: nothing is rendered that nobody reads. Whoever asks often may
 * be ten thousand strangers: so they get a share of a core, and of a loop's turn, and events the rest. */
#include "capture/scrape.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/wait.h"
#include "capture/loop.h"

enum {
    SCRAPE_REST = 4,           /* times as long as a text took is rested before the next: a fifth of a core */
    SCRAPE_REST_US_MAX = 250000,
    SCRAPE_TURN_US = 1000      /* of a turn, for answers of some 40 KB each, 20 us of copying */
};

struct scrape {
    struct capture_shared *shared;
    pthread_t              thread;
    pthread_mutex_t        lock;
    pthread_cond_t         wake;
    bool                   asked, stop; /* @lock lock */
};

/* Renders for every loop that asks. */
static void scrape_round(struct scrape *scrape)
{
    struct capture_shared *shared = scrape->shared;

    for (int64_t i = 0; i < shared->settings->threads; i++) {
        struct loop         *loop = &shared->loops[i];
        struct scrape_place *place = &loop->scrape;
        struct err           err = { 0 };

        if (atomic_load_explicit(&place->state, memory_order_acquire) != SCRAPE_ASKED)
            continue;
        buf_reset(&place->text);
        place->ok = metric_render_at(shared->run_fd, &place->text, &err) == 0 && !place->text.failed;
        atomic_store_explicit(&place->state, SCRAPE_DONE, memory_order_release);
        loop_wake(loop);
    }
}

static void *scrape_main(void *arg)
{
    struct scrape *scrape = arg;
    int64_t        rest_until_us = 0;

    pthread_mutex_lock(&scrape->lock);
    while (!scrape->stop) {
        int64_t from_us = clock_mono_us(), took_us;

        if (!scrape->asked) {
            pthread_cond_wait(&scrape->wake, &scrape->lock);
            continue;
        }
        if (from_us < rest_until_us) {
            (void)wait_until(&scrape->wake, &scrape->lock, rest_until_us);
            continue;
        }
        scrape->asked = false;
        pthread_mutex_unlock(&scrape->lock);
        scrape_round(scrape);
        took_us = clock_mono_us() - from_us;
        rest_until_us = from_us + took_us + (took_us * SCRAPE_REST < SCRAPE_REST_US_MAX ? took_us * SCRAPE_REST : SCRAPE_REST_US_MAX);
        pthread_mutex_lock(&scrape->lock);
    }
    pthread_mutex_unlock(&scrape->lock);
    return NULL;
}

int scrape_start(struct capture_shared *shared, struct scrape **out, struct err *err)
{
    struct scrape     *scrape = calloc(1, sizeof *scrape);

    if (scrape == NULL)
        return err_set(err, ERR_FULL, "capture: no memory for metrics");
    scrape->shared = shared;
    pthread_mutex_init(&scrape->lock, NULL);
    wait_cond_init(&scrape->wake);
    if (pthread_create(&scrape->thread, NULL, scrape_main, scrape) != 0) {
        free(scrape);
        return err_set(err, ERR_FULL, "capture: no thread for metrics");
    }
    *out = scrape;
    return 0;
}

void scrape_stop(struct scrape *scrape)
{
    if (scrape == NULL)
        return;
    pthread_mutex_lock(&scrape->lock);
    scrape->stop = true;
    pthread_cond_signal(&scrape->wake);
    pthread_mutex_unlock(&scrape->lock);
    pthread_join(scrape->thread, NULL);
    pthread_cond_destroy(&scrape->wake);
    pthread_mutex_destroy(&scrape->lock);
    free(scrape);
}

/* --- the loop's side --------------------------------------------------------------------------- */

static void scrape_move(struct flight *from, struct flight *to)
{
    struct conn *conn;

    while ((conn = from->first) != NULL) {
        flight_remove(conn);
        flight_add(to, conn);
    }
}

void scrape_ask(struct loop *loop, struct conn *conn)
{
    conn->accepted = 0;
    conn_set_state(conn, CONN_WAIT);
    flight_add(&loop->scrape_asked, conn);
}

bool scrape_rendered(const struct loop *loop)
{
    return atomic_load_explicit(&loop->scrape.state, memory_order_acquire) == SCRAPE_DONE;
}

static void scrape_answer(struct loop *loop)
{
    const struct scrape_place *place = &loop->scrape;
    int64_t                    until_us = clock_mono_us() + SCRAPE_TURN_US;

    while (loop->scrape_rendered.first != NULL) {
        struct conn *conn = loop->scrape_rendered.first;

        flight_remove(conn);
        conn_on_metrics(conn, place->ok ? buf_span(&place->text) : (struct span){ 0 });
        if (clock_mono_us() >= until_us)
            return;
    }
}

void scrape_step(struct loop *loop)
{
    struct scrape_place *place = &loop->scrape;
    struct scrape       *scrape = loop->shared->scrape;

    if (loop->scrape_asked.first == NULL && loop->scrape_rendered.first == NULL && !scrape_rendered(loop))
        return;
    if (scrape_rendered(loop)) {
        scrape_answer(loop);
        if (loop->scrape_rendered.first == NULL)
            atomic_store_explicit(&place->state, SCRAPE_IDLE, memory_order_relaxed);
    }
    if (loop->scrape_asked.first == NULL || atomic_load_explicit(&place->state, memory_order_relaxed) != SCRAPE_IDLE)
        return;
    scrape_move(&loop->scrape_asked, &loop->scrape_rendered);
    atomic_store_explicit(&place->state, SCRAPE_ASKED, memory_order_release);
    pthread_mutex_lock(&scrape->lock); /* held by the thread for no longer than this */
    scrape->asked = true;
    pthread_cond_signal(&scrape->wake);
    pthread_mutex_unlock(&scrape->lock);
}
