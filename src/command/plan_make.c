/* command/plan_make.c - the arithmetic of plan.h, and nothing else, so that each line can be followed by hand (docs/scale.md does). */
#include "command/plan_costs.h"

#include <math.h>
#include <string.h>

#define PLAN_INFO(name, value, unit, what, source) { #name, unit, what, source, value },
const struct plan_number_info plan_numbers[PLAN_NUMBER_COUNT] = { PLAN_NUMBERS(PLAN_INFO) };

#define N(name) number[PLAN_##name]

static const double MONTH_S = 365.25 * 86400 / 12, DAY_S = 86400, YEAR_S = 365.25 * 86400;
static const double DISK_SHARE = 0.7, NET_SHARE = 0.5;

/* All of the peak in all zones but one, and cores no busier than planned for. */
static double cores_planned(const double *number, double cores)
{
    double others = N(zones) > 1 ? N(zones) / (N(zones) - 1) : 1;

    return cores / N(cpu_share) * others;
}

static void machines_set(const double *number, double disk_each, uint64_t least, struct plan_part_need *need)
{
    double by_cores = cores_planned(number, need->cores) / N(machine_cores), by_disk = disk_each > 0 ? need->disk_bytes / (disk_each * DISK_SHARE) : 0;
    double by_net = fmax(need->in_bits, need->out_bits) / (N(machine_net) * NET_SHARE), most = fmax(by_cores, fmax(by_disk, by_net));

    need->because = most == by_cores ? "cores" : most == by_disk ? "disk" : "network";
    need->machines = (uint64_t)ceil(most);
    if (need->machines < least) {
        need->machines = least;
        need->because = "zones";
    }
}

static void parts_make(const double *number, struct plan *plan)
{
    struct plan_part_need *part = plan->parts;
    double                 peak = plan->peak, us = peak / 1e6, kept = plan->rate * DAY_S, both = N(raw_bytes) + N(row_bytes);
    uint64_t               zones = (uint64_t)N(zones);

    part[PLAN_PART_CAPTURE] = (struct plan_part_need){ .cores = us * (N(capture_us) + N(kafka_write_us)), .in_bits = peak * N(wire_bytes) * 8,
                                                       .out_bits = peak * N(raw_bytes) * 8 };
    /* Every event passes twice: accepted, and as rows. A leader writes and its followers fetch and write; one reader each. */
    part[PLAN_PART_BROKER] = (struct plan_part_need){
        .cores = us * 2 * (N(broker_write_us) * N(log_copies) + N(broker_read_us) * N(log_copies)),
        .disk_bytes = kept * N(log_days) * both * N(log_copies),
        .in_bits = peak * both * N(log_copies) * 8, .out_bits = peak * both * N(log_copies) * 8,
    };
    part[PLAN_PART_INGEST] = (struct plan_part_need){ .cores = us * (N(ingest_us) + N(ingest_postgres_us) + N(kafka_read_us) + N(kafka_write_us)),
                                                      .in_bits = peak * N(raw_bytes) * 8, .out_bits = peak * N(row_bytes) * 8 };
    part[PLAN_PART_POSTGRES] = (struct plan_part_need){
        .cores = us * (N(changed) * N(postgres_us) + N(seen_us)),
        .disk_bytes = (plan->events_per_month / N(events_per_person) * N(person_bytes) + kept * N(seen_days) * N(seen_bytes)) * N(postgres_copies),
        .in_bits = peak * (N(changed) * N(person_bytes) / 2 + N(seen_bytes)) * 8,
    };
    part[PLAN_PART_LOAD] = (struct plan_part_need){ .cores = us * (N(load_us) + N(kafka_read_us)), .in_bits = peak * N(row_bytes) * 8,
                                                    .out_bits = peak * N(row_bytes) * 8 };
    part[PLAN_PART_WAREHOUSE] = (struct plan_part_need){
        .cores = us * N(warehouse_us) * N(warehouse_copies) / (1 - N(query_cores)),
        .disk_bytes = kept * N(retention_days) * N(stored_bytes) * N(warehouse_copies),
        .in_bits = peak * N(row_bytes) * N(warehouse_copies) * 8,
    };
    machines_set(number, 0, zones > 1 ? 2 : 1, &part[PLAN_PART_CAPTURE]);
    machines_set(number, N(machine_disk), zones > 1 ? zones : 1, &part[PLAN_PART_BROKER]);
    machines_set(number, 0, zones > 1 ? 2 : 1, &part[PLAN_PART_INGEST]);
    machines_set(number, N(machine_disk), (uint64_t)N(postgres_copies), &part[PLAN_PART_POSTGRES]);
    machines_set(number, 0, zones > 1 ? 2 : 1, &part[PLAN_PART_LOAD]);
    machines_set(number, N(warehouse_disk), (uint64_t)N(warehouse_copies), &part[PLAN_PART_WAREHOUSE]);
}

/* A partition has one owner whose order is one thread's: so many are needed that the peak, and what is behind, fit. */
static void partitions_make(const double *number, struct plan *plan)
{
    double needed;

    plan->unit_rate = 1e6 / N(ingest_order_us) * N(cpu_share);
    needed = fmax(plan->peak, plan->rate * (1 + 1 / N(catch_up_hours))) / plan->unit_rate;
    plan->partitions = (uint64_t)fmax(8, ceil(needed));
    if (plan->partitions < 2 * plan->parts[PLAN_PART_INGEST].machines) /* so that one machine's share can be parted when it leaves */
        plan->partitions = 2 * plan->parts[PLAN_PART_INGEST].machines;
    while (plan->partitions % 8 != 0)
        plan->partitions++;
}

static void catch_up_make(const double *number, struct plan *plan)
{
    const struct plan_part_need *ingest = &plan->parts[PLAN_PART_INGEST];
    double                       us = ingest->cores / plan->peak * 1e6;
    double                       by_cores = (double)ingest->machines * N(machine_cores) * 0.9 / us * 1e6;
    double                       by_units = (double)plan->partitions * 1e6 / N(ingest_order_us) * 0.9;
    double                       spare = fmin(by_cores, by_units) - plan->rate;

    plan->catch_up = spare > 0 ? plan->rate / spare : INFINITY;
}

static void costs_make(const double *number, struct plan *plan)
{
    double both = N(raw_bytes) + N(row_bytes), away = N(zones) > 1 ? (N(zones) - 1) / N(zones) : 0;

    for (int i = 0; i < PLAN_PART_COUNT; i++) {
        plan->machine_cost += (double)plan->parts[i].machines * N(machine_cores) * N(core_year);
        plan->disk_cost += plan->parts[i].disk_bytes / DISK_SHARE / 1e9 * N(disk_year);
    }
    /* Writers and readers meet leaders of other zones; followers, and the warehouse's copies, are in other zones. */
    plan->traffic_bytes = plan->rate * YEAR_S * (both * (2 * away + N(log_copies) - 1) + N(row_bytes) * (away + N(warehouse_copies) - 1));
    if (N(zones) <= 1)
        plan->traffic_bytes = 0;
    plan->traffic_cost = plan->traffic_bytes / 1e9 * N(zone_traffic);
}

void plan_make(double events_per_month, const double *number, struct plan *out)
{
    memset(out, 0, sizeof *out);
    out->events_per_month = events_per_month;
    out->rate = events_per_month / MONTH_S;
    out->peak = out->rate * N(peak_factor);
    parts_make(number, out);
    partitions_make(number, out);
    catch_up_make(number, out);
    costs_make(number, out);
}
