/* command/dlq_replay.c - penstock dlq replay: letters go through the front door again.
 *
 * Why one event a request: capture then answers for exactly this letter. What it refuses is not lost in a
 * batch, and stays an open letter. Why the letter is marked after the answer and not before: killed between the
 * two, the letter is replayed once more, and the uuid makes both one event; the other way round it would be lost. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "command/command.h"
#include "command/letter_event.h"
#include "command/post.h"

enum { REPLAY_BYTES_MAX = 64 << 20, REPLAY_RATE = 100, REPLAY_RATE_MAX = 100000 };

struct replay {
    struct catalog *catalog;
    struct post    *post;
    const char     *token;   /* --token; NULL: the letter's own */
    unsigned long long rate; /* events a second */
    int64_t         next_us; /* not before (monotonic) */
    struct buf      body, answer;
    uint64_t        sent, refused;
};

static int letter_token(const struct replay *replay, const struct letter *letter, struct buf *out, struct err *err)
{
    struct catalog_snapshot    *snapshot;
    const struct catalog_token *tokens;
    size_t                      count;

    if (replay->token != NULL || letter->token.bytes > 0) {
        buf_add(out, replay->token != NULL ? span_text(replay->token) : letter->token);
        return 0;
    }
    if (catalog_snapshot_load(replay->catalog, &snapshot, err) < 0) /* a stored row names the project only */
        return -1;
    count = catalog_snapshot_tokens(snapshot, &tokens);
    for (size_t i = 0; i < count && out->bytes == 0; i++)
        if ((int64_t)tokens[i].project == letter->team_id && !tokens[i].secret)
            buf_add_text(out, tokens[i].token);
    catalog_snapshot_free(snapshot);
    return out->bytes > 0 ? 0 : err_set(err, ERR_INPUT, "%s: its token is not known; give one with --token", letter->key);
}

static void wait_turn(struct replay *replay)
{
    int64_t now_us = clock_mono_us();

    if (now_us < replay->next_us) {
        (void)poll(NULL, 0, (int)((replay->next_us - now_us + 999) / 1000));
        now_us = replay->next_us;
    }
    replay->next_us = now_us + 1000000 / (int64_t)replay->rate;
}

/* 0: sent, or refused and said so; -1: nobody can take it now, or the catalog fails. */
static int letter_replay(void *ctx, const struct letter *letter, struct err *err)
{
    struct replay *replay = ctx;
    struct err     why = { .kind = ERR_NONE };
    char           uuid[UUID_TEXT_BYTES + 1], storage[200];
    struct buf     token;
    int64_t        now_us = clock_wall_us();
    long           status = 0;

    buf_init_over(&token, storage, sizeof storage);
    buf_reset(&replay->body);
    buf_reset(&replay->answer);
    if (letter_token(replay, letter, &token, &why) < 0 ||
        letter_event_write(letter, buf_span(&token), &replay->body, uuid, &why) < 0) {
        if (why.kind != ERR_INPUT) {
            *err = why;
            return -1;
        }
        fprintf(stderr, "penstock: %s\n", why.text);
        replay->refused++;
        return 0;
    }
    wait_turn(replay);
    if (post_body(replay->post, buf_span(&replay->body), &replay->answer, &status, err) < 0)
        return -1;
    if (status == 429 || status >= 500)
        return err_set(err, ERR_RETRY, "the server cannot take it now: %ld %.*s", status,
                       (int)(replay->answer.bytes < 150 ? replay->answer.bytes : 150), (const char *)replay->answer.at);
    if (status < 200 || status >= 300) {
        fprintf(stderr, "penstock: %s stays open, it is refused again: %ld %.*s\n", letter->key, status,
                SPAN_ARG(buf_span(&replay->answer)));
        replay->refused++;
        return 0;
    }
    if (letter->known.state == CATALOG_LETTER_REPLAYED)
        fprintf(stderr, "penstock: %s was replayed before; an event of the same uuid is stored once\n", letter->key);
    replay->sent++;
    return catalog_letter_replayed(replay->catalog, letter->key, uuid, now_us, err);
}

static int letter_count(void *ctx, const struct letter *letter, struct err *err)
{
    uint64_t *count = ctx;

    (void)letter;
    (void)err;
    ++*count;
    return 0;
}

/* True when the person says yes. Without a terminal nobody can: --yes is needed. */
static bool replay_confirmed(const struct command_args *args, uint64_t count)
{
    char line[20] = "";

    if (args_has(args, "--yes"))
        return true;
    if (!isatty(STDIN_FILENO)) {
        fprintf(stderr, "penstock: %" PRIu64 " letters would be replayed; say so with --yes\n", count);
        return false;
    }
    fprintf(stderr, "Replay %" PRIu64 " dead letters? [y/N] ", count);
    return fgets(line, sizeof line, stdin) != NULL && (line[0] == 'y' || line[0] == 'Y');
}

static int replay_all(const struct command_args *args, struct replay *replay, struct err *err)
{
    struct letter_filter filter;
    uint64_t             count = 0;

    if (letter_filter_read(args, "open", &filter) < 0)
        return EXIT_USAGE;
    if (letter_each(args_data(args), replay->catalog, &filter, letter_count, &count, err) < 0)
        return command_failed(err);
    if (count > 0 && !replay_confirmed(args, count))
        return EXIT_FAILED;
    return letter_each(args_data(args), replay->catalog, &filter, letter_replay, replay, err) < 0 ? command_failed(err)
                                                                                                   : EXIT_DONE;
}

static int replay_one(const struct command_args *args, struct replay *replay, struct err *err)
{
    struct arena *arena = arena_new(1 << 16, 1 << 30);
    struct letter letter;
    int           code = EXIT_DONE;

    if (arena == NULL)
        (void)err_set(err, ERR_FULL, "no memory");
    if (arena == NULL || letter_find(args_data(args), replay->catalog, args_at(args, 0), arena, &letter, err) < 0 ||
        letter_replay(replay, &letter, err) < 0)
        code = command_failed(err);
    arena_free(arena);
    return code;
}

int dlq_replay_run(const struct command_args *args)
{
    struct replay replay = { .token = args_text(args, "--token") };
    char          url[400];
    struct err    err = { .kind = ERR_NONE };
    int           code;

    if ((args_count(args) == 1) == args_has(args, "--all"))
        return args_wrong(args, "give either a letter or --all");
    if (args_number(args, "--rate", REPLAY_RATE, REPLAY_RATE_MAX, &replay.rate) < 0)
        return EXIT_USAGE;
    if (replay.rate == 0)
        return args_wrong(args, "--rate is at least 1");
    buf_init(&replay.body, REPLAY_BYTES_MAX);
    buf_init(&replay.answer, 1 << 20);
    if (letter_catalog_open(args_data(args), &replay.catalog, &err) < 0 || post_url(args, url, sizeof url, &err) < 0 ||
        post_open(url, &replay.post, &err) < 0)
        code = command_failed(&err);
    else
        code = args_count(args) == 1 ? replay_one(args, &replay, &err) : replay_all(args, &replay, &err);
    if (code == EXIT_DONE && replay.refused > 0)
        code = EXIT_FAILED;
    if (code != EXIT_USAGE || replay.sent > 0) {
        if (args_has(args, "--json"))
            printf("{\"replayed\":%" PRIu64 ",\"refused\":%" PRIu64 "}\n", replay.sent, replay.refused);
        else
            fprintf(stderr, "penstock: %" PRIu64 " replayed, %" PRIu64 " refused\n", replay.sent, replay.refused);
    }
    post_close(replay.post);
    catalog_close(replay.catalog);
    buf_fini(&replay.body);
    buf_fini(&replay.answer);
    return code;
}
