#!/usr/bin/env python3
"""Does an event cost more when there is more of everything: `./dev bench growth [--persons 100000,1000000] [--plot FILE]`.

One installation grows: before each measurement so many events come, all by new persons, that the number of persons is
reached (each of them is a row, too); then events as in `bench pipeline` (2 % new persons) come at a fixed rate for
--seconds, and the CPU of each role is counted until all of their rows are in the warehouse, of persons too. The last column holds each size against the first.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import machine
import plot
from pipeline import loaded_rows


def send(server, folder, persons, fresh, seconds, rate, events=0):
    run = subprocess.run(
        [os.path.join(machine.BUILD, "bench", "load"), "-z", "-p", str(persons), "-f", str(fresh)] +
        (["-n", str(events)] if events else []) +
        [str(server.port), "/batch/", os.path.join(folder, "mix.bodies"), "100", "16", str(seconds), str(rate)],
        check=True, capture_output=True, text=True)
    return json.loads(run.stdout)


def wait_rows(server, rows, seconds=1800):
    end = time.time() + seconds
    while loaded_rows(server) < rows:
        if time.time() > end:
            raise SystemExit("%d of %d rows are there after %d s" % (loaded_rows(server), rows, seconds))
        time.sleep(0.05)


def wait_quiet(server, seconds=1800):
    """Rows of persons and ids may come behind those of events: until no table has had a row for three seconds."""
    end, before, since = time.time() + seconds, -1, time.time()
    while time.time() - since < 3:
        text = urllib.request.urlopen("http://127.0.0.1:%d/metrics" % server.port, timeout=10).read().decode()
        rows = sum(map(int, re.findall(r'load_rows_total\{[^}]*\} (\d+)', text)))
        if rows != before:
            before, since = rows, time.time()
        if time.time() > end:
            raise SystemExit("rows still come after %d s" % seconds)
        time.sleep(0.25)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--persons", default="100000,300000,1000000,3000000")
    ap.add_argument("--seconds", type=int, default=20)
    ap.add_argument("--rate", type=float, default=20000)
    ap.add_argument("--people-memory", default="0", help="ingest.people_memory")
    ap.add_argument("--clicks", type=int, help="as of bench pipeline")
    ap.add_argument("--plot", help="an SVG file to write")
    ap.add_argument("--json", action="store_true")
    args = ap.parse_args()
    folder, server, points, rows, persons = machine.temporary_folder(), None, [], 0, 1000
    try:
        machine.make_bodies(folder, args.clicks)
        with open(os.path.join(folder, "penstock.yaml"), "w") as out:
            out.write("ingest:\n  people_memory: %s\n" % args.people_memory)
        server = machine.start_penstock(os.path.join(folder, "penstock"), core=None, extra=["--config", os.path.join(folder, "penstock.yaml")])
        names = dict(machine.children(server.process.pid))
        for wanted in map(int, args.persons.split(",")):
            if wanted > persons:
                done = send(server, folder, persons, 100, 3600, 0, wanted - persons)
                rows, persons = rows + done["events"], done["persons"]
                wait_rows(server, rows)
                wait_quiet(server)
            before = {pid: machine.cpu_seconds([pid]) for pid in names}
            done = send(server, folder, persons, 2, args.seconds, args.rate)
            wait_rows(server, rows + done["events"])
            wait_quiet(server)
            cost = {names[pid]: (machine.cpu_seconds([pid]) - before[pid]) * 1e6 / done["events"] for pid in names}
            rows, persons = rows + done["events"], done["persons"]
            points.append({"persons": wanted, "rows": rows, "cpu_us": round(sum(cost.values()), 2),
                           "by_role": {role: round(us, 2) for role, us in cost.items()},
                           "anonymous_mib": round(machine.memory_mib(server.pids(), "RssAnon"))})
            print(json.dumps(points[-1]), file=sys.stderr)
        server.stop()
    finally:
        if server is not None and server.process.poll() is None:
            server.stop()
        machine.remove(folder)
    if args.plot:
        series = {"all roles": [(p["persons"], p["cpu_us"]) for p in points]}
        for role in sorted(points[0]["by_role"]):
            if "supervisor" not in role:
                series[role] = [(p["persons"], p["by_role"][role]) for p in points]
        plot.write(args.plot, "Cost of an event as the installation grows", "persons", "CPU, µs an event", series, log_x=True)
    if args.json:
        print(json.dumps(points))
        return
    print("growth; %s; %.0f events/s" % (machine.machine_text(), args.rate))
    print("| persons | rows | CPU-s per M events | by role | anonymous MiB | of the first |")
    print("|---:|---:|---:|---|---:|---:|")
    for p in points:
        print("| %s | %s | %.2f | %s | %d | %.2f |" % (
            format(p["persons"], ","), format(p["rows"], ","), p["cpu_us"],
            ", ".join("%s %.2f" % (k, v) for k, v in sorted(p["by_role"].items())), p["anonymous_mib"],
            p["cpu_us"] / points[0]["cpu_us"]))


if __name__ == "__main__":
    main()
