/* command/plan_costs.h - what `penstock plan` reckons with: every number that it multiplies, with where it comes from.
 *
 * A number's source is a file of bench/results, a page of docs/, or the word "assumed": then nobody measured it, and whoever has a better
 * one says so (--set NAME=VALUE, --costs FILE). CPU costs are microseconds of one virtual core (Intel Xeon, Sapphire Rapids) an event. */
#ifndef PENSTOCK_COMMAND_PLAN_COSTS_H
#define PENSTOCK_COMMAND_PLAN_COSTS_H

#include <stdint.h>

#define R_KAFKA "bench/results/2026-11-21-kafka.md"
#define R_STORES "bench/results/2026-11-22-cluster-stores.md"
#define R_TEN "bench/results/2026-11-22-ten-minutes.md"

/* X(name, value, unit, what it is, source) */
#define PLAN_NUMBERS(X)                                                                                                            \
    X(event_bytes, 1100, "bytes", "an event as it is sent, unpacked", "bench/bodies.py: page views of a browser's SDK")            \
    X(peak_factor, 3, "x", "the busiest hour, of the average one", "assumed: sites of one continent; measure yours")               \
    X(cpu_share, 0.5, "of 1", "of a core that is planned for: the rest is for minutes above the hour's mean", "assumed")           \
    X(zones, 3, "", "places that fail apart; all of the peak is served by all but one", "assumed: what clouds have")               \
    X(catch_up_hours, 1, "h", "after an hour away all is caught up within so much, beside an average hour", "assumed")             \
    X(capture_us, 2.7, "us", "capture: requests of many events in gzip, checked", R_TEN ": 3.7 with Kafka's client, the next line") \
    X(kafka_write_us, 1.0, "us", "Kafka's client, writing frames", R_KAFKA)                                                        \
    X(kafka_read_us, 0.3, "us", "Kafka's client, reading frames", R_KAFKA)                                                         \
    X(broker_write_us, 3.5, "us", "broker: frames in, one copy", R_TEN ": 7.9 for two writes and two reads")                       \
    X(broker_read_us, 0.5, "us", "broker: frames out, to a follower or a reader", R_KAFKA)                                         \
    X(ingest_us, 12.1, "us", "ingest: 1.1 million persons, ten minutes at 50,000/s", R_TEN)                                        \
    X(ingest_postgres_us, 1, "us", "ingest: more, when persons are in PostgreSQL", R_STORES ": 1.0 for known persons, 4.0 where a fifth is new") \
    X(ingest_order_us, 6, "us", "ingest: of one event in the one thread of a partition that keeps the order (with LMDB)", "docs/performance.md") \
    X(changed, 0.1, "of 1", "events that change a person, an id or a group", "assumed: most events of a known visitor change nothing") \
    X(postgres_us, 44, "us", "PostgreSQL: one person that is made, with its log and its vacuum; one that is changed is cheaper",   \
      R_STORES ": 38 without vacuum, which is 2.7 a row, and two rows, in 2026-11-22-ten-minutes.md")                              \
    X(seen_us, 3.5, "us", "PostgreSQL: one event of a known person, its id noted", R_STORES)                                       \
    X(load_us, 3.5, "us", "load: rows to ClickHouse", R_TEN ": 3.8 with reading them")                                             \
    X(warehouse_us, 32.4, "us", "ClickHouse: one row inserted and merged until it is in one part", R_TEN ": 20.5, and 11.9 for the last merges") \
    X(query_cores, 0.5, "of 1", "of ClickHouse's cores besides, for people's queries", "assumed")                                  \
    X(raw_bytes, 410, "bytes", "an accepted event in frames, LZ4", R_TEN)                                                          \
    X(row_bytes, 815, "bytes", "its rows in frames, with those of persons", R_TEN ": 772 and 43")                                  \
    X(wire_bytes, 210, "bytes", "an event on its way in, gzip, of a batch of 100", R_TEN)                                          \
    X(stored_bytes, 300, "bytes", "its row in the warehouse, with those of persons", R_TEN ": 263; persons 28 in 2026-11-22-whole-way.md") \
    X(person_bytes, 3500, "bytes", "a person, its ids, their indexes in PostgreSQL", R_STORES ": 1,820 at first, as much again for dead rows") \
    X(seen_bytes, 32, "bytes", "an event's id in PostgreSQL", R_STORES)                                                            \
    X(seen_days, 28, "d", "how long ids are kept", "docs/limits.md")                                                               \
    X(events_per_person, 50, "", "a month", "assumed")                                                                             \
    X(retention_days, 365, "d", "of rows in the warehouse", "assumed")                                                             \
    X(log_days, 3, "d", "of topics", "assumed: a weekend")                                                                         \
    X(log_copies, 3, "", "of topics: acks=all, two in sync", "docs/config.md, log.replication")                                    \
    X(warehouse_copies, 2, "", "of the warehouse's tables", "assumed")                                                             \
    X(postgres_copies, 2, "", "a primary and a standby", "assumed")                                                                \
    X(machine_cores, 16, "", "of a machine", "assumed")                                                                            \
    X(machine_net, 10e9, "bit/s", "of a machine, of which a half is planned for", "assumed")                                       \
    X(machine_disk, 4e12, "bytes", "of a broker's or PostgreSQL's machine, of which 70 % are planned for", "assumed")              \
    X(warehouse_disk, 16e12, "bytes", "of a machine of ClickHouse, of which 70 % are planned for", "assumed")                      \
    X(core_year, 350, "$", "a virtual core with 4 GiB, a year", "assumed: 0.04 an hour, a public cloud's price on demand, 2026")   \
    X(disk_year, 0.96, "$/GB", "a gigabyte of disk, a year", "assumed: 0.08 a month")                                              \
    X(zone_traffic, 0.01, "$/GB", "a gigabyte from zone to zone", "assumed: a public cloud's price, 2026")
#define PLAN_ENUM(name, value, unit, what, source) PLAN_##name,
enum plan_number { PLAN_NUMBERS(PLAN_ENUM) PLAN_NUMBER_COUNT };

struct plan_number_info { const char *name, *unit, *what, *source; double usual; };
extern const struct plan_number_info plan_numbers[PLAN_NUMBER_COUNT];

/* X(suffix, name, what runs there) */
#define PLAN_PARTS(X)                                                                       \
    X(CAPTURE, "capture", "HTTP in, events out")                                                                                   \
    X(BROKER, "brokers", "Apache Kafka")                                                                                           \
    X(INGEST, "ingest", "persons, groups, rows")                                                                                   \
    X(POSTGRES, "PostgreSQL", "persons, ids, seen ids; parted by project when there are several")                                  \
    X(LOAD, "load", "rows into the warehouse")                                                                                     \
    X(WAREHOUSE, "ClickHouse", "shards times copies")
#define PLAN_PART_ENUM(suffix, name, what) PLAN_PART_##suffix,
enum plan_part { PLAN_PARTS(PLAN_PART_ENUM) PLAN_PART_COUNT };

struct plan_part_need {
    double   cores;      /* busy at the peak, all zones there */
    double   disk_bytes; /* of all copies */
    double   in_bits, out_bits; /* a second, at the peak */
    uint64_t machines;
    const char *because; /* what the machines follow from: cores, disk, net, zones */
};

struct plan {
    double                events_per_month, rate, peak; /* a second */
    double                unit_rate;  /* events a second that one partition's ingest can do */
    uint64_t              partitions;
    double                catch_up;   /* hours, after one away, with what is planned */
    struct plan_part_need parts[PLAN_PART_COUNT];
    double                machine_cost, disk_cost, traffic_cost; /* a year */
    double                traffic_bytes; /* from zone to zone, a year */
};

/* number has PLAN_NUMBER_COUNT. Pure. */
void plan_make(double events_per_month, const double *number, struct plan *out);

/* How many times longer than on the machine of bench/results this one takes for a piece of an event's work: events turned to messages
 * and back, the quickest of many rounds. 0: it cannot be measured. Takes less than a second. */
double plan_measure(void);

#endif
