#!/usr/bin/env python3
"""What becomes of capture when more comes than it can do: `bench/overload.py [--json] [--seconds N] [--conns N] [--load W1|W3|W4]`.

Capture alone (`penstock serve --role capture`; --compress: with capture.compress, where the disk would be what is full) on one core, clients that do not wait (bench/flood.c) on the other. First
its peak: 64 connections as fast as they are answered, and again at the end (a shared machine changes meanwhile; what
follows is compared with the mean). Then so many requests a second as 1.5, 5 and 20 times the peak would be, each on any of --conns
connections, every 20th on a new one. A row: what was taken, of the peak; the wait of what was taken and of what was sent
away, from when each was due; requests for which no connection was free (the clients' side is full, not the server's: all of
them wait for answers); how late the load itself began its requests, which is part of both waits; the most memory. The first second is not counted: that is how a
burst begins, which has 200 ms of patience and then a queue to send away. Then the wait of a light load, 0.3 of the peak, in the first 5 s after it and the second before.
"""
import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bodies
import machine

LOADS = {"W1": ("/e/", 1, []), "W3": ("/batch/", 100, ["-z"]), "W4": ("/batch/", 1000, ["-z"])}


def write_large(folder):
    """w4.bodies: batches of a thousand events, gzip."""
    rnd = random.Random(8)
    made = [gzip.compress(bodies.text({"api_key": machine.TOKEN, "batch": [bodies.event(rnd) for _ in range(1000)]}), 6, mtime=0)
            for _ in range(8)]
    bodies.write(folder, "w4", made)


def start_capture(folder, config=""):
    port = machine.free_port()
    data = os.path.join(folder, "data")
    binary = os.path.join(machine.BUILD, "penstock")
    os.makedirs(data, exist_ok=True)
    with open(os.path.join(data, "penstock.yaml"), "w") as out:
        out.write(config)
    subprocess.run([binary, "token", "create", "--token", machine.TOKEN, "--data", data], check=True, capture_output=True)
    server = machine.Server([binary, "serve", "--role", "capture", "--data", data, "--listen", "127.0.0.1:%d" % port], port, folder)
    server.data = data
    return server


def flood(server, made, load, conns, seconds, rate, newcomers=0, skip=0.0):
    path, _, flags = LOADS[load]
    done = subprocess.run(["taskset", "-c", machine.LOAD_CORE, os.path.join(machine.BUILD, "bench", "flood"), "open", *flags,
                           "-w", str(skip), str(server.port), path, os.path.join(made, load.lower() + ".bodies"), str(conns),
                           str(seconds), "%.1f" % rate, str(newcomers)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit("flood: " + done.stderr)
    return json.loads(done.stdout)


def run(folder, args):
    made = os.path.join(folder, "bodies")
    machine.make_bodies(made)
    write_large(made)
    server = start_capture(os.path.join(folder, "server"), "capture:\n  compress: %s\n  queue_wait: %s\n" % ("true" if args.compress else "false", args.queue_wait))
    try:
        pids = server.pids()
        flood(server, made, args.load, 64, 1, 20000)
        peaks = [flood(server, made, args.load, 64, args.seconds, 20000)]
        before = machine.memory_mib(pids)
        rows = []
        for times in args.times:
            rate = peaks[0]["taken_per_s"] * times
            quiet = flood(server, made, args.load, 64, 2, peaks[0]["taken_per_s"] * 0.3, 0, 1)
            memory = machine.MemoryPeak(pids)
            memory.start()
            hit = flood(server, made, args.load, args.conns, args.seconds + 1, rate, 20, 1)
            after = flood(server, made, args.load, 64, 5, peaks[0]["taken_per_s"] * 0.3)
            last = flood(server, made, args.load, 64, 2, peaks[0]["taken_per_s"] * 0.3)
            rows.append({"times": times, **hit, "memory_mib": memory.end() - before, "quiet_p99_us": quiet["p99_us"],
                         "after_p99_us": after["p99_us"], "after_shed": after["shed"], "last_p99_us": last["p99_us"], "last_shed": last["shed"]})
        peaks.append(flood(server, made, args.load, 64, args.seconds, 20000))
    finally:
        server.stop()
    return peaks, rows


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--json", action="store_true")
    ap.add_argument("--seconds", type=int, default=10)
    ap.add_argument("--conns", type=int, default=1000)
    ap.add_argument("--load", choices=sorted(LOADS), default="W4")
    ap.add_argument("--queue-wait", default="40ms", help="the setting capture.queue_wait; 0: nobody is sent away")
    ap.add_argument("--compress", action="store_true", help="capture.compress")
    ap.add_argument("--times", type=float, nargs="+", default=[1.5, 5, 20])
    args = ap.parse_args()
    folder = machine.temporary_folder()
    try:
        peaks, rows = run(folder, args)
    finally:
        machine.remove(folder)
    if args.json:
        print(json.dumps({"peaks": peaks, "rows": rows}))
        return
    peak = sum(p["taken_per_s"] for p in peaks) / 2
    p99 = sum(p["p99_us"] for p in peaks) / 2
    print("capture alone, %s; %s; load %.1f; peak %.0f and %.0f requests/s, p99 %.1f and %.1f ms" % (
        args.load, machine.machine_text(), os.getloadavg()[0], peaks[0]["taken_per_s"], peaks[1]["taken_per_s"],
        peaks[0]["p99_us"] / 1e3, peaks[1]["p99_us"] / 1e3))
    print("| times the peak | taken, of the peak | p50, p99 of it ms | of the peak's p99 | sent away | p50, p99 ms | no connection free "
          "| broken | begun late, p50, p99 ms | memory MiB | light load before, after: p99 ms |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for r in rows:
        print("| %g | %.0f %% | %.1f, %.1f | %.1f | %d | %.1f, %.1f | %d | %d | %.1f, %.1f | +%.0f | %.1f, %.1f |" % (
            r["times"], 100 * r["taken_per_s"] / peak, r["p50_us"] / 1e3, r["p99_us"] / 1e3, r["p99_us"] / p99, r["shed"],
            r["shed_p50_us"] / 1e3, r["shed_p99_us"] / 1e3, r["unsent"], r["broken"], r["late_p50_us"] / 1e3, r["late_p99_us"] / 1e3, r["memory_mib"], r["quiet_p99_us"] / 1e3, r["last_p99_us"] / 1e3))


if __name__ == "__main__":
    main()
