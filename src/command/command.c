/* command/command.c - from argv to a command: dispatch, flags, help.
 *
 * Why not getopt_long: one table must drive parsing, help and completions, and a wrong word is to be
 * answered with the nearest right one. What getopt would add (short flags, abbreviations) is left out on
 * purpose: scripts that abbreviate break when a flag is added. */
#include "command/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/terminal.h"
#include "command/catalog_access.h"
#include "command/config_stores.h"

struct given_flag { const struct command_flag *flag; const char *value; };

struct command_args {
    const struct command *command;
    const char           *program;
    struct given_flag    *flags;
    size_t                flag_count;
    const char          **words;
    size_t                word_count;
};

const char *args_text_nth(const struct command_args *args, const char *flag, size_t n)
{
    for (size_t i = 0; i < args->flag_count; i++)
        if (strcmp(args->flags[i].flag->name, flag) == 0 && n-- == 0)
            return args->flags[i].value;
    return NULL;
}

const char *args_text(const struct command_args *args, const char *flag)
{
    for (size_t i = args->flag_count; i-- > 0;)
        if (strcmp(args->flags[i].flag->name, flag) == 0)
            return args->flags[i].value;
    return NULL;
}

bool args_has(const struct command_args *args, const char *flag)
{
    return args_text(args, flag) != NULL;
}

size_t args_count(const struct command_args *args)
{
    return args->word_count;
}

const char *args_at(const struct command_args *args, size_t n)
{
    return n < args->word_count ? args->words[n] : NULL;
}

const char *args_data(const struct command_args *args)
{
    const char *data = args_text(args, "--data");

    return data != NULL ? data : "penstock-data";
}

const char *args_program(const struct command_args *args)
{
    return args->program;
}

int args_wrong(const struct command_args *args, const char *fmt, ...)
{
    va_list list;

    fprintf(stderr, "penstock %s: ", args->command->name);
    va_start(list, fmt);
    vfprintf(stderr, fmt, list);
    va_end(list);
    fprintf(stderr, "\nTry: %s %s --help\n", args->program, args->command->name);
    return EXIT_USAGE;
}

int args_number(const struct command_args *args, const char *flag, unsigned long long def, unsigned long long max,
                unsigned long long *out)
{
    const char *text = args_text(args, flag);
    char       *end;

    if (text == NULL) {
        *out = def;
        return 0;
    }
    errno = 0;
    *out = strtoull(text, &end, 10);
    if (errno == 0 && *text >= '0' && *text <= '9' && *end == '\0' && *out <= max)
        return 0;
    (void)args_wrong(args, "%s takes a whole number from 0 to %llu, not \"%s\"", flag, max, text);
    return -1;
}

int command_failed(const struct err *err)
{
    fprintf(stderr, "penstock: %s\n", err->text);
    return err->kind == ERR_INPUT ? EXIT_USAGE : EXIT_FAILED;
}

/* --- help -------------------------------------------------------------------------------------- */

static void help_of_command(const struct command *command)
{
    size_t width = 0;

    printf("usage: penstock %s%s%s%s\n\n%s\n", command->name, command->arguments[0] != '\0' ? " " : "",
           command->arguments, command->flags[0].name != NULL ? " [FLAGS]" : "", command->summary);
    if (command->details[0] != '\0')
        printf("\n%s\n", command->details);
    printf("\nFlags:\n");
    for (const struct command_flag *flag = command->flags; flag->name != NULL; flag++) {
        size_t bytes = strlen(flag->name) + (flag->value != NULL ? strlen(flag->value) + 1 : 0);

        width = bytes > width ? bytes : width;
    }
    width = width > 6 ? width : 6;
    for (const struct command_flag *flag = command->flags; flag->name != NULL; flag++) {
        char head[80];

        (void)snprintf(head, sizeof head, "%s%s%s", flag->name, flag->value != NULL ? " " : "",
                       flag->value != NULL ? flag->value : "");
        printf("  %-*s  %s\n", (int)width, head, flag->help);
    }
    printf("  %-*s  this page\n\nExamples:\n", (int)width, "--help");
    for (const char *line = command->examples; *line != '\0';) {
        size_t bytes = strcspn(line, "\n");

        printf("  %.*s\n", (int)bytes, line);
        line += bytes + (line[bytes] == '\n');
    }
    printf("\nExit codes: 0 done, 1 failed (the reason is on stderr), 2 wrong command line or configuration.\n");
}

static void help_of_all(FILE *to)
{
    fprintf(to, "Penstock %s - a durable events pipeline that speaks PostHog's wire protocol.\n\n"
                "usage: penstock COMMAND [FLAGS]\n\nCommands:\n", PENSTOCK_VERSION);
    for (const struct command *command = commands; command->name != NULL; command++) {
        char head[60];

        (void)snprintf(head, sizeof head, "%s %s", command->name, command->arguments);
        fprintf(to, "  %-26s %s\n", head, command->summary);
    }
    fprintf(to, "\n`penstock COMMAND --help` shows flags and examples. Stdout is data, stderr is for people.\n");
}

/* `penstock token --help`, or a group without its verb. False: no such group. */
static bool help_of_group(FILE *to, const char *group)
{
    bool   found = false;
    size_t bytes = strlen(group);

    for (const struct command *command = commands; command->name != NULL; command++) {
        if (strncmp(command->name, group, bytes) != 0 || command->name[bytes] != ' ')
            continue;
        if (!found)
            fprintf(to, "usage: penstock %s COMMAND [FLAGS]\n\nCommands:\n", group);
        found = true;
        fprintf(to, "  %s %-*s %s\n", command->name, (int)(26 - strlen(command->name)), command->arguments,
                command->summary);
    }
    if (found)
        fprintf(to, "\n`penstock %s COMMAND --help` shows flags and examples.\n", group);
    return found;
}

/* --- reading the line -------------------------------------------------------------------------- */

static const struct command *command_find(const char *first, const char *second, int *words_out)
{
    char both[80];

    (void)snprintf(both, sizeof both, "%s %s", first, second != NULL ? second : "");
    for (const struct command *command = commands; command->name != NULL; command++) {
        *words_out = strchr(command->name, ' ') != NULL ? 2 : 1;
        if (strcmp(command->name, *words_out == 2 ? both : first) == 0)
            return command;
    }
    return NULL;
}

/* The first word of commands that have two. */
static bool command_group_is(const char *word)
{
    size_t bytes = strlen(word);

    for (const struct command *command = commands; command->name != NULL; command++)
        if (strncmp(command->name, word, bytes) == 0 && command->name[bytes] == ' ')
            return true;
    return false;
}

static int command_unknown(const char *program, const char *first, const char *second)
{
    const char *names[80];
    size_t      count = 0;
    char        both[80];
    const char *near;

    for (const struct command *command = commands; command->name != NULL && count < 79; command++)
        names[count++] = command->name;
    names[count] = NULL;
    (void)snprintf(both, sizeof both, "%s %s", first, second != NULL ? second : "");
    near = second != NULL && second[0] != '-' ? nearest_word(both, names) : NULL;
    if (near == NULL && !command_group_is(first)) {
        (void)snprintf(both, sizeof both, "%s", first);
        near = nearest_word(first, names);
    }
    fprintf(stderr, "penstock: there is no command \"%s\"%s%s%s\nTry: %s --help\n", both,
            near != NULL ? "; did you mean \"" : "", near != NULL ? near : "", near != NULL ? "\"?" : "", program);
    return EXIT_USAGE;
}

static int flag_unknown(const struct command_args *args, const char *word)
{
    const char *names[40];
    size_t      count = 0;
    const char *near;

    for (const struct command_flag *flag = args->command->flags; flag->name != NULL && count < 38; flag++)
        names[count++] = flag->name;
    names[count++] = "--help";
    names[count] = NULL;
    near = nearest_word(word, names);
    if (near != NULL)
        return args_wrong(args, "there is no flag %s; did you mean %s?", word, near);
    return args_wrong(args, "there is no flag %s", word);
}

/* One word that begins with a dash. *at moves over its value. 0, or the exit code. */
static int flag_read(struct command_args *args, char **words, int count, int *at)
{
    const char *word = words[*at];
    size_t      bytes = strcspn(word, "=");

    for (const struct command_flag *flag = args->command->flags; flag->name != NULL; flag++) {
        if (strlen(flag->name) != bytes || strncmp(flag->name, word, bytes) != 0)
            continue;
        if (flag->value == NULL && word[bytes] == '=')
            return args_wrong(args, "%s takes no value", flag->name);
        if (flag->value != NULL && word[bytes] != '=' && *at + 1 >= count)
            return args_wrong(args, "%s needs a value: %s %s", flag->name, flag->name, flag->value);
        args->flags[args->flag_count++] = (struct given_flag){
            .flag = flag,
            .value = flag->value == NULL ? "" : word[bytes] == '=' ? word + bytes + 1 : words[++*at],
        };
        return 0;
    }
    return flag_unknown(args, word);
}

static int args_read(struct command_args *args, char **words, int count)
{
    bool only_words = false;

    for (int i = 0; i < count; i++) {
        if (!only_words && strcmp(words[i], "--") == 0) {
            only_words = true;
        } else if (!only_words && words[i][0] == '-' && words[i][1] != '\0') {
            int code = flag_read(args, words, count, &i);

            if (code != 0)
                return code;
        } else {
            args->words[args->word_count++] = words[i];
        }
    }
    if (args->word_count < (size_t)args->command->arguments_min)
        return args_wrong(args, "%s is missing", args->command->arguments);
    if (args->word_count > (size_t)args->command->arguments_max)
        return args_wrong(args, "\"%s\" is one word too many", args->words[args->command->arguments_max]);
    return 0;
}

static bool help_wanted(char **words, int count)
{
    for (int i = 0; i < count && strcmp(words[i], "--") != 0; i++)
        if (strcmp(words[i], "--help") == 0 || strcmp(words[i], "-h") == 0)
            return true;
    return false;
}

static int command_line(int argc, char **argv)
{
    const char           *first = argc > 1 ? argv[1] : "--help";
    const struct command *command;
    struct command_args   args = { .program = argv[0] };
    int                   words, code;

    if (strcmp(first, "--version") == 0)
        first = "version";
    if (argc < 2 || strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 || strcmp(first, "help") == 0) {
        if (argc < 3)
            help_of_all(argc < 2 ? stderr : stdout);
        else
            return command_line(4, (char *[]){ argv[0], argv[2], argc > 3 ? argv[3] : (char *)"--help",
                                               (char *)"--help", NULL });
        return argc < 2 ? EXIT_USAGE : EXIT_DONE;
    }
    command = command_find(first, argc > 2 ? argv[2] : NULL, &words);
    if (command == NULL) {
        if (argc == 2 || help_wanted(argv + 2, argc - 2)) {
            bool group = help_of_group(argc == 2 ? stderr : stdout, first);

            if (group)
                return argc == 2 ? EXIT_USAGE : EXIT_DONE;
        }
        return command_unknown(argv[0], first, argc > 2 ? argv[2] : NULL);
    }
    if (help_wanted(argv + 1 + words, argc - 1 - words)) {
        help_of_command(command);
        return EXIT_DONE;
    }
    args.command = command;
    args.flags = calloc((size_t)argc, sizeof *args.flags);
    args.words = calloc((size_t)argc, sizeof *args.words);
    if (args.flags == NULL || args.words == NULL) {
        fprintf(stderr, "penstock: no memory\n");
        code = EXIT_FAILED;
    } else {
        code = args_read(&args, argv + 1 + words, argc - 1 - words);
        if (code == 0) {
            command_stores_file(args_text(&args, "--config"));
            code = command->run(&args);
        }
    }
    free(args.flags);
    free(args.words);
    return code;
}

int command_stdout_failed(struct err *err)
{
    return err_set(err, ERR_STOP, "stdout cannot be written: %s", strerror(errno));
}

int command_main(int argc, char **argv)
{
    int  code = command_line(argc, argv);
    bool before = ferror(stdout) != 0; /* a write on the way; what errno said is gone */

    errno = 0;
    if ((fflush(stdout) != 0 || before) && code == EXIT_DONE) {
        fprintf(stderr, "penstock: stdout cannot be written%s%s: what was printed is not whole\n", errno != 0 ? ": " : "",
                errno != 0 ? strerror(errno) : "");
        code = EXIT_FAILED;
    }
    return code;
}

/* --- small things that several commands need ---------------------------------------------------- */

/* Edit distance with neighbours swapped as one step (optimal string alignment), bounded to short words. */
static size_t word_distance(const char *a, const char *b)
{
    enum { MAX = 60 };
    size_t rows[3][MAX + 1];
    size_t a_bytes = strlen(a), b_bytes = strlen(b);

    if (a_bytes > MAX || b_bytes > MAX)
        return MAX;
    for (size_t j = 0; j <= b_bytes; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_bytes; i++) {
        size_t *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];

        now[0] = i;
        for (size_t j = 1; j <= b_bytes; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);

            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[a_bytes % 3][b_bytes];
}

const char *nearest_word(const char *word, const char *const *candidates)
{
    const char *best = NULL;
    size_t      best_distance = 1 + (strlen(word) + 2) / 3; /* a third of it may be wrong */

    for (; *candidates != NULL; candidates++) {
        size_t distance = word_distance(word, *candidates);

        if (distance < best_distance) {
            best = *candidates;
            best_distance = distance;
        }
    }
    return best;
}

int data_path(const char *data, const char *name, char *to, size_t room, struct err *err)
{
    int bytes = snprintf(to, room, "%s/%s", data, name);

    if (bytes < 0 || (size_t)bytes >= room)
        return err_set(err, ERR_INPUT, "the path of the data folder is too long: %.100s...", data);
    return 0;
}

int file_read(const char *path, struct buf *out, struct err *err)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    char  piece[1 << 16];
    int   rc = 0;

    if (file == NULL)
        return err_set(err, ERR_INPUT, "cannot read %.200s: %s", path, strerror(errno));
    for (size_t bytes; (bytes = fread(piece, 1, sizeof piece, file)) > 0;)
        buf_add(out, span_of(piece, bytes));
    if (ferror(file))
        rc = err_set(err, ERR_INPUT, "cannot read %.200s: %s", path, strerror(errno));
    else if (out->failed)
        rc = err_set(err, ERR_INPUT, "%.200s is larger than %zu bytes", path, out->bytes_max);
    if (file != stdin)
        (void)fclose(file);
    return rc;
}

int data_check(const char *data, struct err *err)
{
    const struct stores *stores;
    struct stat          found;

    if (command_stores(data, &stores, err) < 0) /* a file that cannot be read is the first thing to know */
        return -1;
    if (command_catalog_there(data))
        return 0;
    if (stat(data, &found) == 0 && access(data, X_OK) < 0)
        return err_set(err, ERR_STOP, "%.200s cannot be looked into: %s; it belongs to user %u: use penstock as that user, or as root", data,
                       strerror(errno), (unsigned)found.st_uid);
    return err_set(err, ERR_INPUT, "%.200s is no data folder of Penstock (no catalog.db in it); name yours with --data "
                   "DIR, or start one: penstock serve", data);
}

static int stdout_write(struct span text, struct err *err)
{
    return fwrite(text.at, 1, text.bytes, stdout) == text.bytes ? 0 : command_stdout_failed(err);
}

int command_write_text(struct span text, struct err *err)
{
    struct buf shown;
    int        rc;

    buf_init(&shown, 6 * text.bytes + 1); /* an escape of a byte */
    terminal_write_json(&shown, text);
    rc = shown.failed ? err_set(err, ERR_FULL, "no memory to print %zu bytes", text.bytes) : stdout_write(buf_span(&shown), err);
    buf_fini(&shown);
    return rc;
}

int command_write_json(struct span json, struct err *err)
{
    return isatty(STDOUT_FILENO) ? command_write_text(json, err) : stdout_write(json, err);
}

void command_print(struct buf *out_take)
{
    (void)fwrite(out_take->at, 1, out_take->bytes, stdout);
    buf_fini(out_take);
}
