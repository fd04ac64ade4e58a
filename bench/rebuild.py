#!/usr/bin/env python3
"""The warehouse built anew from the log: `./dev bench rebuild [--events N] [--persons N] [--threads 1,0] [--turns N]`.

One data folder is filled once (events as in `bench pipeline`, of --persons distinct ids), then its warehouse is built anew --turns times with each
number of load.catch_up_threads, by turns (0: what the program chooses). Rows of all tables a second by the clock, and CPU of the role a row,
until the last row is in the new warehouse; at the end rows and a sum over what is in them are compared.
"""
import argparse
import glob
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import machine
from growth import send, wait_quiet, wait_rows

FACTS = ("SELECT (SELECT count(*) FROM events) AS events, (SELECT sum(hash(e)::HUGEINT)::VARCHAR FROM (SELECT * EXCLUDE (inserted_at) FROM events) e) AS sum,"
         " (SELECT count(*) FROM persons) AS persons, (SELECT sum(hash(p)::HUGEINT)::VARCHAR FROM persons p) AS persons_sum,"
         " (SELECT count(*) FROM person_distinct_ids) AS ids, (SELECT sum(hash(d)::HUGEINT)::VARCHAR FROM person_distinct_ids d) AS ids_sum")


def all_rows(server):
    return machine.MetricPage(os.path.join(server.data, "run"), "load").sum("load_rows_total")


def facts(server):
    return subprocess.run([server.binary, "sql", "--data", server.data, "--json", FACTS], check=True, capture_output=True, text=True).stdout


def rebuild_once(folder, threads, want):
    config = os.path.join(folder, "penstock.yaml")
    with open(config, "w") as out:
        out.write("load:\n  catch_up_threads: %d\n" % threads)
    server = machine.start_penstock(folder, core=None, extra=["--config", config])
    try:
        time.sleep(1)
        loader = [pid for pid, name in machine.children(server.process.pid).items() if "load" in name]
        peak = machine.MemoryPeak(loader, "RssAnon")
        peak.start()
        before, cpu, began = all_rows(server), machine.cpu_seconds(loader), time.time()
        subprocess.run([server.binary, "warehouse", "rebuild", "--yes", "--data", server.data], check=True, capture_output=True)
        while os.path.exists(os.path.join(server.data, "warehouse.rebuild")):  # the old one is closed first
            began = time.time()
            time.sleep(0.002)
        while all_rows(server) - before < want:
            time.sleep(0.02)
        took, cpu = time.time() - began, machine.cpu_seconds(loader) - cpu
        return {"threads": threads, "rows": want, "seconds": round(took, 2), "rows_per_s": round(want / took),
                "cpu_us": round(cpu * 1e6 / want, 2), "anonymous_mib": round(peak.end()), "facts": facts(server)}
    finally:
        server.stop()
        for old in glob.glob(os.path.join(server.data, "warehouse.duckdb.before-*")):
            os.unlink(old)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--events", type=int, default=400000)
    ap.add_argument("--persons", type=int, default=20000)
    ap.add_argument("--threads", default="1,0")
    ap.add_argument("--turns", type=int, default=2)
    ap.add_argument("--folder", help="kept, and filled only when it is empty")
    ap.add_argument("--json", action="store_true")
    args = ap.parse_args()
    folder = os.path.abspath(args.folder) if args.folder else machine.temporary_folder()
    told = os.path.join(folder, "rows")
    try:
        if not os.path.exists(told):
            os.makedirs(folder, exist_ok=True)
            machine.make_bodies(folder)
            server = machine.start_penstock(folder, core=None)
            try:
                send(server, folder, args.persons, 0, 3600, 0, args.events)
                wait_rows(server, args.events)
                wait_quiet(server)
                with open(told, "w") as out:
                    out.write(json.dumps([all_rows(server), facts(server)]))
            finally:
                server.stop()
        rows, before = json.load(open(told))
        turns = [rebuild_once(folder, int(threads), rows) for _ in range(args.turns) for threads in args.threads.split(",")]
    finally:
        if not args.folder:
            machine.remove(folder)
    for turn in turns:
        if turn.pop("facts") != before:
            sys.exit("the new warehouse is not the old one")
    if args.json:
        print(json.dumps(turns))
        return
    print("rebuild; %s; %s rows, all tables" % (machine.machine_text(), format(rows, ",")))
    print("| catch_up_threads | s | rows/s | CPU us a row | anonymous MiB |")
    print("|---:|---:|---:|---:|---:|")
    for turn in turns:
        print("| %d | %.2f | %s | %.2f | %d |" % (turn["threads"], turn["seconds"], format(turn["rows_per_s"], ","), turn["cpu_us"], turn["anonymous_mib"]))


if __name__ == "__main__":
    main()
