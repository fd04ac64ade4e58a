/* capture/tls.c - contexts of OpenSSL, made of checked pairs and replaced whole.
 *
 * Why one context a certificate: a client's name chooses among whole chains, and OpenSSL keeps one chain of a kind in a
 * context. The first context holds all of them and goes last (its extra data), so that a count of references which
 * OpenSSL keeps anyway says how long they are needed.
 * Why no renegotiation, no compression, no cache of sessions: the first two were holes, the third is memory for
 * strangers; tickets do the same with memory of the client's. Why no early data: it can be sent twice. */
#include "capture/tls.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/rand.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/say.h"
#include "wire/time.h"

enum { TLS_TICKET_KEYS_BYTES = 80, TLS_FIRST_WAIT_MS = 5000, TLS_FILES_MAX = 2 * TLS_PAIRS_MAX };

static const char tls_ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20"; /* of TLS 1.2; those of 1.3 are all fine */
static const char tls_groups[] = "X25519:P-256:P-384";

struct tls {
    int                     fd;      /* to the supervisor; -1: it has gone. @thread watcher */
    int                     stop_fd; /* fixed after start, as all below without a word */
    pthread_t               thread;
    bool                    started;
    struct capture_metrics *metrics;

    /* @thread watcher */
    struct tls_pair pairs[TLS_PAIRS_MAX];
    size_t          count;
    uint8_t         ticket_keys[TLS_TICKET_KEYS_BYTES];
    int64_t         ticket_keys_us; /* when they were made */

    pthread_mutex_t lock;
    SSL_CTX        *current;    /* @lock */
    atomic_uint     generation; /* changed after current, under the lock */
};

/* --- contexts ----------------------------------------------------------------------------------- */

struct tls_choice {
    size_t          count;
    SSL_CTX        *contexts[TLS_PAIRS_MAX]; /* the first one is NULL: it is the one that owns this */
    struct tls_pair pairs[TLS_PAIRS_MAX];
};

static void choice_free(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
    struct tls_choice *choice = ptr;

    (void)parent, (void)data, (void)index, (void)argl, (void)argp;
    if (choice == NULL)
        return;
    for (size_t i = 0; i < choice->count; i++) {
        SSL_CTX_free(choice->contexts[i]);
        tls_pair_fini(&choice->pairs[i]);
    }
    free(choice);
}

static int            choice_slot;
static pthread_once_t choice_once = PTHREAD_ONCE_INIT;

static void choice_slot_make(void)
{
    choice_slot = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, choice_free);
}

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    const struct tls_choice *choice = arg;
    const char              *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)alert;
    if (name == NULL || choice->count < 2 || tls_pair_is_for(&choice->pairs[0], name))
        return SSL_TLSEXT_ERR_OK;
    for (size_t i = 1; i < choice->count; i++)
        if (tls_pair_is_for(&choice->pairs[i], name)) {
            (void)SSL_set_SSL_CTX(ssl, choice->contexts[i]);
            break;
        }
    return SSL_TLSEXT_ERR_OK;
}

/* HTTP/1.1 is what is spoken here. Who offers other protocols only is told so now, and not by an answer it cannot read. */
static int on_protocols(SSL *ssl, const unsigned char **out, unsigned char *out_bytes, const unsigned char *offered,
                        unsigned offered_bytes, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1\x08http/1.0";

    (void)ssl, (void)arg;
    if (SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_bytes, ours, sizeof ours - 1, offered, offered_bytes) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    return SSL_TLSEXT_ERR_OK;
}

/* A context with one pair, and everything that is the same for all. */
static SSL_CTX *context_of(const struct tls_pair *pair, struct err *err)
{
    static const unsigned char name[] = "penstock";
    SSL_CTX                   *ctx = SSL_CTX_new(TLS_server_method());

    if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(ctx, tls_ciphers) != 1 || SSL_CTX_set1_groups_list(ctx, tls_groups) != 1 ||
        SSL_CTX_use_certificate(ctx, pair->leaf) != 1 ||
        (pair->chain != NULL && SSL_CTX_set1_chain(ctx, pair->chain) != 1) ||
        SSL_CTX_use_PrivateKey(ctx, pair->key) != 1 ||
        SSL_CTX_set_session_id_context(ctx, name, sizeof name - 1) != 1 || SSL_CTX_set_num_tickets(ctx, 1) != 1) {
        (void)tls_error(err, ERR_STOP, "TLS");
        SSL_CTX_free(ctx);
        return NULL;
    }
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                       SSL_OP_PRIORITIZE_CHACHA);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_timeout(ctx, TLS_TICKET_KEYS_US / 1000000);
    (void)SSL_CTX_set_max_early_data(ctx, 0);
    SSL_CTX_set_read_ahead(ctx, 1); /* a record's head and body in one read */
    SSL_CTX_set_alpn_select_cb(ctx, on_protocols, NULL);
    return ctx;
}

SSL_CTX *tls_context_new(const struct tls_pair *pairs, size_t count, struct span ticket_keys, struct err *err)
{
    struct tls_choice *choice = calloc(1, sizeof *choice);
    SSL_CTX           *ctx = choice != NULL ? context_of(&pairs[0], err) : NULL;

    assert(count > 0 && count <= TLS_PAIRS_MAX);
    (void)pthread_once(&choice_once, choice_slot_make);
    if (choice == NULL)
        (void)err_set(err, ERR_FULL, "no memory for TLS");
    if (ctx == NULL || SSL_CTX_set_ex_data(ctx, choice_slot, choice) != 1) {
        SSL_CTX_free(ctx);
        free(choice);
        return NULL;
    }
    for (; choice->count < count; choice->count++) {
        size_t i = choice->count;

        if (i > 0 && (choice->contexts[i] = context_of(&pairs[i], err)) == NULL) {
            SSL_CTX_free(ctx); /* and with it choice */
            return NULL;
        }
        choice->pairs[i] = tls_pair_ref(&pairs[i]);
    }
    (void)SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
    (void)SSL_CTX_set_tlsext_servername_arg(ctx, choice);
    if (ticket_keys.at != NULL)
        (void)SSL_CTX_set_tlsext_ticket_keys(ctx, (void *)(uintptr_t)ticket_keys.at, (long)ticket_keys.bytes);
    return ctx;
}

/* --- what is in force --------------------------------------------------------------------------- */

SSL_CTX *tls_current(struct tls *tls, struct tls_held *held)
{
    if (atomic_load_explicit(&tls->generation, memory_order_acquire) == held->generation)
        return held->context;
    tls_drop(held);
    pthread_mutex_lock(&tls->lock);
    held->generation = atomic_load_explicit(&tls->generation, memory_order_relaxed);
    held->context = tls->current;
    if (held->context != NULL)
        SSL_CTX_up_ref(held->context);
    pthread_mutex_unlock(&tls->lock);
    return held->context;
}

void tls_drop(struct tls_held *held)
{
    SSL_CTX_free(held->context);
    *held = (struct tls_held){ .context = NULL };
}

static int ticket_keys_make(struct tls *tls, struct err *err)
{
    if (RAND_bytes(tls->ticket_keys, sizeof tls->ticket_keys) != 1)
        return tls_error(err, ERR_RETRY, "no random bytes for the keys of tickets");
    tls->ticket_keys_us = clock_mono_us();
    return 0;
}

/* From now on new connections get tls->pairs. */
static int publish(struct tls *tls, const struct tls_pair *pairs, size_t count, struct err *err)
{
    SSL_CTX *fresh, *old;

    if (clock_mono_us() - tls->ticket_keys_us >= TLS_TICKET_KEYS_US && ticket_keys_make(tls, err) < 0)
        return -1;
    fresh = tls_context_new(pairs, count, span_of(tls->ticket_keys, sizeof tls->ticket_keys), err);
    if (fresh == NULL)
        return -1;
    pthread_mutex_lock(&tls->lock);
    old = tls->current;
    tls->current = fresh;
    (void)atomic_fetch_add_explicit(&tls->generation, 1, memory_order_release);
    pthread_mutex_unlock(&tls->lock);
    SSL_CTX_free(old);
    return 0;
}

/* --- messages ----------------------------------------------------------------------------------- */

struct message {
    char   names[TLS_MESSAGE_BYTES_MAX];
    size_t bytes;
    int    fds[TLS_FILES_MAX];
    size_t fd_count;
};

static void message_drop(struct message *message)
{
    for (size_t i = 0; i < message->fd_count; i++)
        (void)close(message->fds[i]);
    message->fd_count = 0;
}

/* False: none came (the supervisor has gone, or it was no message). */
static bool message_take(int fd, struct message *message)
{
    union { struct cmsghdr head; char room[CMSG_SPACE(TLS_FILES_MAX * sizeof(int))]; } control;
    struct iovec    part = { message->names, sizeof message->names };
    struct msghdr   take = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control };
    struct cmsghdr *head;
    ssize_t         got;

    message->fd_count = 0;
    do
        got = recvmsg(fd, &take, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return false;
    message->bytes = (size_t)got;
    for (head = CMSG_FIRSTHDR(&take); head != NULL; head = CMSG_NXTHDR(&take, head))
        if (head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS) {
            message->fd_count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(message->fds, CMSG_DATA(head), message->fd_count * sizeof(int));
        }
    return true;
}

/* The n-th name; "?" when there are fewer. */
static const char *message_name(const struct message *message, size_t n)
{
    const char *at = message->names, *end = message->names + message->bytes;

    while (at < end && memchr(at, 0, (size_t)(end - at)) != NULL) {
        if (n-- == 0)
            return at;
        at += strlen(at) + 1;
    }
    return "?";
}

static void pair_tell(const struct tls_pair *pair, const char *name)
{
    int64_t    now_us = clock_wall_us();
    char       text[40];
    struct buf when;

    buf_init_over(&when, text, sizeof text - 1);
    time_write_rfc3339(&when, pair->expires_us);
    text[when.bytes] = '\0';
    if (pair->expires_us <= now_us)
        say(SAY_WARN, "TLS: the certificate %s (%s) has expired at %s; clients will refuse it", name, pair->names, text);
    else
        say(SAY_INFO, "TLS: certificate %s (%s) is in force, until %s", name, pair->names, text);
}

static void pairs_free(struct tls_pair *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        tls_pair_fini(&pairs[i]);
}

static int message_use(struct tls *tls, const struct message *message, struct err *err)
{
    struct tls_pair fresh[TLS_PAIRS_MAX];
    size_t          count = message->fd_count / 2, read = 0;
    int64_t         expires_us = INT64_MAX;

    if (count == 0 || message->fd_count % 2 != 0)
        return err_set(err, ERR_INPUT, "%zu files came: not a certificate and a key each", message->fd_count);
    for (; read < count; read++) {
        struct tls_source source = { .certificate_fd = message->fds[2 * read],
                                     .key_fd = message->fds[2 * read + 1],
                                     .certificate_name = message_name(message, 2 * read),
                                     .key_name = message_name(message, 2 * read + 1) };

        if (tls_pair_read(&source, &fresh[read], err) < 0)
            goto failed;
        if (fresh[read].expires_us < expires_us)
            expires_us = fresh[read].expires_us;
    }
    if (publish(tls, fresh, count, err) < 0)
        goto failed;
    pairs_free(tls->pairs, tls->count);
    memcpy(tls->pairs, fresh, count * sizeof *fresh);
    tls->count = count;
    capture_gauge(tls->metrics, CAPTURE_METRIC_TLS_EXPIRES, expires_us / 1000000);
    for (size_t i = 0; i < count; i++)
        pair_tell(&tls->pairs[i], message_name(message, 2 * i));
    return 0;
failed:
    pairs_free(fresh, read);
    return -1;
}

static void message_handle(struct tls *tls, const struct message *message)
{
    struct err err = { .kind = ERR_NONE };

    if (message_use(tls, message, &err) == 0) {
        capture_count(tls->metrics, CAPTURE_METRIC_TLS_RELOADS, 1);
        return;
    }
    capture_count(tls->metrics, CAPTURE_METRIC_TLS_RELOADS_FAILED, 1);
    say(SAY_ERROR, tls->count > 0 ? "TLS: the certificate that was in force stays: %s"
                                  : "TLS: no certificate is in force, and TLS connections are closed: %s", err.text);
}

/* --- the watcher -------------------------------------------------------------------------------- */

/* One message, when one is there. */
static void watcher_take(struct tls *tls)
{
    struct message *message = malloc(sizeof *message);

    if (message == NULL) {
        say(SAY_ERROR, "TLS: no memory to read a certificate; the next change is tried again");
        return;
    }
    if (message_take(tls->fd, message))
        message_handle(tls, message);
    else
        tls->fd = -1;
    message_drop(message);
    OPENSSL_cleanse(message, sizeof *message);
    free(message);
}

static void ticket_keys_renew(struct tls *tls)
{
    struct err err = { .kind = ERR_NONE };

    if (tls->count > 0 && publish(tls, tls->pairs, tls->count, &err) < 0)
        say(SAY_ERROR, "TLS: %s", err.text);
}

static void *watcher_main(void *arg)
{
    struct tls *tls = arg;

    for (;;) {
        struct pollfd wait[] = { { .fd = tls->stop_fd, .events = POLLIN }, { .fd = tls->fd, .events = POLLIN } };
        int64_t       left_us = tls->ticket_keys_us + TLS_TICKET_KEYS_US - clock_mono_us();
        int           count = poll(wait, 2, left_us > 0 ? (int)(left_us / 1000) + 1 : 1000);

        if (wait[0].revents != 0)
            return NULL;
        if (count > 0 && wait[1].revents != 0)
            watcher_take(tls);
        if (clock_mono_us() - tls->ticket_keys_us >= TLS_TICKET_KEYS_US)
            ticket_keys_renew(tls);
    }
}

/* --- life --------------------------------------------------------------------------------------- */

int tls_open(int fd, struct capture_metrics *metrics, struct tls **out, struct err *err)
{
    struct tls   *tls = calloc(1, sizeof *tls);
    struct pollfd first = { .fd = fd, .events = POLLIN };

    if (tls == NULL)
        return err_set(err, ERR_FULL, "no memory for TLS");
    tls->fd = fd;
    tls->metrics = metrics;
    atomic_init(&tls->generation, 1); /* what a loop holds at first is older */
    pthread_mutex_init(&tls->lock, NULL);
    tls->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (tls->stop_fd < 0) {
        (void)err_errno(err, errno, "eventfd");
        goto failed;
    }
    if (ticket_keys_make(tls, err) < 0)
        goto failed;
    if (poll(&first, 1, TLS_FIRST_WAIT_MS) == 1)
        watcher_take(tls);
    else
        say(SAY_ERROR, "TLS: no certificate came from the supervisor; TLS connections are closed");
    *out = tls;
    return 0;
failed:
    tls_close(tls);
    return -1;
}

int tls_start(struct tls *tls, struct err *err)
{
    if (tls == NULL)
        return 0;
    if (pthread_create(&tls->thread, NULL, watcher_main, tls) != 0)
        return err_set(err, ERR_FULL, "no thread for TLS");
    tls->started = true;
    return 0;
}

void tls_close(struct tls *tls)
{
    uint64_t one = 1;

    if (tls == NULL)
        return;
    if (tls->started) {
        (void)!write(tls->stop_fd, &one, sizeof one);
        pthread_join(tls->thread, NULL);
    }
    if (tls->stop_fd >= 0)
        (void)close(tls->stop_fd);
    SSL_CTX_free(tls->current);
    pairs_free(tls->pairs, tls->count);
    pthread_mutex_destroy(&tls->lock);
    OPENSSL_cleanse(tls->ticket_keys, sizeof tls->ticket_keys);
    free(tls);
}
