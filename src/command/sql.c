/* command/sql.c - penstock sql: one question to the warehouse. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command/command.h"
#include "command/question.h"

static int piece_to_stdout(void *ctx, struct span piece, struct err *err)
{
    (void)ctx;
    if (fwrite(piece.at, 1, piece.bytes, stdout) == piece.bytes)
        return 0;
    return command_stdout_failed(err);
}

int sql_run(const struct command_args *args)
{
    const char           *format = args_text(args, "--format");
    enum warehouse_format chosen = args_has(args, "--json") ? WAREHOUSE_JSON : WAREHOUSE_TABLE;
    struct err            err = { .kind = ERR_NONE };

    if (format != NULL && strcmp(format, "csv") == 0)
        chosen = WAREHOUSE_CSV;
    else if (format != NULL && strcmp(format, "json") == 0)
        chosen = WAREHOUSE_JSON;
    else if (format != NULL && strcmp(format, "table") != 0)
        return args_wrong(args, "--format takes csv, json or table, not \"%s\"", format);
    if (data_check(args_data(args), &err) < 0)
        return command_failed(&err);
    if (question_ask(args_data(args), args_at(args, 0), chosen, piece_to_stdout, NULL, &err) < 0) {
        (void)command_failed(&err);
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}
