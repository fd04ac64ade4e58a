/* command/status_by.c - prints what account_by.c reads, as a table or as JSON. The sum and its difference are printed
 * and not only checked: who looks for lost events must not have to trust us. */
#include "command/status_by.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "catalog/catalog.h"
#include "command/account_by.h"
#include "command/catalog_access.h"
#include "wire/json.h"
#include "wire/time.h"

enum { ARENA_BYTES_MAX = 1 << 30, OUT_BYTES_MAX = 1 << 30, NAME_BYTES = 24 };

struct by {
    unsigned                 flags; /* of account_by.h */
    bool                     fates, check;
    struct catalog          *catalog;
    struct catalog_snapshot *names; /* of projects; NULL: no catalog */
    struct account_lines     lines;
    enum account_verdict     verdict;
};

/* "project", "hour", "fate", or several with commas. */
static int by_read(const struct command_args *args, struct by *out)
{
    const char *text = args_text(args, "--by"), *at = text;

    for (bool more = true; more;) {
        size_t bytes = strcspn(at, ",");

        if (bytes == 7 && memcmp(at, "project", 7) == 0)
            out->flags |= ACCOUNT_BY_PROJECT;
        else if (bytes == 4 && memcmp(at, "hour", 4) == 0)
            out->flags |= ACCOUNT_BY_HOUR;
        else if (bytes == 4 && memcmp(at, "fate", 4) == 0)
            out->fates = true;
        else
            return args_wrong(args, "--by takes project, hour, fate, or several of them with commas, not \"%s\"", text), -1;
        more = at[bytes] == ',';
        at += bytes + more;
    }
    out->check = args_has(args, "--check");
    return 0;
}

/* What a line that does not add up is marked with. */
static const char *line_mark(const struct by *by, const struct account_line *line)
{
    if (line->difference == 0 && (!by->check || line->rows == line->stored))
        return "";
    return by->verdict == ACCOUNT_UNKNOWN ? "  <-- not known: not all of it could be looked at" : "  <-- does not add up";
}

/* --- names ------------------------------------------------------------------------------------- */

static const char *project_name(const struct by *by, uint32_t project)
{
    const struct catalog_project *found = by->names == NULL ? NULL : catalog_snapshot_project(by->names, project);

    return found != NULL ? found->name : project == 0 ? "not known" : project == PEOPLE_FATES_BEFORE ? "before" : "deleted";
}

static void hour_write(uint32_t hour, struct buf *out)
{
    if (hour == 0)
        buf_add_text(out, "older");
    else
        time_write_rfc3339(out, (int64_t)hour * TIME_US_HOUR);
}

/* --- a table ----------------------------------------------------------------------------------- */

static void head_print(const struct by *by, const struct account_line *line, const char *total)
{
    char       text[64];
    struct buf name;

    if (by->flags & ACCOUNT_BY_PROJECT) {
        if (total != NULL)
            printf("%-10s %-*s ", total, NAME_BYTES, "");
        else if (line->project == 0 || line->project == PEOPLE_FATES_BEFORE)
            printf("%-10s %-*s ", "", NAME_BYTES, project_name(by, line->project));
        else
            printf("%-10" PRIu32 " %-*.*s ", line->project, NAME_BYTES, NAME_BYTES, project_name(by, line->project));
    }
    if (by->flags & ACCOUNT_BY_HOUR) {
        buf_init_over(&name, text, sizeof text);
        if (total == NULL)
            hour_write(line->hour, &name);
        else if (by->flags == ACCOUNT_BY_HOUR)
            buf_add_text(&name, total);
        printf("%-20.*s ", SPAN_ARG(buf_span(&name)));
    }
}

static void line_print(const struct by *by, const struct account_line *line, const char *total)
{
    head_print(by, line, total);
    printf("%12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %10" PRId64, line->accepted,
           line->stored, line->dropped, line->deduplicated, line->dead_lettered, line->pending, line->difference);
    if (by->check)
        printf(" %12" PRIu64, line->rows);
    printf("%s\n", line_mark(by, line));
}

static void fate_print(const struct by *by, const struct account_line *line, const char *total, const char *name, uint64_t events,
                       const char *help)
{
    if (events == 0)
        return;
    head_print(by, line, total);
    printf("%-26s %12" PRIu64 "  %s\n", name, events, help);
}

static void fates_print(const struct by *by, const struct account_line *line, const char *total)
{
    for (int fate = 0; fate < FATE_COUNT; fate++) {
        uint64_t events = fate == FATE_STORED ? line->stored - line->fates[FATE_HEATMAP]
                          : fate == FATE_DEAD_LETTERED ? line->dead_lettered : line->fates[fate];

        fate_print(by, line, total, fate_info(fate)->name, events, fate_info(fate)->help);
    }
    fate_print(by, line, total, "pending", line->pending, "on its way");
}

static void line_add(struct account_line *sum, const struct account_line *line)
{
    sum->accepted += line->accepted;
    sum->stored += line->stored;
    sum->deduplicated += line->deduplicated;
    sum->dead_lettered += line->dead_lettered;
    sum->dropped += line->dropped;
    sum->pending += line->pending;
    sum->difference += line->difference;
    sum->rows += line->rows;
    for (int fate = 0; fate < FATE_COUNT; fate++)
        sum->fates[fate] += line->fates[fate];
}

static void table_print(const struct by *by)
{
    struct account_line sum = { .accepted = 0 };

    if (!by->fates) {
        if (by->flags & ACCOUNT_BY_PROJECT)
            printf("%-10s %-*s ", "project", NAME_BYTES, "");
        if (by->flags & ACCOUNT_BY_HOUR)
            printf("%-20s ", "accepted in hour");
        printf("%12s %12s %12s %12s %12s %12s %10s%s\n", "accepted", "= stored", "+ dropped", "+ dedupl.", "+ dead-lett.",
               "+ pending", "difference", by->check ? "  rows there" : "");
    }
    for (size_t i = 0; i < by->lines.count; i++) {
        if (by->fates)
            fates_print(by, &by->lines.at[i], NULL);
        else
            line_print(by, &by->lines.at[i], NULL);
        line_add(&sum, &by->lines.at[i]);
    }
    if (!by->fates && by->lines.count > 1)
        line_print(by, &sum, "all");
    if (by->lines.unplaced > 0)
        printf("\n%" PRIu64 " that were finished are not in the warehouse, and whose they are is not known; they stand as stored above "
               "(see: penstock dlq list --reason unreadable_row)\n", by->lines.unplaced);
    if (by->lines.not_looked_at > 0)
        printf("\n%" PRIu64 " more wait and could not be looked at; they are in no line as pending%s\n", by->lines.not_looked_at,
               by->verdict == ACCOUNT_UNKNOWN ? "; whether all adds up is not known" : "");
}

/* --- JSON -------------------------------------------------------------------------------------- */

static void line_json(const struct by *by, const struct account_line *line, struct buf *out)
{
    bool first = true;

    buf_add_text(out, "{");
    if (by->flags & ACCOUNT_BY_PROJECT) {
        if (line->project == 0 || line->project == PEOPLE_FATES_BEFORE)
            buf_add_text(out, "\"project\":null,\"name\":");
        else
            buf_add_format(out, "\"project\":%" PRIu32 ",\"name\":", line->project);
        json_write_string(out, span_text(project_name(by, line->project)));
        buf_add_text(out, ",");
    }
    if (by->flags & ACCOUNT_BY_HOUR) {
        buf_add_text(out, "\"hour\":\"");
        hour_write(line->hour, out);
        buf_add_text(out, "\",");
    }
    buf_add_format(out, "\"accepted\":%" PRIu64 ",\"stored\":%" PRIu64 ",\"deduplicated\":%" PRIu64 ",\"dead_lettered\":%" PRIu64
                   ",\"dropped\":{", line->accepted, line->stored, line->deduplicated, line->dead_lettered);
    for (int fate = 0; fate < FATE_COUNT; fate++)
        if (fate_info(fate)->class == FATE_CLASS_DROPPED && line->fates[fate] > 0) {
            buf_add_format(out, "%s\"%s\":%" PRIu64, first ? "" : ",", fate_info(fate)->name, line->fates[fate]);
            first = false;
        }
    buf_add_format(out, "},\"pending\":%" PRIu64 ",\"difference\":%" PRId64, line->pending, line->difference);
    if (by->check)
        buf_add_format(out, ",\"rows\":%" PRIu64, line->rows);
    buf_add_text(out, "}");
}

static int json_print(const struct by *by, struct err *err)
{
    static const char *const verdicts[] = { [ACCOUNT_RIGHT] = "right", [ACCOUNT_WRONG] = "wrong", [ACCOUNT_UNKNOWN] = "unknown" };
    struct buf out;
    int        rc = 0;

    buf_init(&out, OUT_BYTES_MAX);
    buf_add_text(&out, "{\"lines\":[");
    for (size_t i = 0; i < by->lines.count; i++) {
        buf_add_text(&out, i > 0 ? ",\n " : "\n ");
        line_json(by, &by->lines.at[i], &out);
    }
    buf_add_format(&out, "],\n \"unplaced\":%" PRIu64 ",\"not_looked_at\":%" PRIu64 ",\"verdict\":\"%s\"}\n", by->lines.unplaced,
                   by->lines.not_looked_at, verdicts[by->verdict]);
    if (out.failed)
        rc = err_set(err, ERR_FULL, "%zu lines are too many to print", by->lines.count);
    else
        command_print(&out);
    return rc;
}

/* --- the command ------------------------------------------------------------------------------- */

static int by_print(const struct command_args *args, struct by *by, struct arena *arena, struct err *err)
{
    struct err ignored = { .kind = ERR_NONE };

    if (account_lines_read(args_data(args), by->flags, by->check, arena, &by->lines, err) < 0)
        return -1;
    by->verdict = account_lines_judge(&by->lines, by->check);
    /* Names are a kindness: lines without them are still right. */
    if (command_catalog_of(args_data(args), &by->catalog, &ignored) < 0 || catalog_snapshot_load(by->catalog, &by->names, &ignored) < 0)
        by->names = NULL;
    if (args_has(args, "--json"))
        return json_print(by, err);
    table_print(by);
    return 0;
}

int status_by_run(const struct command_args *args)
{
    struct by     by = { .flags = 0 };
    struct arena *arena = arena_new(1 << 20, ARENA_BYTES_MAX);
    struct err    err = { .kind = ERR_NONE };
    int           code = EXIT_DONE;

    if (by_read(args, &by) < 0) {
        arena_free(arena);
        return EXIT_USAGE;
    }
    if (arena == NULL)
        (void)err_set(&err, ERR_FULL, "no memory");
    if (arena == NULL || by_print(args, &by, arena, &err) < 0) {
        code = command_failed(&err);
        if (err.kind == ERR_RETRY)
            code = EXIT_UNKNOWN; /* a store is away */
    } else if (by.verdict != ACCOUNT_RIGHT) {
        code = by.verdict == ACCOUNT_WRONG ? EXIT_FAILED : EXIT_UNKNOWN;
    }
    if (code == EXIT_UNKNOWN && err.kind == ERR_NONE)
        fprintf(stderr, "penstock: %" PRIu64 " records that wait could not be looked at, so whether all adds up is not known: ask again\n",
                by.lines.not_looked_at);
    catalog_snapshot_free(by.names);
    catalog_close(by.catalog);
    arena_free(arena);
    return code;
}
