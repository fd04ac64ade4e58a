/* log/kafka_scout.c - see kafka_scout.h. The search has a client of its own, which lives as long as it: that of the line may be
 * thrown away at any moment. */
#include "log/kafka_scout.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/say.h"
#include "base/wait.h"
#include "log/kafka_client.h"
#include "log/kafka_log.h"

enum { SCOUT_TOPICS_MAX = 1 + KAFKA_OTHERS_MAX };
enum { SCOUT_LOOK_US = 3000000, SCOUT_PAUSE_US = 200000, SCOUT_MENDED_US = 2000000, SCOUT_TELL_US = 30000000 };

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
    bool                            stopping, unfit; /* unfit: says the last look */
    enum { SCOUT_HOME, SCOUT_OUT, SCOUT_BACK } state;
    struct err                      err; /* of the last look */
};

static void scout_told(void *ctx, const char *text)
{
    (void)ctx;
    say(SAY_WARN, "%s", text);
}

/* What keeps us from the brokers and topics, when it is another thing than before, and now and then. */
static void scout_tell(struct kafka_scout *scout, const struct kafka_topic_found *found, const struct err *err, struct err *told, int64_t *told_us)
{
    const struct log_kafka_options *options = scout->options;
    int64_t                         now_us = clock_mono_us();

    if (strcmp(err->text, told->text) == 0 && now_us - *told_us < SCOUT_TELL_US)
        return;
    *told = *err;
    *told_us = now_us;
    say(err->kind == ERR_INPUT ? SAY_ERROR : SAY_WARN, "%s", err->text);
    for (size_t i = 0; i < scout->count; i++) {
        char command[KAFKA_TOPIC_COMMAND_BYTES];

        if (!found[i].missing)
            continue;
        kafka_topic_command(&scout->wishes[i], options->brokers, command);
        say(SAY_ERROR, "kafka: topic %s is not there: what is accepted %s until somebody makes it: %s", scout->wishes[i].name,
            options->spool_folder != NULL ? "waits on this machine's disk" : "there is refused", command);
    }
}

static void scout_tell_made(struct kafka_scout *scout, const struct kafka_topic_found *found, bool first)
{
    for (size_t i = 0; i < scout->count; i++)
        if (found[i].made)
            say(first ? SAY_INFO : SAY_WARN, "kafka: topic %s was not there, and is made", scout->wishes[i].name);
}

static int scout_look(struct kafka_scout *scout, rd_kafka_t **client, bool settings, struct kafka_topic_found *found, struct err *err)
{
    rd_kafka_conf_t *conf = NULL;

    memset(found, 0, scout->count * sizeof *found);
    if (*client == NULL &&
        (kafka_client_conf(scout->options->brokers, scout->options->client_properties, KAFKA_CLIENT_PRODUCER, &conf, err) < 0 ||
         kafka_client_new(KAFKA_CLIENT_PRODUCER, conf, client, err) < 0))
        return -1;
    return kafka_topics_ensure(*client, scout->options->brokers, scout->wishes, scout->count, SCOUT_LOOK_US, settings ? scout_told : NULL, NULL,
                               found, err);
}

static bool any_missing(const struct kafka_scout *scout, const struct kafka_topic_found *found)
{
    for (size_t i = 0; i < scout->count; i++)
        if (found[i].missing)
            return true;
    return false;
}

/* Until all is well, or it is told to stop (false). Settings are looked at in the first search, and of what somebody else made. Under the
 * lock but for the looking. */
static bool scout_search(struct kafka_scout *scout, bool first)
{
    rd_kafka_t              *client = NULL;
    struct kafka_topic_found found[SCOUT_TOPICS_MAX];
    struct err               told = { 0 };
    int64_t                  told_us = 0;
    bool                     well = false, settings = first;

    while (!scout->stopping && !well) {
        struct err err = { 0 };

        pthread_mutex_unlock(&scout->lock);
        well = scout_look(scout, &client, settings, found, &err) == 0;
        if (well)
            scout_tell_made(scout, found, first);
        else
            scout_tell(scout, found, &err, &told, &told_us);
        pthread_mutex_lock(&scout->lock);
        if (well)
            break;
        settings = settings || any_missing(scout, found);
        scout->unfit = err.kind == ERR_INPUT;
        scout->err = err;
        pthread_cond_broadcast(&scout->found);
        if (!scout->stopping)
            (void)wait_until(&scout->wake, &scout->lock, clock_mono_us() +
                            (any_missing(scout, found) || scout->unfit ? SCOUT_MENDED_US : SCOUT_PAUSE_US));
    }
    if (client != NULL) {
        pthread_mutex_unlock(&scout->lock);
        rd_kafka_destroy(client);
        pthread_mutex_lock(&scout->lock);
    }
    return well;
}

static void *scout_main(void *arg)
{
    struct kafka_scout *scout = arg;
    bool                first = true;

    pthread_mutex_lock(&scout->lock);
    while (!scout->stopping) {
        if (scout->state != SCOUT_OUT) {
            pthread_cond_wait(&scout->wake, &scout->lock);
            continue;
        }
        if (!scout_search(scout, first))
            break;
        first = false;
        scout->unfit = false;
        scout->state = SCOUT_BACK;
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
    wait_cond_init(&scout->wake);
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
    while (scout->state == SCOUT_OUT && !scout->unfit && wait_until(&scout->found, &scout->lock, until_us))
        ;
    if (scout->unfit) {
        *err = scout->err;
        rc = -1;
    }
    pthread_mutex_unlock(&scout->lock);
    return rc;
}
