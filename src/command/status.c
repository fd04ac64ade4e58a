/* command/status.c - penstock status: the equation of fates, the roles, the lanes, the disk. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/metric.h"
#include "command/account.h"
#include "command/command.h"
#include "command/roles.h"
#include "command/status_by.h"
#include "command/status_spool.h"
#include "command/supervisor.h"
#include "ingest/fate.h"
#include "wire/json.h"
#include "wire/time.h"

struct role_line {
    const char                  *name;
    struct supervisor_role_state state;
    uint64_t                     rss_bytes;
    uint64_t                     lag;
};

struct status {
    const char      *data;
    struct account   account;
    struct err       unknown;   /* why there is no account, which is zeros then: a store is away, or damaged */
    struct role_line roles[ROLES_MAX];
    uint64_t         disk_free_bytes, disk_bytes;
    char             url[LISTEN_URL_BYTES]; /* "": not running */
    char             urls[LISTEN_MAX][LISTEN_URL_BYTES];
    size_t           urls_count;
    bool             changed; /* there was a reload or an upgrade since the server started */
    struct supervisor_changed change;
    double           lane_age_s[INPUT_COUNT], low_rate; /* as ingest tells them; 0 when it is not there */
    double           further; /* likewise: messages of further topics (log.carry) in this machine's partitions */
    double           still_ingest, still_load; /* likewise: units of this machine that stand still */
};

static const enum input lanes[] = { INPUT_RAW, INPUT_HISTORICAL, INPUT_OVERFLOW };
enum { LANES = sizeof lanes / sizeof *lanes };

static void lanes_read(const char *data, struct status *out)
{
    struct err ignored = { .kind = ERR_NONE };
    char       run[4096], label[80];

    if (data_path(data, "run", run, sizeof run, &ignored) < 0)
        return;
    for (size_t i = 0; i < LANES; i++) {
        (void)snprintf(label, sizeof label, "topic=\"%s\"", input_topic(lanes[i]));
        if (out->account.lane_lag[lanes[i]] > 0)
            (void)metric_read(run, "ingest", "ingest_lag_seconds", label, &out->lane_age_s[lanes[i]]);
    }
    (void)metric_read(run, "ingest", "ingest_low_rate_records", "", &out->low_rate);
    (void)metric_read(run, "ingest", "ingest_further_lag_records", "", &out->further);
    (void)metric_read(run, "ingest", "ingest_units_still", "", &out->still_ingest);
    (void)metric_read(run, "load", "load_units_still", "", &out->still_load);
}

static void lanes_json(const struct status *status, struct buf *out)
{
    buf_add_text(out, ",\n \"lanes\":[");
    for (size_t i = 0; i < LANES; i++)
        buf_add_format(out, "%s{\"topic\":\"%s\",\"lag\":%" PRIu64 ",\"oldest_seconds\":%.0f}", i > 0 ? "," : "",
                       input_topic(lanes[i]), status->account.lane_lag[lanes[i]], status->lane_age_s[lanes[i]]);
    buf_add_format(out, "],\"low_rate\":%.0f,\"further_lag\":%.0f,\"units_still\":{\"ingest\":%.0f,\"load\":%.0f}", status->low_rate, status->further,
                   status->still_ingest, status->still_load);
}

/* Only when something waits aside: most have never heard of lanes. */
static void lanes_text(const struct status *status)
{
    const uint64_t *lag = status->account.lane_lag;

    if (lag[INPUT_HISTORICAL] == 0 && lag[INPUT_OVERFLOW] == 0)
        return;
    printf("\nlanes    %" PRIu64 " live, %" PRIu64 " imported and %" PRIu64 " of hot ids wait; the oldest %.0f, %.0f and %.0f s\n",
           lag[INPUT_RAW], lag[INPUT_HISTORICAL], lag[INPUT_OVERFLOW], status->lane_age_s[INPUT_RAW],
           status->lane_age_s[INPUT_HISTORICAL], status->lane_age_s[INPUT_OVERFLOW]);
    printf("         beside live events, up to %.0f a second of the others\n", status->low_rate);
}

/* Resident memory of a process; 0 when it is gone. */
static uint64_t process_rss_bytes(pid_t pid)
{
    char               path[64];
    unsigned long long pages = 0;
    FILE              *file;

    (void)snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%*u %llu", &pages) != 1)
        pages = 0;
    (void)fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int status_read(const char *data, struct status *out, struct err *err)
{
    struct statvfs disk;

    *out = (struct status){ .url = "" };
    if (account_read(data, &out->account, err) < 0) {
        if (err->kind != ERR_RETRY && err->kind != ERR_CORRUPT)
            return -1;
        out->unknown = *err; /* what the roles say of themselves is asked for most of all now */
        out->account = (struct account){ .held = out->account.held };
    }
    for (size_t i = 0; i < role_count; i++) {
        struct role_line *line = &out->roles[i];

        line->name = roles[i]->name;
        (void)supervisor_role_state(data, roles[i], &line->state);
        line->rss_bytes = line->state.up ? process_rss_bytes(line->state.pid) : 0;
        line->lag = strcmp(line->name, "ingest") == 0 ? out->account.ingest_lag
                    : strcmp(line->name, "load") == 0 ? out->account.load_lag : out->account.spooled;
    }
    for (size_t i = 0; i < role_count && !out->changed; i++)
        out->changed = supervisor_owner(data, roles[i]) != 0 && supervisor_changed(data, roles[i], &out->change);
    lanes_read(data, out);
    out->data = data;
    if (statvfs(data, &disk) == 0) {
        out->disk_free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
        out->disk_bytes = (uint64_t)disk.f_blocks * disk.f_frsize;
    }
    if (supervisor_owner(data, roles[0]) != 0) {
        out->urls_count = supervisor_urls(data, out->urls);
        (void)supervisor_url(data, out->url, sizeof out->url);
    }
    return 0;
}

static void account_json(const struct status *status, struct buf *out)
{
    const struct account *account = &status->account;
    bool                  first = true;

    if (status->unknown.kind != ERR_NONE) {
        buf_add_text(out, "{\"unknown\":");
        json_write_string(out, span_text(status->unknown.text));
        buf_add_text(out, ",\"accepted\":null,\"stored\":null,\"deduplicated\":null,\"dropped\":null,\"dead_lettered\":null,\"pending\":null");
        return;
    }
    buf_add_format(out, "{\"accepted\":%" PRIu64 ",\"stored\":%" PRIu64 ",\"deduplicated\":%" PRIu64 ",\"dropped\":{",
                   account->accepted, account->stored, account->deduplicated);
    for (int fate = 0; fate < FATE_COUNT; fate++)
        if (fate_info(fate)->class == FATE_CLASS_DROPPED && account->place.counters[fate] > 0) {
            buf_add_format(out, "%s\"%s\":%" PRIu64, first ? "" : ",", fate_info(fate)->name,
                           account->place.counters[fate]);
            first = false;
        }
    buf_add_format(out, "},\"dead_lettered\":%" PRIu64 ",\"pending\":%" PRIu64 ",\n \"dead_letters\":{\"open\":%" PRIu64
                   ",\"replayed\":%" PRIu64 ",\"discarded\":%" PRIu64 "}", account->dead_lettered,
                   account->pending, account->letters_open, account->letters_replayed, account->letters_discarded);
}

static void status_json(const struct status *status, struct buf *out)
{
    account_json(status, out);
    buf_add_text(out, ",\n \"url\":");
    json_write_string(out, span_text(status->url));
    buf_add_text(out, ",\"listen\":[");
    for (size_t i = 0; i < status->urls_count; i++) {
        buf_add_text(out, i > 0 ? "," : "");
        json_write_string(out, span_text(status->urls[i]));
    }
    buf_add_byte(out, ']');
    if (status->changed) {
        buf_add_format(out, ",\n \"change\":{\"kind\":\"%s\",\"ok\":%s,\"done\":%s,\"at\":\"", status->change.kind,
                       status->change.ok ? "true" : "false", status->change.ended == status->change.begun ? "true" : "false");
        time_write_rfc3339(out, status->change.at_us);
        buf_add_text(out, "\",\"text\":");
        json_write_string(out, span_text(status->change.text));
        buf_add_byte(out, '}');
    }
    buf_add_text(out, ",\n \"roles\":[");
    for (size_t i = 0; i < role_count; i++) {
        const struct role_line *line = &status->roles[i];

        buf_add_format(out, "%s{\"role\":\"%s\",\"up\":%s,\"pid\":%d,\"rss_bytes\":%" PRIu64 ",\"restarts\":%" PRIu64
                       ",\"lag\":%" PRIu64 ",\"since\":", i > 0 ? ",\n  " : "", line->name,
                       line->state.up ? "true" : "false", (int)line->state.pid, line->rss_bytes, line->state.restarts,
                       line->lag);
        if (line->state.since_us == 0) {
            buf_add_text(out, "null");
        } else {
            buf_add_text(out, "\"");
            time_write_rfc3339(out, line->state.since_us);
            buf_add_text(out, "\"");
        }
        buf_add_text(out, ",\"last_end\":");
        json_write_string(out, span_text(line->state.last));
        buf_add_text(out, "}");
    }
    buf_add_byte(out, ']');
    lanes_json(status, out);
    status_spool_json(status->data, out);
    buf_add_format(out, ",\n \"retention\":{\"held_segments\":%" PRIu64 ",\"held_bytes\":%" PRIu64 ",\"clock_jumped_seconds\":%" PRId64 "}",
                   status->account.held.segments, status->account.held.bytes, status->account.held.us / 1000000);
    buf_add_format(out, ",\n \"disk\":{\"free_bytes\":%" PRIu64 ",\"bytes\":%" PRIu64 "}}\n", status->disk_free_bytes,
                   status->disk_bytes);
}

static void account_text(const struct status *status)
{
    const struct account *account = &status->account;

    if (status->unknown.kind != ERR_NONE) {
        printf("events   cannot be counted now: %s\n\n", status->unknown.text);
        return;
    }
    printf("events   %" PRIu64 " accepted\n", account->accepted);
    printf("         %" PRIu64 " stored\n", account->stored);
    printf("         %" PRIu64 " deduplicated\n", account->deduplicated);
    printf("         %" PRIu64 " dropped\n", account->dropped);
    for (int fate = 0; fate < FATE_COUNT; fate++)
        if (fate_info(fate)->class == FATE_CLASS_DROPPED && account->place.counters[fate] > 0)
            printf("           %" PRIu64 " %s (%s)\n", account->place.counters[fate], fate_info(fate)->name,
                   fate_info(fate)->help);
    printf("         %" PRIu64 " dead-lettered\n", account->dead_lettered);
    if (account->dead_lettered > 0)
        printf("           %" PRIu64 " open, %" PRIu64 " replayed, %" PRIu64 " discarded (see: penstock dlq list)\n",
               account->letters_open, account->letters_replayed, account->letters_discarded);
    printf("         %" PRIu64 " pending\n\n", account->pending);
}

static void status_text(const struct status *status)
{
    int64_t now_us = clock_wall_us();

    account_text(status);
    for (size_t i = 0; i < status->urls_count; i++)
        printf("%s%s\n", i == 0 ? "server   " : "         ", status->urls[i]);
    printf(status->urls_count > 0 ? "\n" : "server   not running\n\n");
    if (status->changed && !status->change.ok)
        printf("the last %s %s: %s\n\n", status->change.kind,
               status->change.ended == status->change.begun ? "failed, the settings and binary of before serve" : "is under way",
               status->change.text);
    for (size_t i = 0; i < role_count; i++) {
        const struct role_line *line = &status->roles[i];

        if (line->state.up)
            printf("%-8s up for %" PRId64 " s, process %d, %" PRIu64 " MiB, %" PRIu64 " restarts, %" PRIu64
                   " events behind\n", line->name, (now_us - line->state.since_us) / 1000000, (int)line->state.pid,
                   line->rss_bytes >> 20, line->state.restarts, line->lag);
        else
            printf("%-8s down%s%s, %" PRIu64 " events behind\n", line->name, line->state.last[0] != '\0' ? ": " : "",
                   line->state.last, line->lag);
    }
    lanes_text(status);
    if (status->further > 0)
        printf("\nfurther  %.0f messages of the topics in log.carry wait in this machine's partitions of them\n", status->further);
    if (status->still_ingest + status->still_load > 0)
        printf("\nstill    %.0f units of ingest and %.0f of load on this machine have finished nothing for 30 s, though records may wait:\n"
               "         the log says which, and for what they wait\n", status->still_ingest, status->still_load);
    status_spool_text(status->data);
    if (status->account.held.segments > 0)
        printf("\nheld     %" PRIu64 " segments of the log (%" PRIu64 " MiB) are older than retention by the clock, which jumped %.1f hours forward:\n"
               "         they stay until this machine ran for as long as retention says, or `penstock retention confirm`\n",
               status->account.held.segments, status->account.held.bytes >> 20, (double)status->account.held.us / 3.6e9);
    printf("\ndisk     %.1f GiB free of %.1f\n", (double)status->disk_free_bytes / (1 << 30),
           (double)status->disk_bytes / (1 << 30));
}

int status_run(const struct command_args *args)
{
    struct status status;
    struct err    err = { .kind = ERR_NONE };
    struct buf    out;

    if (args_text(args, "--by") != NULL)
        return status_by_run(args);
    if (args_has(args, "--check"))
        return args_wrong(args, "--check goes with --by");
    if (status_read(args_data(args), &status, &err) < 0)
        return command_failed(&err);
    if (!args_has(args, "--json")) {
        status_text(&status);
    } else {
        buf_init(&out, 1 << 20);
        status_json(&status, &out);
        command_print(&out);
    }
    return status.unknown.kind == ERR_CORRUPT ? command_failed(&status.unknown) : EXIT_DONE;
}
