/* command/dlq.c - penstock dlq list, show, discard, download: dead letters are read and put away. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/terminal.h"
#include "command/command.h"
#include "command/letter.h"
#include "wire/json.h"
#include "wire/time.h"

enum { LINE_BYTES_MAX = 1 << 30, LIST_MAX = 100 };

struct printing {
    struct buf         line;
    bool               json, with_data;
    unsigned long long count, max; /* max 0: no bound */
    bool               more;
};

static void line_text(struct printing *printing, const struct letter *letter)
{
    struct buf *line = &printing->line;

    if (printing->count == 0)
        buf_add_format(line, "%-10s  %-20s  %-9s  %-8s  %-24s  %-36s  %s\n", "N", "failed at", "state", "step", "reason",
                       "uuid", "event");
    if (letter->raw_offset != LETTER_NONE)
        buf_add_format(line, "%-10" PRId64 "  ", letter->raw_offset);
    else
        buf_add_format(line, "%-10s  ", letter->key);
    time_write_rfc3339(line, letter->failed_us / 1000000 * 1000000);
    buf_add_format(line, "  %-9s  %-8.*s  %-24.*s  %-36.*s  ", letter_state_name(letter), SPAN_ARG(letter->step),
                   SPAN_ARG(letter->reason), SPAN_ARG(letter->uuid));
    if (letter->event.bytes > 0)
        json_write_string(line, letter->event);
    buf_add_byte(line, '\n');
}

static int letter_print(void *ctx, const struct letter *letter, struct err *err)
{
    struct printing *printing = ctx;

    if (printing->max > 0 && printing->count >= printing->max) {
        printing->more = true;
        return 1;
    }
    buf_reset(&printing->line);
    if (printing->json) {
        letter_write_json(letter, printing->with_data, &printing->line);
        buf_add_byte(&printing->line, '\n');
    } else {
        line_text(printing, letter);
    }
    printing->count++;
    if (printing->line.failed)
        return err_set(err, ERR_FULL, "letter %s is too large to print", letter->key);
    return (printing->json ? command_write_json : command_write_text)(buf_span(&printing->line), err);
}

static int print_all(const struct command_args *args, struct printing *printing, const char *state)
{
    struct letter_filter filter;
    struct catalog      *catalog;
    struct err           err = { .kind = ERR_NONE };
    int                  rc;

    if (letter_filter_read(args, state, &filter) < 0)
        return EXIT_USAGE;
    if (letter_catalog_open(args_data(args), &catalog, &err) < 0)
        return command_failed(&err);
    buf_init(&printing->line, LINE_BYTES_MAX);
    rc = letter_each(args_data(args), catalog, &filter, letter_print, printing, &err);
    buf_fini(&printing->line);
    catalog_close(catalog);
    return rc < 0 ? command_failed(&err) : EXIT_DONE;
}

int dlq_list_run(const struct command_args *args)
{
    struct printing printing = { .json = args_has(args, "--json") };
    int             code;

    if (args_number(args, "--limit", LIST_MAX, 1ULL << 40, &printing.max) < 0)
        return EXIT_USAGE;
    code = print_all(args, &printing, "open");
    if (code == EXIT_DONE && printing.more)
        fprintf(stderr, "penstock: there are more; --limit 0 shows all\n");
    else if (code == EXIT_DONE && printing.count == 0)
        fprintf(stderr, "penstock: no such dead letters%s\n",
                args_has(args, "--state") ? "" : " are open; --state all shows the others, too");
    return code;
}

int dlq_download_run(const struct command_args *args)
{
    struct printing printing = { .json = true, .with_data = true };

    if (args_number(args, "--limit", 0, 1ULL << 40, &printing.max) < 0)
        return EXIT_USAGE;
    return print_all(args, &printing, NULL);
}

/* --- show -------------------------------------------------------------------------------------- */

/* Bytes of strangers: what a terminal would obey is shown as ?, but line ends and tabs. */
static void print_safe(struct span text)
{
    uint32_t point;
    size_t   bytes;

    for (size_t at = 0; at < text.bytes; at += bytes) {
        if (terminal_obeys(span_from(text, at), &point, &bytes) && point != '\n' && point != '\t')
            putchar('?');
        else
            (void)fwrite(text.at + at, 1, bytes, stdout);
    }
    putchar('\n');
}

static void show_text(const char *name, struct span text)
{
    if (text.bytes > 0) {
        printf("%-12s ", name);
        print_safe(text);
    }
}

static void show_time(const char *name, int64_t us)
{
    struct buf text;

    if (us == CLOCK_NONE || us == 0)
        return;
    buf_init(&text, 100);
    time_write_rfc3339(&text, us);
    show_text(name, buf_span(&text));
    buf_fini(&text);
}

static void show_letter(const struct letter *letter)
{
    show_text("letter", span_text(letter->key));
    show_text("uuid", letter->uuid);
    show_text("state", span_text(letter_state_name(letter)));
    show_time("replayed at", letter->known.replayed_us);
    if (letter->known.replays > 0)
        printf("%-12s %u\n", "replays", letter->known.replays);
    show_text("replayed as", span_text(letter->known.replay_uuid));
    show_time("discarded at", letter->known.discarded_us);
    show_text("replay of", span_text(letter->earlier));
    show_text("step", letter->step);
    show_text("reason", letter->reason);
    show_text("detail", letter->detail);
    show_time("failed at", letter->failed_us);
    show_time("received at", letter->received_us);
    if (letter->raw_offset != LETTER_NONE)
        printf("%-12s %" PRId64 "\n", "raw offset", letter->raw_offset);
    if (letter->index != LETTER_NONE)
        printf("%-12s %016" PRIx64 ", event %" PRId64 " of it (from 0)\n", "request", letter->request, letter->index);
    if (letter->team_id != 0)
        printf("%-12s %" PRId64 "\n", "project", letter->team_id);
    show_text("token", letter->token);
    show_text("event", letter->event);
    show_text("distinct id", letter->distinct_id);
    show_text("ip", letter->ip);
    printf("\ndata (%zu bytes%s):\n", letter->data.bytes, letter->base64 ? " of base64" : "");
    print_safe(letter->data);
    if (letter->known.repaired_us != 0) {
        printf("\nrepaired ");
        show_time("at", letter->known.repaired_us);
        print_safe(letter->repaired);
    }
}

int dlq_show_run(const struct command_args *args)
{
    struct arena   *arena = arena_new(1 << 16, LINE_BYTES_MAX);
    struct catalog *catalog = NULL;
    struct letter   letter;
    struct err      err = { .kind = ERR_NONE };
    struct buf      out;
    int             code = EXIT_DONE;

    if (arena == NULL)
        (void)err_set(&err, ERR_FULL, "no memory");
    if (arena == NULL || letter_catalog_open(args_data(args), &catalog, &err) < 0 ||
        letter_find(args_data(args), catalog, args_at(args, 0), arena, &letter, &err) < 0) {
        code = command_failed(&err);
    } else if (args_has(args, "--json")) {
        buf_init(&out, LINE_BYTES_MAX);
        letter_write_json(&letter, true, &out);
        buf_add_byte(&out, '\n');
        if (out.failed)
            (void)err_set(&err, ERR_FULL, "letter %s is too large to print", letter.key);
        if (out.failed || command_write_json(buf_span(&out), &err) < 0)
            code = command_failed(&err);
        buf_fini(&out);
    } else {
        show_letter(&letter);
    }
    catalog_close(catalog);
    arena_free(arena);
    return code;
}

/* --- discard ----------------------------------------------------------------------------------- */

int dlq_discard_run(const struct command_args *args)
{
    struct arena   *arena = arena_new(1 << 16, LINE_BYTES_MAX);
    struct catalog *catalog = NULL;
    struct letter   letter;
    struct err      err = { .kind = ERR_NONE };
    int             code = EXIT_DONE, changed = -1;

    if (arena == NULL)
        (void)err_set(&err, ERR_FULL, "no memory");
    if (arena != NULL && letter_catalog_open(args_data(args), &catalog, &err) == 0 &&
        letter_find(args_data(args), catalog, args_at(args, 0), arena, &letter, &err) == 0)
        changed = catalog_letter_discard(catalog, letter.key, clock_wall_us(), &err);
    if (changed < 0) {
        code = command_failed(&err);
    } else if (changed == 0 && letter.known.state == CATALOG_LETTER_REPLAYED) {
        fprintf(stderr, "penstock: %s was replayed; there is nothing to discard\n", letter.key);
        code = EXIT_FAILED;
    } else {
        fprintf(stderr, "penstock: %s is discarded; its row stays, and replay would still take it\n", letter.key);
    }
    catalog_close(catalog);
    arena_free(arena);
    return code;
}
