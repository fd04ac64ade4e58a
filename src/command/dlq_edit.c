/* command/dlq_edit.c - penstock dlq edit: a repaired text beside the letter. The letter's own bytes never change, or
 * nobody could tell later what a client really sent. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "command/command.h"
#include "command/letter.h"
#include "command/trace_log.h"
#include "wire/json.h"

enum { EDIT_BYTES_MAX = 32 << 20, EDIT_ARENA_BYTES_MAX = 1 << 30 };

/* The editor of the person, as git and crontab find it. */
static int editor_run(const char *path, struct err *err)
{
    const char *editor = getenv("VISUAL");
    char        line[1000];
    pid_t       pid;
    int         status;

    if (editor == NULL || editor[0] == '\0')
        editor = getenv("EDITOR");
    if (editor == NULL || editor[0] == '\0')
        editor = "vi";
    (void)snprintf(line, sizeof line, "%s \"$1\"", editor);
    pid = fork();
    if (pid < 0)
        return err_errno(err, errno, "cannot start %.100s", editor);
    if (pid == 0) {
        (void)execl("/bin/sh", "sh", "-c", line, "sh", path, (char *)NULL);
        _exit(127);
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return err_errno(err, errno, "waiting for %.100s", editor);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return err_set(err, ERR_INPUT, "the editor (%.100s) failed; nothing was stored. Another way: --set FILE", editor);
    return 0;
}

/* path_out is the file, for its name to be told when the text is refused. */
static int text_edit(struct span text, char *path_out, size_t room, struct buf *out, struct err *err)
{
    const char *folder = getenv("TMPDIR");
    int         fd;
    FILE       *file;

    (void)snprintf(path_out, room, "%.200s/penstock-letter-XXXXXX", folder != NULL && folder[0] != '\0' ? folder : "/tmp");
    fd = mkstemp(path_out); /* mode 0600: what clients send is nobody else's */
    file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (file == NULL) {
        if (fd >= 0)
            (void)close(fd);
        return err_errno(err, errno, "cannot write %.200s", path_out);
    }
    if (fwrite(text.at, 1, text.bytes, file) != text.bytes || fclose(file) != 0)
        return err_errno(err, errno, "cannot write %.200s", path_out);
    return editor_run(path_out, err) < 0 ? -1 : file_read(path_out, out, err);
}

/* Editors end a file with a line end; it is no part of the event. */
static struct span trimmed(struct span text)
{
    while (text.bytes > 0 && strchr(" \t\r\n", text.at[text.bytes - 1]) != NULL)
        text.bytes--;
    while (text.bytes > 0 && strchr(" \t\r\n", text.at[0]) != NULL)
        text = span_from(text, 1);
    return text;
}

static int text_check(struct span text, struct arena *arena, struct err *err)
{
    struct json_members event;

    if (json_members_read(text, arena, &event, err) == 0)
        return 0;
    return err_wrap(err, "not stored: an event is one JSON object");
}

/* A letter of a finished row does not hold what the client sent, but the topic may still do. Bytes 0: it does not. */
static struct span client_event(const struct command_args *args, const struct letter *letter, struct arena *arena)
{
    struct trace trace = { .data = args_data(args), .arena = arena, .place = (uint64_t)letter->raw_offset, .unit = letter_unit(letter) };
    struct err   err = { .kind = ERR_NONE, .text = "the log has it no longer" };

    if (letter->is_event || letter->raw_offset == LETTER_NONE || !uuid_parse(letter->uuid, &trace.uuid))
        return SPAN("");
    if (trace_record_read(&trace, &err) < 0 || trace.record_state != TRACE_RECORD_KEPT) {
        fprintf(stderr, "penstock: the event as it was sent cannot be shown (%s); this is what failed\n", err.text);
        return SPAN("");
    }
    fprintf(stderr, "penstock: this is the event as it was sent; give it a new uuid, the old one counts as seen\n");
    return trace.record.data;
}

static int letter_edit(const struct command_args *args, struct catalog *catalog, struct arena *arena, struct buf *text,
                       struct err *err)
{
    const char   *from = args_text(args, "--set");
    char          path[300] = "";
    struct letter letter;
    struct span   old, fresh;

    if (letter_find(args_data(args), catalog, args_at(args, 0), arena, &letter, err) < 0)
        return -1;
    old = letter.repaired.bytes > 0 ? letter.repaired : from == NULL ? client_event(args, &letter, arena) : SPAN("");
    if (old.bytes == 0)
        old = letter.data;
    if ((from != NULL ? file_read(from, text, err) : text_edit(old, path, sizeof path, text, err)) < 0)
        return -1;
    fresh = trimmed(buf_span(text));
    if (from == NULL && span_equal(fresh, trimmed(old))) {
        (void)unlink(path);
        fprintf(stderr, "penstock: nothing was changed\n");
        return 0;
    }
    if (text_check(fresh, arena, err) < 0) {
        if (from == NULL)
            fprintf(stderr, "penstock: your text is kept in %s\n", path);
        return -1;
    }
    if (catalog_letter_repair(catalog, letter.key, fresh, clock_wall_us(), err) < 0)
        return -1;
    if (from == NULL)
        (void)unlink(path);
    fprintf(stderr, "penstock: %s is repaired; send it: penstock dlq replay %s\n", letter.key, letter.key);
    return 0;
}

int dlq_edit_run(const struct command_args *args)
{
    struct arena   *arena = arena_new(1 << 16, EDIT_ARENA_BYTES_MAX);
    struct catalog *catalog = NULL;
    struct err      err = { .kind = ERR_NONE };
    struct buf      text;
    int             code = EXIT_DONE;

    buf_init(&text, EDIT_BYTES_MAX);
    if (arena == NULL)
        (void)err_set(&err, ERR_FULL, "no memory");
    if (arena == NULL || letter_catalog_open(args_data(args), &catalog, &err) < 0 || letter_edit(args, catalog, arena, &text, &err) < 0)
        code = command_failed(&err);
    buf_fini(&text);
    catalog_close(catalog);
    arena_free(arena);
    return code;
}
