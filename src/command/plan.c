/* command/plan.c - what so many events a month need: machines, partitions, disks, network, money, and every number that it follows from.
 * An estimate to argue with, not a promise: what is assumed says so, and can be set. */
#include "command/command.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command/plan_costs.h"
#include "wire/json.h"

enum { FILE_BYTES_MAX = 1 << 20 };

static const char *const part_names[PLAN_PART_COUNT] = {
#define PART_NAME(suffix, name, what) [PLAN_PART_##suffix] = name,
    PLAN_PARTS(PART_NAME)
};

/* Whose costs are CPU time of this machine, when it was measured. */
static bool is_cpu(enum plan_number i)
{
    return strcmp(plan_numbers[i].unit, "us") == 0;
}

/* --- numbers ----------------------------------------------------------------------------------- */

struct numbers {
    double      value[PLAN_NUMBER_COUNT];
    const char *source[PLAN_NUMBER_COUNT];
};

static int number_set(struct numbers *numbers, struct span name, double value, const char *source, struct err *err)
{
    for (int i = 0; i < PLAN_NUMBER_COUNT; i++)
        if (span_is(name, plan_numbers[i].name)) {
            if (!(value >= 0) || value > 1e18 || (value == 0 && i != PLAN_query_cores) || (i == PLAN_query_cores && value >= 1))
                return err_set(err, ERR_INPUT, "%s: %g is no number that can be reckoned with", plan_numbers[i].name, value);
            numbers->value[i] = value;
            numbers->source[i] = source;
            return 0;
        }
    return err_set(err, ERR_INPUT, "there is no number \"%.*s\"; `penstock plan --events-per-month 1000000` prints all of them", SPAN_ARG(name));
}

/* {"name": number, ...} */
static int costs_read(const char *path, struct numbers *numbers, struct err *err)
{
    struct json_reader reader;
    struct json_value  key, value;
    struct buf         text;
    int                more = -1, rc;

    buf_init(&text, FILE_BYTES_MAX);
    rc = file_read(path, &text, err);
    if (rc == 0) {
        json_reader_init(&reader, buf_span(&text), 0);
        if (json_object_enter(&reader) == 0)
            while (rc == 0 && (more = json_object_next(&reader, &key)) > 0) {
                if (json_skip(&reader, &value) < 0) {
                    more = -1;
                    break;
                }
                rc = value.kind == JSON_NUMBER ? number_set(numbers, span_of(key.raw.at + 1, key.raw.bytes - 2), json_double(&value), path, err)
                                               : err_set(err, ERR_INPUT, "%.*s is no number", SPAN_ARG(key.raw));
            }
        if (rc == 0 && (more < 0 || json_finish(&reader) < 0))
            rc = json_explain(&reader, err);
        if (rc < 0)
            (void)err_wrap(err, path);
    }
    buf_fini(&text);
    return rc;
}

static int flag_number(const struct command_args *args, const char *flag, const char *name, struct numbers *numbers, struct err *err)
{
    const char *text = args_text(args, flag);
    char       *end;
    double      value;

    if (text == NULL)
        return 0;
    value = strtod(text, &end);
    if (end == text || *end != '\0')
        return err_set(err, ERR_INPUT, "%s: \"%s\" is no number", flag, text);
    return number_set(numbers, span_text(name), value, "given", err);
}

static int numbers_read(const struct command_args *args, struct numbers *numbers, double *factor, struct err *err)
{
    *factor = 1;
    for (int i = 0; i < PLAN_NUMBER_COUNT; i++) {
        numbers->value[i] = plan_numbers[i].usual;
        numbers->source[i] = plan_numbers[i].source;
    }
    if (args_text(args, "--costs") != NULL && costs_read(args_text(args, "--costs"), numbers, err) < 0)
        return -1;
    if (args_has(args, "--measure")) {
        *factor = plan_measure();
        if (*factor <= 0)
            return err_set(err, ERR_RETRY, "this machine could not be measured");
        for (int i = 0; i < PLAN_NUMBER_COUNT; i++)
            if (is_cpu((enum plan_number)i))
                numbers->value[i] *= *factor;
    }
    for (size_t i = 0; args_text_nth(args, "--set", i) != NULL; i++) {
        const char *text = args_text_nth(args, "--set", i), *equals = strchr(text, '=');
        char       *end = NULL;
        double      value = equals == NULL ? 0 : strtod(equals + 1, &end);

        if (equals == NULL || end == equals + 1 || *end != '\0')
            return err_set(err, ERR_INPUT, "--set: \"%s\" is not NAME=NUMBER", text);
        if (number_set(numbers, span_of(text, (size_t)(equals - text)), value, "given", err) < 0)
            return -1;
    }
    return flag_number(args, "--event-bytes", "event_bytes", numbers, err) < 0 || flag_number(args, "--retention-days", "retention_days", numbers, err) < 0
               ? -1 : 0;
}

/* What follows from the size of an event, unless it was said itself. */
static void sizes_follow(struct numbers *numbers)
{
    static const enum plan_number sizes[] = { PLAN_raw_bytes, PLAN_row_bytes, PLAN_wire_bytes, PLAN_stored_bytes };
    double                        times = numbers->value[PLAN_event_bytes] / plan_numbers[PLAN_event_bytes].usual;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && times != 1; i++)
        if (numbers->source[sizes[i]] == plan_numbers[sizes[i]].source) {
            numbers->value[sizes[i]] *= times;
            numbers->source[sizes[i]] = "follows from event_bytes";
        }
}

/* --- telling ----------------------------------------------------------------------------------- */

/* 1234567 as 1,234,567. */
static const char *grouped(double value, char to[40])
{
    char plain[32];
    int  bytes = snprintf(plain, sizeof plain, "%.0f", value), at = 0;

    for (int i = 0; i < bytes && i < 30; i++) {
        if (i > 0 && (bytes - i) % 3 == 0 && plain[i - 1] != '-')
            to[at++] = ',';
        to[at++] = plain[i];
    }
    to[at] = '\0';
    return to;
}

static void tell_text(const struct plan *plan, const struct numbers *numbers, double factor)
{
    char     one[40], two[40], three[40];
    uint64_t machines = 0;

    printf("%s events a month: %s a second on average, %s in the busiest hour\n\n", grouped(plan->events_per_month, one), grouped(plan->rate, two),
           grouped(plan->peak, three));
    printf("%-11s %9s %12s %12s %10s %10s %9s\n", "", "machines", "busy cores", "disk TB", "in Gbit/s", "out Gbit/s", "because");
    for (int i = 0; i < PLAN_PART_COUNT; i++) {
        const struct plan_part_need *need = &plan->parts[i];

        machines += need->machines;
        printf("%-11s %9llu %12.2f %12.2f %10.3f %10.3f %9s\n", part_names[i], (unsigned long long)need->machines, need->cores, need->disk_bytes / 1e12,
               need->in_bits / 1e9, need->out_bits / 1e9, need->because);
    }
    printf("%-11s %9llu of %.0f cores each; busy cores are those of the peak with all zones there\n\n", "all", (unsigned long long)machines,
           numbers->value[PLAN_machine_cores]);
    printf("partitions: %llu of each topic (one does %s events a second as planned)\n", (unsigned long long)plan->partitions, grouped(plan->unit_rate, one));
    printf("after an hour away: caught up within %.2f h, beside average traffic\n\n", plan->catch_up);
    printf("a year: machines $%s, disks $%s, traffic between zones $%s (%.1f TB)", grouped(plan->machine_cost, one), grouped(plan->disk_cost, two),
           grouped(plan->traffic_cost, three), plan->traffic_bytes / 1e12);
    printf(", together $%s; ", grouped(plan->machine_cost + plan->disk_cost + plan->traffic_cost, one));
    printf("a million events $%.4f\n\n", (plan->machine_cost + plan->disk_cost + plan->traffic_cost) / (plan->events_per_month * 12) * 1e6);
    if (factor != 1)
        printf("this machine takes %.2f times as long as that of the measurements: CPU costs are multiplied by it\n\n", factor);
    printf("reckoned with (--set NAME=VALUE):\n");
    for (int i = 0; i < PLAN_NUMBER_COUNT; i++)
        printf("  %-19s %14.6g %-6s %s [%s]\n", plan_numbers[i].name, numbers->value[i], plan_numbers[i].unit, plan_numbers[i].what, numbers->source[i]);
}

static void tell_json(const struct plan *plan, const struct numbers *numbers, double factor)
{
    printf("{\"events_per_month\":%.0f,\"events_per_second\":%.3f,\"events_per_second_peak\":%.3f,\"partitions\":%llu,\"partition_events_per_second\":%.1f,"
           "\"catch_up_hours\":%.4f,\"parts\":[", plan->events_per_month, plan->rate, plan->peak, (unsigned long long)plan->partitions, plan->unit_rate,
           isfinite(plan->catch_up) ? plan->catch_up : -1);
    for (int i = 0; i < PLAN_PART_COUNT; i++) {
        const struct plan_part_need *need = &plan->parts[i];

        printf("%s{\"name\":\"%s\",\"machines\":%llu,\"cores\":%.4f,\"disk_bytes\":%.0f,\"in_bits\":%.0f,\"out_bits\":%.0f,"
               "\"because\":\"%s\"}", i == 0 ? "" : ",", part_names[i], (unsigned long long)need->machines, need->cores, need->disk_bytes,
               need->in_bits, need->out_bits, need->because);
    }
    printf("],\"year\":{\"machines\":%.0f,\"disks\":%.0f,\"traffic\":%.0f,\"traffic_bytes\":%.0f},\"machine_factor\":%.4f,\"numbers\":{", plan->machine_cost,
           plan->disk_cost, plan->traffic_cost, plan->traffic_bytes, factor);
    for (int i = 0; i < PLAN_NUMBER_COUNT; i++) {
        struct buf source;

        buf_init(&source, 4096);
        json_write_string(&source, span_text(numbers->source[i]));
        printf("%s\"%s\":{\"value\":%.10g,\"unit\":\"%s\",\"source\":%.*s}", i == 0 ? "" : ",", plan_numbers[i].name, numbers->value[i], plan_numbers[i].unit,
               (int)source.bytes, (const char *)source.at);
        buf_fini(&source);
    }
    printf("}}\n");
}

int plan_run(const struct command_args *args)
{
    const char    *events = args_text(args, "--events-per-month");
    struct numbers numbers;
    struct plan    plan;
    struct err     err = { 0 };
    double         factor, wanted;
    char          *end;

    if (events == NULL)
        return args_wrong(args, "--events-per-month N: how many there are; 5e9 is a number, too");
    wanted = strtod(events, &end);
    if (end == events || *end != '\0' || !(wanted >= 1) || wanted > 1e15)
        return args_wrong(args, "--events-per-month: \"%s\" is no number from 1 to 1e15", events);
    if (numbers_read(args, &numbers, &factor, &err) < 0)
        return command_failed(&err);
    sizes_follow(&numbers);
    plan_make(wanted, numbers.value, &plan);
    if (args_has(args, "--json"))
        tell_json(&plan, &numbers, factor);
    else
        tell_text(&plan, &numbers, factor);
    return EXIT_DONE;
}
