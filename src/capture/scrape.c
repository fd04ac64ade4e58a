/* capture/scrape.c - the thread sleeps unless somebody asks: nothing is rendered that nobody reads. */
#include "capture/scrape.h"

#include <pthread.h>
#include <stdlib.h>

#include "capture/loop.h"

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

    pthread_mutex_lock(&scrape->lock);
    while (!scrape->stop) {
        if (!scrape->asked) {
            pthread_cond_wait(&scrape->wake, &scrape->lock);
            continue;
        }
        scrape->asked = false;
        pthread_mutex_unlock(&scrape->lock);
        scrape_round(scrape);
        pthread_mutex_lock(&scrape->lock);
    }
    pthread_mutex_unlock(&scrape->lock);
    return NULL;
}

int scrape_start(struct capture_shared *shared, struct scrape **out, struct err *err)
{
    struct scrape *scrape = calloc(1, sizeof *scrape);

    if (scrape == NULL)
        return err_set(err, ERR_FULL, "capture: no memory for metrics");
    scrape->shared = shared;
    pthread_mutex_init(&scrape->lock, NULL);
    pthread_cond_init(&scrape->wake, NULL);
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

void scrape_step(struct loop *loop)
{
    struct scrape_place *place = &loop->scrape;
    struct scrape       *scrape = loop->shared->scrape;
    struct conn         *conn;

    if (loop->scrape_asked.first == NULL && loop->scrape_rendered.first == NULL)
        return;
    if (atomic_load_explicit(&place->state, memory_order_acquire) == SCRAPE_DONE) {
        atomic_store_explicit(&place->state, SCRAPE_IDLE, memory_order_relaxed);
        while ((conn = loop->scrape_rendered.first) != NULL) {
            flight_remove(conn);
            conn_on_metrics(conn, place->ok ? buf_span(&place->text) : (struct span){ 0 });
        }
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
