/* command/trace.c - penstock trace: the story of one event. */
#include <stdio.h>
#include <string.h>

#include "command/command.h"
#include "command/trace_show.h"

enum { TRACE_ARENA_BYTES_MAX = 1 << 30, TRACE_OUT_BYTES_MAX = 1 << 30 };

static int trace_print(const struct command_args *args, struct trace *trace)
{
    struct err err = { .kind = ERR_NONE };
    struct buf out;
    int        code;

    if (trace->arena == NULL)
        (void)err_set(&err, ERR_FULL, "no memory");
    if (trace->arena == NULL || trace_find(trace, &err) < 0)
        return command_failed(&err);
    buf_init(&out, TRACE_OUT_BYTES_MAX);
    if (args_has(args, "--json"))
        trace_write_json(trace, &out);
    else
        trace_write_text(trace, &out);
    if (out.failed)
        (void)err_set(&err, ERR_FULL, "what is known of it is too large to print");
    if (out.failed || (args_has(args, "--json") ? command_write_json : command_write_text)(buf_span(&out), &err) < 0)
        code = command_failed(&err);
    else
        code = trace->fate == TRACE_UNKNOWN ? EXIT_FAILED : EXIT_DONE;
    buf_fini(&out);
    return code;
}

int trace_run(const struct command_args *args)
{
    struct trace       trace = { .data = args_data(args) };
    unsigned long long project = 0;
    int                code;

    if (!uuid_parse(span_text(args_at(args, 0)), &trace.uuid))
        return args_wrong(args, "\"%s\" is not a UUID", args_at(args, 0));
    if (args_number(args, "--project", 0, UINT32_MAX, &project) < 0)
        return EXIT_USAGE;
    trace.project_only = (uint32_t)project;
    uuid_format(&trace.uuid, trace.text);
    trace.text[UUID_TEXT_BYTES] = '\0';
    trace.arena = arena_new(1 << 20, TRACE_ARENA_BYTES_MAX);
    code = trace_print(args, &trace);
    arena_free(trace.arena);
    return code;
}
