#!/usr/bin/env python3
"""What an event takes and costs on a cluster, from HTTP to ClickHouse: `./dev bench cluster [--events N] [--persons N] [--warm N] [--json]`.

The traffic of bench/pipeline.py (unique page views in batches of 100, gzip; new persons, changed ones, merges), all roles on this
machine over one real broker, PostgreSQL and ClickHouse's engine (tests/parts). Printed: the CPU of each role and of each server at
rest; what it takes an event, and how much of that is beyond rest (a small cluster is mostly at rest); the
bytes of an event on the wire, in the topics, and in ClickHouse as it came and when everything is merged; of a person in
PostgreSQL; and what is still to do when all rows are there: the engine's last merges (OPTIMIZE FINAL), and the vacuum of the tables
of persons. `penstock plan` reckons with these."""
import argparse
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "tests", "parts"))
import machine
import parts

PARTITIONS, CONNECTIONS, BATCH, DATABASE = 2, 16, 100, "bench"
SETTLE_SECONDS, REST_SECONDS = 20, 10 # a broker that has just begun is still compiling
PERSONS = ("posthog_person", "posthog_persondistinctid")


def cpu(pid):
    """With those of its children that have ended: PostgreSQL's vacuum has a process of its own."""
    with open("/proc/%d/stat" % pid) as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return sum(int(ticks) for ticks in fields[11:15]) / machine.TICKS


class Servers:
    def __init__(self, up):
        self.up = up

    def cpu(self):
        postgres = self.up["postgres"].everything()
        return {"broker": self.up["kafka"].cpu_seconds(), "ClickHouse": cpu(self.up["clickhouse"].process.pid),
                "PostgreSQL": sum(machine.cpu_seconds([pid]) for pid in postgres[1:]) + cpu(postgres[0])}

    def rows(self):
        found = self.up["clickhouse"].ask("SELECT count() FROM system.tables WHERE database = '%s' AND name = 'events'" % DATABASE)
        return int(self.up["clickhouse"].ask("SELECT count() FROM %s.events" % DATABASE)) if int(found) else 0

    def stored(self):
        """table -> (bytes, rows, parts) of what ClickHouse has."""
        told = self.up["clickhouse"].ask("SELECT table, sum(bytes_on_disk), sum(rows), count() FROM system.parts "
                                         "WHERE active AND database = '%s' GROUP BY table FORMAT TabSeparated" % DATABASE)
        return {name: tuple(int(n) for n in rest) for name, *rest in (line.split("\t") for line in told.splitlines())}

    def topics(self):
        """topic -> bytes at the broker."""
        found, folder = {}, self.up["kafka"].path("1", "data")
        for name in os.listdir(folder):
            if name.startswith(DATABASE + "_"):
                topic = name[len(DATABASE) + 1:].rpartition("-")[0]
                found[topic] = found.get(topic, 0) + sum(
                    os.path.getsize(os.path.join(folder, name, file)) for file in os.listdir(os.path.join(folder, name)) if file.endswith(".log"))
        return found

    def persons(self):
        """Bytes of the tables of persons with their indexes, and how many there are of each."""
        ask = self.up["postgres"].sql
        return {name: tuple(int(n) for n in ask("SELECT pg_total_relation_size('%s'), count(*) FROM %s" % (name, name), "bench").split("|"))
                for name in PERSONS}


def configuration(up, persons_url):
    return ("log: {backend: kafka, brokers: [%s], partitions: %d, replication: 1, topic_prefix: %s_}\n"
            "people: {backend: postgres, url: \"%s\"}\ncatalog: {backend: postgres, url: \"%s\"}\n"
            "warehouse: {backend: clickhouse, url: \"%s\", database: %s}\ningest: {geoip_folder: \"off\"}\n"
            % (up.env["PENSTOCK_TEST_KAFKA"], PARTITIONS, DATABASE, persons_url, persons_url, up.env["PENSTOCK_TEST_CLICKHOUSE"], DATABASE))


def start(folder, up):
    up["postgres"].sql("CREATE DATABASE bench")
    data = os.path.join(folder, "data")
    os.makedirs(data)
    with open(os.path.join(data, "penstock.yaml"), "w") as out:
        out.write(configuration(up, up.env["PENSTOCK_TEST_POSTGRES"].rsplit("/", 1)[0] + "/bench"))
    return machine.start_penstock(folder, core=None, seconds=60)


def send(server, folder, args, events, fresh):
    run = subprocess.run([os.path.join(machine.BUILD, "bench", "load"), "-z", "-p", str(args.persons), "-f", str(fresh), "-n", str(events),
                          str(server.port), "/batch/", os.path.join(folder, "mix.bodies"), str(BATCH), str(CONNECTIONS), "600", str(args.rate)],
                         check=True, capture_output=True, text=True)
    return json.loads(run.stdout)


def wait_rows(servers, rows, seconds):
    end = time.time() + seconds
    while servers.rows() < rows:
        if time.time() > end:
            raise SystemExit("%d rows of %d after %d s" % (servers.rows(), rows, seconds))
        time.sleep(0.3)


class Spent:
    """CPU seconds and time since it was made, of all roles and servers."""

    def __init__(self, servers, server):
        self.servers, self.roles = servers, {name: pid for pid, name in machine.children(server.process.pid).items() if name in machine.ROLES}
        self.began, self.before = time.time(), self.now()

    def now(self):
        return {**{name: cpu(self.roles[name]) for name in machine.ROLES}, **self.servers.cpu()}

    def told(self):
        return {name: after - self.before[name] for name, after in self.now().items()}, time.time() - self.began


def measure(servers, server, folder, args):
    time.sleep(SETTLE_SECONDS)
    before = send(server, folder, args, args.warm, 0)["events"] if args.warm > 0 else 0
    wait_rows(servers, before, 600)
    spent = Spent(servers, server)
    time.sleep(REST_SECONDS)
    rest, took = spent.told()
    rest = {name: seconds / took for name, seconds in rest.items()}
    spent = Spent(servers, server)
    load = send(server, folder, args, args.events, args.fresh)
    wait_rows(servers, before + load["events"], 600)
    busy, took = spent.told()
    per_event = 1e6 / load["events"]
    out = {"events": load["events"], "refused": load["refused"], "rate": load["events"] / took, "wire_bytes": load["sent_bytes"] / load["events"],
           "rest_ms": {name: 1e3 * share for name, share in rest.items()}, "cpu_us": {name: seconds * per_event for name, seconds in busy.items()},
           "beyond_us": {name: (seconds - rest[name] * took) * per_event for name, seconds in busy.items()}}
    out["topic_bytes"] = {name: size / (before + load["events"]) for name, size in sorted(servers.topics().items()) if size}
    out["stored"] = {name: {"bytes": size, "rows": rows, "parts": count} for name, (size, rows, count) in servers.stored().items()}
    before = servers.cpu()["ClickHouse"]
    for name in out["stored"]:
        servers.up["clickhouse"].ask("OPTIMIZE TABLE %s.%s FINAL" % (DATABASE, name))
    out["last_merges_us"] = (servers.cpu()["ClickHouse"] - before) * per_event
    out["merged"] = {name: {"bytes": size, "rows": rows} for name, (size, rows, _) in servers.stored().items()}
    out["persons"] = {name: {"bytes": size, "rows": rows} for name, (size, rows) in servers.persons().items()}
    ask = servers.up["postgres"].sql
    out["dead_rows"] = {name: int(ask("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = '%s'" % name, "bench")) for name in PERSONS}
    out["written_rows"] = {name: int(ask("SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = '%s'" % name, "bench"))
                           for name in PERSONS}
    before = servers.cpu()["PostgreSQL"]
    for name in PERSONS:
        ask("VACUUM ANALYZE %s" % name, "bench")
    out["vacuum_us"] = (servers.cpu()["PostgreSQL"] - before) * per_event
    return out


def tell(out):
    events, merged = out["events"], out["merged"]
    print("%s events at %s/s; %s" % (format(events, ","), format(round(out["rate"]), ","), machine.machine_text()))
    print("| | " + " | ".join(out["cpu_us"]) + " | all |\n|---|" + "---:|" * (len(out["cpu_us"]) + 1))
    for what, figures in (("at rest, CPU-ms a second", "rest_ms"), ("CPU-s per M events", "cpu_us"), ("of it beyond rest", "beyond_us")):
        print("| %s | " % what + " | ".join("%.1f" % one for one in out[figures].values()) + " | %.1f |" % sum(out[figures].values()))
    print("still to come: ClickHouse's last merges %.1f, PostgreSQL's vacuum %.2f (%s dead rows of persons, %s written)" % (
        out["last_merges_us"], out["vacuum_us"], format(sum(out["dead_rows"].values()), ","), format(sum(out["written_rows"].values()), ",")))
    print("bytes an event: on the wire %.0f; topics %s" % (out["wire_bytes"], ", ".join("%s %.0f" % pair for pair in out["topic_bytes"].items())))
    print("| table | rows | bytes a row as they came, parts | bytes a row, merged |\n|---|---:|---:|---:|")
    for name, came in sorted(out["stored"].items(), key=lambda pair: -pair[1]["bytes"]):
        print("| %s | %s | %.0f, %d | %.0f |" % (name, format(came["rows"], ","), came["bytes"] / came["rows"], came["parts"],
                                               merged[name]["bytes"] / max(1, merged[name]["rows"])))
    print("; ".join("%s: %s rows, %.0f bytes each" % (name, format(one["rows"], ","), one["bytes"] / max(1, one["rows"]))
                    for name, one in out["persons"].items()))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--json", action="store_true")
    ap.add_argument("--events", type=int, default=1000000)
    ap.add_argument("--persons", type=int, default=20000, help="so many distinct ids are in use from the start")
    ap.add_argument("--fresh", type=int, default=2, help="percent of events by new persons")
    ap.add_argument("--warm", type=int, default=0, help="so many events by these persons come before what is measured: five each make nearly all known")
    ap.add_argument("--rate", type=float, default=0, help="events a second; 0: as many as are taken")
    args = ap.parse_args()
    folder, server = machine.temporary_folder(), None
    try:
        machine.make_bodies(folder)
        with parts.running(["kafka", "postgres", "clickhouse"]) as up:
            try:
                server = start(folder, up)
                out = measure(Servers(up), server, folder, args)
            finally:
                if server is not None:
                    server.stop()
    finally:
        machine.remove(folder)
    print(json.dumps(out)) if args.json else tell(out)


if __name__ == "__main__":
    main()
