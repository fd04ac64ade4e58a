/* log/kafka_scout.c - see kafka_scout.h. The search has a client of its own, which lives as long as it: that of the line may be
 * thrown away at any moment. */
#include "log/kafka_scout.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/say.h"
#include "base/wait.h"
#include "log/kafka_client.h"
#include "log/kafka_log.h"

enum { SCOUT_TOPICS_MAX = 1 + KAFKA_OTHERS_MAX };
enum { SCOUT_LOOK_US = 3000000, SCOUT_PAUSE_MS = 200, SCOUT_TELL_US = 30000000 };

struct kafka_scout {
    const struct log_kafka_options *options; /* fixed after start */
    struct kafka_topic_wish         wishes[SCOUT_TOPICS_MAX];
    size_t                          count;
    char                            names[KAFKA_OTHERS_MAX][KAFKA_TOPIC_NAME_BYTES_MAX + 1];
    void                          (*back)(void *ctx);
    void                           *ctx;
    pthread_t                       thread;
    pthread_mutex_t                 lock;
    pthread_cond_t                  wake, found;
    /* @lock lock */
    bool                            stopping;
    enum { SCOUT_HOME, SCOUT_OUT, SCOUT_BACK, SCOUT_UNFIT } state;
    struct err                      err;
};

static void scout_told(void *ctx, const char *text)
{
    (void)ctx;
    say(SAY_WARN, "%s", text);
}

static bool scout_stopping(struct kafka_scout *scout)
{
    bool stopping;

    pthread_mutex_lock(&scout->lock);
    stopping = scout->stopping;
    pthread_mutex_unlock(&scout->lock);
    return stopping;
}

/* What keeps us from the brokers, when it is another thing than before, and now and then. */
static void scout_tell(const struct err *err, struct err *told, int64_t *told_us)
{
    int64_t now_us = clock_mono_us();

    if (strcmp(err->text, told->text) == 0 && now_us - *told_us < SCOUT_TELL_US)
        return;
    *told = *err;
    *told_us = now_us;
    say(SAY_WARN, "%s", err->text);
}

static int scout_search(struct kafka_scout *scout, struct err *err)
{
    const struct timespec    pause = { .tv_nsec = SCOUT_PAUSE_MS * 1000000L };
    rd_kafka_conf_t         *conf = NULL;
    rd_kafka_t              *client = NULL;
    struct kafka_topic_found found[SCOUT_TOPICS_MAX];
    struct err               told = { 0 };
    int64_t                  told_us = 0;
    int                      rc = -1;

    if (kafka_client_conf(scout->options->brokers, scout->options->client_properties, KAFKA_CLIENT_PRODUCER, &conf, err) < 0 ||
        kafka_client_new(KAFKA_CLIENT_PRODUCER, conf, &client, err) < 0)
        return -1;
    while (!scout_stopping(scout)) {
        rc = kafka_topics_ensure(client, scout->options->brokers, scout->wishes, scout->count, SCOUT_LOOK_US, scout_told, NULL, found,
                                 err);
        if (rc == 0 || err->kind == ERR_INPUT)
            break;
        scout_tell(err, &told, &told_us);
        nanosleep(&pause, NULL);
    }
    rd_kafka_destroy(client);
    return rc;
}

static void *scout_main(void *arg)
{
    struct kafka_scout *scout = arg;

    pthread_mutex_lock(&scout->lock);
    while (!scout->stopping) {
        struct err err = { 0 };
        int        rc;

        if (scout->state != SCOUT_OUT) {
            pthread_cond_wait(&scout->wake, &scout->lock);
            continue;
        }
        pthread_mutex_unlock(&scout->lock);
        rc = scout_search(scout, &err);
        pthread_mutex_lock(&scout->lock);
        if (rc < 0 && err.kind != ERR_INPUT)
            continue; /* it is stopping */
        scout->state = rc == 0 ? SCOUT_BACK : SCOUT_UNFIT;
        scout->err = err;
        if (rc < 0)
            say(SAY_ERROR, "%s", err.text);
        pthread_cond_broadcast(&scout->found);
        pthread_mutex_unlock(&scout->lock);
        scout->back(scout->ctx);
        pthread_mutex_lock(&scout->lock);
    }
    pthread_mutex_unlock(&scout->lock);
    return NULL;
}

/* Their partitions and settings are their readers' affair. */
static int scout_wish_others(struct kafka_scout *scout, const char *const *others, struct err *err)
{
    for (size_t i = 0; others != NULL && others[i] != NULL; i++) {
        if (i == KAFKA_OTHERS_MAX || kafka_topic_prefixed(scout->options->topic_prefix, others[i], scout->names[i]) > KAFKA_TOPIC_NAME_BYTES_MAX)
            return err_set(err, ERR_INPUT, "%s: messages for the topic %.100s, too", scout->wishes[0].name, others[i]);
        scout->wishes[scout->count++] = (struct kafka_topic_wish){ .name = scout->names[i],
                                                                   .partitions = scout->wishes[0].partitions,
                                                                   .partitions_any = true,
                                                                   .replication = scout->wishes[0].replication,
                                                                   .insync_min = scout->wishes[0].insync_min };
    }
    return 0;
}

int scout_start(const struct log_kafka_options *options, const struct kafka_topic_wish *wish, const char *const *others,
                void (*back)(void *ctx), void *ctx, struct kafka_scout **out, struct err *err)
{
    struct kafka_scout *scout = calloc(1, sizeof *scout);
    int                 rc;

    if (scout == NULL)
        return err_set(err, ERR_FULL, "no memory to look for brokers");
    scout->options = options;
    scout->wishes[0] = *wish;
    scout->count = 1;
    if (scout_wish_others(scout, others, err) < 0) {
        free(scout);
        return -1;
    }
    scout->back = back;
    scout->ctx = ctx;
    pthread_mutex_init(&scout->lock, NULL);
    pthread_cond_init(&scout->wake, NULL);
    wait_cond_init(&scout->found);
    rc = pthread_create(&scout->thread, NULL, scout_main, scout);
    if (rc != 0) {
        pthread_mutex_destroy(&scout->lock);
        pthread_cond_destroy(&scout->wake);
        pthread_cond_destroy(&scout->found);
        free(scout);
        return err_errno(err, rc, "start the thread that looks for brokers");
    }
    *out = scout;
    return 0;
}

void scout_stop(struct kafka_scout *scout)
{
    if (scout == NULL)
        return;
    pthread_mutex_lock(&scout->lock);
    scout->stopping = true;
    pthread_cond_broadcast(&scout->wake);
    pthread_mutex_unlock(&scout->lock);
    pthread_join(scout->thread, NULL);
    pthread_mutex_destroy(&scout->lock);
    pthread_cond_destroy(&scout->wake);
    pthread_cond_destroy(&scout->found);
    free(scout);
}

void scout_send(struct kafka_scout *scout)
{
    pthread_mutex_lock(&scout->lock);
    if (scout->state == SCOUT_HOME) {
        scout->state = SCOUT_OUT;
        pthread_cond_broadcast(&scout->wake);
    }
    pthread_mutex_unlock(&scout->lock);
}

bool scout_take(struct kafka_scout *scout)
{
    bool found;

    pthread_mutex_lock(&scout->lock);
    found = scout->state == SCOUT_BACK;
    if (found)
        scout->state = SCOUT_HOME;
    pthread_mutex_unlock(&scout->lock);
    return found;
}

int scout_wait(struct kafka_scout *scout, int64_t wait_us, struct err *err)
{
    int64_t until_us = clock_mono_us() + wait_us;
    int     rc = 0;

    pthread_mutex_lock(&scout->lock);
    while (scout->state == SCOUT_OUT && wait_until(&scout->found, &scout->lock, until_us))
        ;
    if (scout->state == SCOUT_UNFIT) {
        *err = scout->err;
        rc = -1;
    }
    pthread_mutex_unlock(&scout->lock);
    return rc;
}
