#!/usr/bin/env python3
"""What live events wait for others, the whole way: `bench/lanes.py [hot] [imports] [--json] [--seconds N] [--turns N]
...`; `./dev bench lanes` runs bench/lanes_bench.c (ingest alone) before it.

hot      one distinct id beside the others. Capacity is measured first (-p 1000 persons, as fast as it goes, by rows);
         then the others send at 60 % of it: alone; with one id at 50 % beside them and nobody moved aside
         (`ingest.overflow_burst: 0`); the same with the settings as they come. Where capture and its clients are what is
         full, ingest is never behind, and a hot id shows nothing.
imports  2,000 live events a second: alone, and beside an import that sends --import events as fast as they are taken.

By turns, each on a new data folder, and the medians of the turns: a shared machine changes from minute to minute, so
only figures of one run may be compared. Visible: from the answer to a live event until its row is committed,
by the counts of live records that ingest took and of rows that load committed, sampled every 10 ms.
"""
import argparse
import bisect
import json
import os
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import machine

WANTED = {"taken": ("ingest", "ingest_records_total", 'topic="raw"'),
          "stored": ("ingest", "ingest_events_total", 'fate="stored"'),
          "old": ("ingest", "ingest_records_total", 'topic="raw_historical"'),
          "aside": ("ingest", "ingest_records_total", 'topic="raw_overflow"'),
          "lag": ("ingest", "ingest_lag_records", 'topic="raw"'),
          "loaded": ("load", "load_rows_total", 'table="events"')}


class Watch(threading.Thread):
    def __init__(self, server):
        super().__init__(daemon=True)
        self.pages = {role: machine.MetricPage(os.path.join(server.data, "run"), role) for role in ("ingest", "load")}
        self.samples, self.over = [], threading.Event()

    def look(self):
        return {"at": time.time(), **{name: self.pages[role].get(metric, labels) for name, (role, metric, labels) in WANTED.items()}}

    def run(self):
        while not self.over.wait(0.01):
            self.samples.append(self.look())


def ledger_read(name):
    return [(int(at) / 1e6, int(acked)) for at, acked in (line.split() for line in open(name))]


def visible(live, all_ledgers, samples, seconds, began):
    """Milliseconds from answer to row for each line of the live ledger, of the second half of the time (the first one
    fills queues): by then so many live records of all senders were there; when were they taken, and their rows loaded?"""
    at = [s["at"] for s in samples]
    taken = [s["taken"] for s in samples]
    loaded = [s["loaded"] for s in samples]
    waits, lost = [], 0
    for when, acked in live:
        if when < began + seconds / 2 or acked == 0:
            continue
        there = sum(ledger[max(0, bisect.bisect_right(ledger, (when, 1 << 62)) - 1)][1] for ledger in all_ledgers)
        i = bisect.bisect_left(taken, there)
        k = bisect.bisect_left(loaded, samples[i]["stored"]) if i < len(taken) else len(loaded)
        if k < len(loaded):
            waits.append(max(0.0, at[k] - when) * 1e3)
        else:
            lost += 1 # not visible when the watch ended: longer than all others
    return sorted(waits) + [float("inf")] * lost


def at_percent(sorted_values, percent):
    return sorted_values[min(len(sorted_values) - 1, len(sorted_values) * percent // 100)] if sorted_values else None


class Sender:
    def __init__(self, server, bodies, per, connections, seconds, rate, ledger, extra):
        self.ledger = ledger
        self.counts = os.path.basename(ledger) != "import"  # among the records of raw
        self.process = subprocess.Popen(
            [os.path.join(machine.BUILD, "bench", "load")] + extra +
            [str(server.port), "/batch/", bodies, str(per), str(connections), str(seconds), str(rate), ledger],
            stdout=subprocess.PIPE, text=True)

    def end(self):
        self.result = json.loads(self.process.communicate(timeout=600)[0])
        return self.result


def write_bodies(folder):
    """mix.bodies, and the same with one event a request, and as an import."""
    machine.make_bodies(folder)
    bodies = []
    with open(os.path.join(folder, "mix.bodies"), "rb") as source:
        while True:
            head = source.read(4)
            if not head:
                break
            bodies.append(json.loads(source.read(int.from_bytes(head, "little"))))

    def put(name, made):
        with open(os.path.join(folder, name + ".bodies"), "wb") as out:
            for body in made:
                text = json.dumps(body, separators=(",", ":")).encode()
                out.write(len(text).to_bytes(4, "little") + text)

    put("small", [{**body, "batch": body["batch"][at:at + 10]} for body in bodies for at in (0, 30, 60)])
    put("import", [{"historical_migration": True, **body} for body in bodies])


def run_once(root, name, args, senders, config=""):
    """senders: function of the server's folder -> [Sender]; the first one is whose figures count."""
    folder = os.path.join(root, name)
    os.makedirs(os.path.join(folder, "data"))
    with open(os.path.join(folder, "data", "penstock.yaml"), "w") as out:
        out.write(config)
    server = machine.start_penstock(folder, core=None)
    try:
        watch = Watch(server)
        watch.start()
        began = time.time()
        running = senders(server, folder)
        results = [sender.end() for sender in running]
        sent_s = time.time() - began
        end = time.time() + args.drain
        while time.time() < end:  # what was live when the senders ended shall become visible
            if watch.look()["taken"] >= sum(r["events"] for s, r in zip(running, results) if s.counts):
                break
            time.sleep(0.1)
        time.sleep(1.5)
        watch.over.set()
        watch.join()
        ledgers = [ledger_read(sender.ledger) for sender in running if sender.counts]
        waits = visible(ledger_read(running[0].ledger), ledgers, watch.samples, args.seconds, began)
        inside = [s for s in watch.samples if began + args.seconds / 2 <= s["at"] <= began + args.seconds]
        return {"answer_p99_ms": results[0]["p99_us"] / 1e3, "visible_p50_ms": at_percent(waits, 50),
                "visible_p99_ms": at_percent(waits, 99), "live_lag_max": max((s["lag"] for s in inside), default=0),
                "imported_per_s": round((watch.samples[-1]["old"] - watch.samples[0]["old"]) / sent_s),
                "moved_aside": watch.samples[-1]["aside"], "taken": watch.samples[-1]["taken"],
                "sent": [r["events"] for r in results], "refused": sum(r["refused"] for r in results)}
    finally:
        server.stop()
        machine.remove(folder)


def hot(root, bodies, args):
    def others(server, folder, rate):
        return Sender(server, os.path.join(bodies, "small.bodies"), 10, 8, args.seconds, rate, os.path.join(folder, "live"),
                      ["-p", "1000", "-f", "0"])

    def one(server, folder, rate):
        return Sender(server, os.path.join(bodies, "small.bodies"), 10, 8, args.seconds, rate, os.path.join(folder, "hot"),
                      ["-p", "1", "-f", "0"])

    capacity = args.capacity
    if not capacity:
        measured = run_once(root, "capacity", args, lambda server, folder: [others(server, folder, 0)])
        capacity = measured["taken"] / (args.seconds + args.drain if measured["taken"] < measured["sent"][0] else args.seconds)
    ways = {
        "alone": ("", lambda server, folder: [others(server, folder, capacity * 0.6)]),
        "beside a hot id, nobody moved": ("ingest:\n  overflow_burst: 0\n", lambda server, folder: [
            others(server, folder, capacity * 0.6), one(server, folder, capacity * 0.5)]),
        "beside a hot id": ("", lambda server, folder: [
            others(server, folder, capacity * 0.6), one(server, folder, capacity * 0.5)]),
    }
    return {"capacity": round(capacity)}, ways


def imports(root, bodies, args):
    def live(server, folder):
        return Sender(server, os.path.join(bodies, "small.bodies"), 10, 8, args.seconds, 2000, os.path.join(folder, "live"),
                      ["-p", "1000", "-f", "2"])

    def old(server, folder):
        return Sender(server, os.path.join(bodies, "import.bodies"), 100, 4, args.seconds, 0, os.path.join(folder, "import"),
                      ["-z", "-p", "100000", "-f", "2", "-n", str(args.imported)])

    return {}, {"alone": ("", lambda server, folder: [live(server, folder)]),
                "beside an import": ("", lambda server, folder: [live(server, folder), old(server, folder)])}


def median(values):
    values = [v for v in values if v is not None]
    return round(statistics.median(values), 1) if values else None


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("what", nargs="*", help="hot, imports (default: imports)")
    ap.add_argument("--json", action="store_true")
    ap.add_argument("--seconds", type=int, default=20)
    ap.add_argument("--turns", type=int, default=3)
    ap.add_argument("--drain", type=int, default=30, help="seconds to wait for what is left")
    ap.add_argument("--capacity", type=float, default=0, help="events a second; 0: measured first")
    ap.add_argument("--import", type=int, default=1000000, dest="imported", help="events of the import")
    args = ap.parse_args()
    root = machine.temporary_folder()
    out = {}
    try:
        bodies = os.path.join(root, "bodies")
        os.makedirs(bodies)
        write_bodies(bodies)
        for what in args.what or ["imports"]:
            known, ways = {"hot": hot, "imports": imports}[what](root, bodies, args)
            runs = {name: [] for name in ways}
            for turn in range(args.turns):
                for name, (config, senders) in ways.items():
                    runs[name].append(run_once(root, "%s-%d-%d" % (what, turn, list(ways).index(name)), args, senders, config))
            out[what] = {**known, "runs": runs}
    finally:
        machine.remove(root)
    if args.json:
        print(json.dumps(out))
        return
    print("%s; medians of %d turns of %d s" % (machine.machine_text(), args.turns, args.seconds))
    for what, found in out.items():
        print("\n%s%s\n" % (what, "; capacity %d events/s" % found["capacity"] if "capacity" in found else ""))
        print("| | answer p99 ms | visible p50 ms | visible p99 ms | live lag, most | imported/s | processed aside |")
        print("|---|---:|---:|---:|---:|---:|---:|")
        for name, runs in found["runs"].items():
            print("| %s | %s |" % (name, " | ".join(str(median([run[key] for run in runs])) for key in (
                "answer_p99_ms", "visible_p50_ms", "visible_p99_ms", "live_lag_max", "imported_per_s", "moved_aside"))))


if __name__ == "__main__":
    main()
