/* command/command.h - the command line: a table of commands, their flags, help, examples.
 *
 * One table (commands.c) drives dispatch, `--help`, the shell completions and docs/commands.md, so that
 * they cannot disagree. Stdout is data, stderr is for people. Exit codes: 0 done, 1 it failed (the reason
 * is on stderr), 2 the command line or the configuration is wrong.
 *  M1  a command writes nothing but its data to stdout
 *  M2  a usage error says what was wrong, the nearest right word, and how to get help */
#ifndef PENSTOCK_COMMAND_COMMAND_H
#define PENSTOCK_COMMAND_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/* UNKNOWN: what was asked cannot be said now, and nothing wrong was seen; ask again. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_UNKNOWN = 3 };

/* value NULL: a switch. Ended by a NULL name. A flag given twice counts once (the last), unless the command
 * asks for each. */
struct command_flag {
    const char *name;  /* "--data" */
    const char *value; /* "DIR" */
    const char *help;
};

struct command_args;

struct command {
    const char                *name;      /* "serve", "token list" */
    const char                *arguments; /* "UUID", "" */
    int                        arguments_min, arguments_max;
    const char                *summary;   /* one line */
    const char                *details;   /* "" or paragraphs for --help */
    const char                *examples;  /* lines, each a command */
    const struct command_flag *flags;
    int (*run)(const struct command_args *args); /* gives the exit code */
};

/* Every command, ended by a NULL name. */
extern const struct command commands[];

#define FLAG_DATA                                                                                   \
    { "--data", "DIR", "the data folder (default: ./penstock-data)" },                              \
    { "--config", "FILE", "settings (default: those of the server of this folder, or DIR/penstock.yaml)" }
#define FLAG_JSON { "--json", NULL, "print JSON" }
#define FLAG_END  { NULL, NULL, NULL }

/* Finds the command, reads its flags, runs it. argv as main got it. */
int command_main(int argc, char **argv);

/* --- for commands ------------------------------------------------------------------------------ */

/* NULL: not given. */
const char *args_text(const struct command_args *args, const char *flag);
/* The n-th time it was given; NULL: not so often. */
const char *args_text_nth(const struct command_args *args, const char *flag, size_t n);
bool args_has(const struct command_args *args, const char *flag);
size_t args_count(const struct command_args *args);
const char *args_at(const struct command_args *args, size_t n);
/* --data or its default. */
const char *args_data(const struct command_args *args);
/* How this program was called, for lines that people copy. */
const char *args_program(const struct command_args *args);
/* Says what is wrong with the command line and how to get help; gives EXIT_USAGE. */
int args_wrong(const struct command_args *args, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A flag's value as a number; -1 and the message when it is none. */
int args_number(const struct command_args *args, const char *flag, unsigned long long def, unsigned long long max,
                unsigned long long *out) must_check;

/* "penstock: <text>" on stderr; gives EXIT_FAILED (EXIT_USAGE for ERR_INPUT). */
int command_failed(const struct err *err);

/* Fails (ERR_STOP) with what errno says of the write to stdout that has just failed. */
int command_stdout_failed(struct err *err);

/* The candidate that `word` most likely meant, NULL when none is near. Candidates end with NULL. */
const char *nearest_word(const char *word, const char *const *candidates);

/* DIR/name into `to`; -1 (ERR_INPUT) when the path is too long. */
int data_path(const char *data, const char *name, char *to, size_t room, struct err *err) must_check;
/* Appends the whole of a file, or of standard input for "-". ERR_INPUT: why it cannot be read, or that it is
 * larger than out->bytes_max. */
int file_read(const char *path, struct buf *out, struct err *err) must_check;
/* -1 (ERR_INPUT) with the next step when DIR does not look like a data folder; ERR_STOP when that may not be seen. */
int data_check(const char *data, struct err *err) must_check;

/* --- the commands (each in the file of its name) ------------------------------------------------ */

int serve_run(const struct command_args *args);
int send_run(const struct command_args *args);
int tail_run(const struct command_args *args);
int trace_run(const struct command_args *args);
int sql_run(const struct command_args *args);
int compare_run(const struct command_args *args);
int plan_run(const struct command_args *args);
int status_run(const struct command_args *args);
int warehouse_rebuild_run(const struct command_args *args);
int warehouse_ddl_run(const struct command_args *args);
int dlq_list_run(const struct command_args *args);
int dlq_show_run(const struct command_args *args);
int dlq_edit_run(const struct command_args *args);
int dlq_replay_run(const struct command_args *args);
int dlq_discard_run(const struct command_args *args);
int dlq_download_run(const struct command_args *args);
int token_list_run(const struct command_args *args);
int token_create_run(const struct command_args *args);
int token_revoke_run(const struct command_args *args);
int project_list_run(const struct command_args *args);
int project_show_run(const struct command_args *args);
int project_create_run(const struct command_args *args);
int project_set_run(const struct command_args *args);
int person_show_run(const struct command_args *args);
int person_delete_run(const struct command_args *args);
int person_undelete_run(const struct command_args *args);
int person_split_run(const struct command_args *args);
int restrict_list_run(const struct command_args *args);
int restrict_add_run(const struct command_args *args);
int restrict_remove_run(const struct command_args *args);
int quota_list_run(const struct command_args *args);
int quota_set_run(const struct command_args *args);
int quota_remove_run(const struct command_args *args);
int limit_list_run(const struct command_args *args);
int limit_set_run(const struct command_args *args);
int limit_remove_run(const struct command_args *args);
int log_info_run(const struct command_args *args);
int log_verify_run(const struct command_args *args);
int log_dump_run(const struct command_args *args);
int retention_confirm_run(const struct command_args *args);
int doctor_run(const struct command_args *args);
int cage_run(const struct command_args *args);
int reload_run(const struct command_args *args);
int upgrade_run(const struct command_args *args);
int config_check_run(const struct command_args *args);
int config_show_run(const struct command_args *args);
int config_explain_run(const struct command_args *args);
int completions_run(const struct command_args *args);
int version_run(const struct command_args *args);

/* Data for stdout, whole; out is freed. */
void command_print(struct buf *out_take);
/* JSON for stdout, with what strangers wrote. A terminal gets it without what it would obey (base/terminal.h), with the same values. */
int command_write_json(struct span json, struct err *err) must_check;
/* Text for people in which strangers' texts stand as JSON: never with what a terminal would obey. */
int command_write_text(struct span text, struct err *err) must_check;

#endif
