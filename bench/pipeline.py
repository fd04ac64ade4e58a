#!/usr/bin/env python3
"""The whole way, HTTP to committed DuckDB rows: `./dev bench pipeline [--json] [--seconds N] [--rate N]`.

Batches of 100 events in gzip, every event unique (bench/load.c); 10 of 100 change a property of their person, one
merges two persons, 40 are clicks with a chain of elements (`--clicks 0`: none, as in results that do not speak of
them), 20 % come from new persons in the first minute and 2 % after it. The loader runs beside the roles on the same cores. CPU is that of all
Penstock processes together, from the first event to the last row. Visible: from the answer of an event to the
commit of its row, from the loader's count and the metric load_rows_total, looked at every 10 ms where it lies in run/load.metrics.
"""
import argparse
import bisect
import json
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import machine


def loaded_rows(server):
    if not hasattr(server, "load_page"):  # a role that starts again has another one: here none does
        server.load_page = machine.MetricPage(os.path.join(server.data, "run"), "load")
    return server.load_page.get("load_rows_total", 'table="events"')


class Watch(threading.Thread):
    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.samples, self.over = server, [], threading.Event()

    def run(self):
        while not self.over.wait(0.01):
            self.samples.append((time.time(), loaded_rows(self.server)))


def visible(ledger, samples):
    """Milliseconds from answer to row, one figure for each ledger line."""
    times = [t for t, _ in samples]
    counts = [c for _, c in samples]
    waits = []
    for line in open(ledger):
        at, acked = line.split()
        if int(acked) == 0:
            continue
        i = bisect.bisect_left(counts, int(acked))
        if i < len(counts):
            waits.append(max(0.0, times[i] - int(at) / 1e6) * 1e3)
    return sorted(waits)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--json", action="store_true")
    ap.add_argument("--seconds", type=int, default=20)
    ap.add_argument("--rate", type=float, default=0, help="events a second; 0: as many as are taken")
    ap.add_argument("--connections", type=int, default=16)
    ap.add_argument("--persons", type=int, default=1000, help="so many distinct ids are in use from the start")
    ap.add_argument("--fresh", type=int, help="percent of events by new persons, all the time")
    ap.add_argument("--clicks", type=int, help="percent of events that are clicks with a chain of elements: 0 to 85; 40")
    ap.add_argument("--plain", action="store_true", help="no gzip")
    ap.add_argument("--threads", type=int, default=0, help="of ingest; 0: its default")
    args = ap.parse_args()
    folder = machine.temporary_folder()
    server = None
    try:
        machine.make_bodies(folder, args.clicks)
        config = os.path.join(folder, "penstock.yaml")
        with open(config, "w") as out:
            out.write("ingest:\n  threads: %d\n" % args.threads)
            if args.seconds > 60: # what was loaded need not fill the disk
                out.write("  output_retention: 60s\ncapture:\n  retention: 60s\n")
        server = machine.start_penstock(os.path.join(folder, "penstock"), core=None, extra=["--config", config])
        pids = server.pids()
        names = dict(machine.children(server.process.pid))
        names[server.process.pid] = "supervisor"
        peak = machine.MemoryPeak(pids, "RssAnon")
        watch = Watch(server)
        cpu = {pid: machine.cpu_seconds([pid]) for pid in pids}
        ledger = os.path.join(folder, "ledger")
        began = time.time()
        peak.start()
        watch.start()
        load = json.loads(subprocess.run(
            [os.path.join(machine.BUILD, "bench", "load")] + ([] if args.plain else ["-z"]) + ["-p", str(args.persons)] +
            (["-f", str(args.fresh)] if args.fresh is not None else []) +
            [str(server.port), "/batch/", os.path.join(folder, "mix.bodies"), "100", str(args.connections), str(args.seconds), str(args.rate), ledger],
            check=True, capture_output=True, text=True).stdout)
        deadline = time.time() + 300
        while loaded_rows(server) < load["events"] and time.time() < deadline:
            time.sleep(0.05)
        took = time.time() - began
        time.sleep(0.1)
        watch.over.set()
        watch.join()
        rows = loaded_rows(server)
        by_role = {names[pid]: (machine.cpu_seconds([pid]) - cpu[pid]) * 1e6 / max(rows, 1) for pid in pids}
        waits = visible(ledger, watch.samples)
        anonymous = peak.end()
        status = subprocess.run([server.binary, "status", "--data", server.data, "--json"], capture_output=True, text=True)
        server.stop()
        disk = sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(server.data) for f in fs)
    finally:
        if server is not None and server.process.poll() is None:
            server.stop()
        machine.remove(folder)
    out = {"cpu_us": round(sum(by_role.values()), 3), "rate": round(rows / took), "events": rows, "lost": load["events"] - rows,
           "visible_p50_ms": round(waits[len(waits) // 2], 1) if waits else None,
           "visible_p99_ms": round(waits[len(waits) * 99 // 100], 1) if waits else None,
           "answer_p50_ms": load["p50_us"] / 1e3, "answer_p99_ms": load["p99_us"] / 1e3, "refused": load["refused"],
           "anonymous_mib": round(anonymous), "disk_bytes_per_event": round(disk / max(rows, 1)),
           "persons": load["persons"], "load_cpu_us": load["cpu_us"],
           "cpu_us_by_role": {k: round(v, 3) for k, v in by_role.items()}}
    if args.json:
        print(json.dumps(out))
        return
    print("HTTP to committed rows; %s; %d connections, %s" % (
        machine.machine_text(), args.connections, "%.0f events/s offered" % args.rate if args.rate else "as fast as it goes"))
    print("| CPU-s per M events | rows/s | events | answer p50 / p99 ms | visible p50 / p99 ms | anonymous MiB | disk bytes an event |")
    print("|---:|---:|---:|---|---|---:|---:|")
    print("| %.2f | %s | %s | %.1f / %.1f | %s / %s | %d | %d |" % (
        out["cpu_us"], format(out["rate"], ","), format(rows, ","), out["answer_p50_ms"], out["answer_p99_ms"],
        out["visible_p50_ms"], out["visible_p99_ms"], out["anonymous_mib"], out["disk_bytes_per_event"]))
    print("by role: " + ", ".join("%s %.2f" % (k, v) for k, v in sorted(out["cpu_us_by_role"].items())) +
          "; the load program beside them: %.2f; distinct ids: %d" % (out["load_cpu_us"], out["persons"]))
    if out["refused"]:
        print("refused: %d, of which %d have rows: who is told that the disk is late sends again, and an id counts once" % (
            out["refused"], max(0, -out["lost"])))
    if not -out["refused"] <= out["lost"] <= 0 or status.returncode != 0:
        sys.exit("rows missing (or, below 0, too many): %d; status said %d" % (out["lost"], status.returncode))


if __name__ == "__main__":
    main()
