#!/usr/bin/env python3
"""What an event costs at capture over its size and over the size of batches: `./dev bench scale [--plot FOLDER]`.

Server on core 0, wrk on core 1, 64 connections (8 for bodies above 256 KiB, so that the machine's memory is not what is measured),
each answer after the sync. Three tables: one event a request from 200 bytes to 900 KB; batches of 1 to 1000 events of 1 KB;
and one and two server threads. The last has no core for the load alone: what counts in it is CPU an event.
"""
import argparse
import json
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bodies
import machine
import plot
from capture import capture_pid

SIZES = [200, 500, 1000, 3000, 10000, 30000, 100000, 300000, 900000]
BATCHES = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
KEEP_BYTES = 32 << 20  # of one file of bodies: wrk holds them in memory


def sized(rnd, size):
    """An event whose text is about `size` bytes: shorter ones lose properties, longer ones get words."""
    event = dict(bodies.event(rnd), api_key=bodies.TOKEN)
    names = list(event["properties"])
    while len(bodies.text(event)) > size and names:
        del event["properties"][names.pop()]
    words, at = [], len(bodies.text(event)) + 12
    while at < size:
        words.append(rnd.choice(bodies.WORDS))
        at += len(words[-1]) + 1
    if words:
        event["properties"]["text"] = " ".join(words)
    return bodies.text(event)


def batch(rnd, count):
    return bodies.text({"api_key": bodies.TOKEN, "batch": [bodies.event(rnd) for _ in range(count)]})


def measure(server, pid, path, target, per, connections, seconds):
    machine.wrk(server.port, target, path, connections, 1)
    peak = machine.MemoryPeak([pid])
    peak.start()
    before = machine.cpu_seconds([pid])
    result = machine.wrk(server.port, target, path, connections, seconds)
    cpu = machine.cpu_seconds([pid]) - before
    events = (result["requests"] - result["refused"]) * per
    if result["refused"] or result["socket_errors"]:
        print("%s: %d refused, %d socket errors" % (path, result["refused"], result["socket_errors"]), file=sys.stderr)
    return {"us": cpu * 1e6 / max(events, 1), "rate": events / (result["us"] / 1e6), "p50_ms": result["p50_us"] / 1e3,
            "p99_ms": result["p99_us"] / 1e3, "rss_mib": peak.end()}


def only_capture(folder, threads):
    """The role alone: nobody takes from the log beside it."""
    data, port = os.path.join(folder, "data"), machine.free_port()
    os.makedirs(data)
    with open(os.path.join(data, "penstock.yaml"), "w") as out:
        out.write("capture:\n  threads: %d\n" % threads)
    binary = os.path.join(machine.BUILD, "penstock")
    subprocess.run([binary, "token", "create", "--token", machine.TOKEN, "--data", data], check=True, capture_output=True)
    server = machine.Server([binary, "serve", "--role", "capture", "--data", data, "--listen", "127.0.0.1:%d" % port], port, folder,
                            machine.SERVER_CORE if threads == 1 else None)
    return server, capture_pid(server)


def run(folder, rnd, threads, cases, seconds):
    """cases: (name, target, events a request, body maker). Yields name, bytes an event, figures. Each case has a server of its own: what an
    earlier one left in the page cache is a cost of the machine's memory, not of the case."""
    for name, target, per, make in cases:
        place = os.path.join(folder, "threads-%d" % threads)
        os.makedirs(place)
        server, pid = only_capture(place, threads)
        try:
            made = [make(rnd)]
            while sum(map(len, made)) < min(KEEP_BYTES, 400 * len(made[0])):
                made.append(make(rnd))
            bodies.write(place, str(name), made)
            path, size = os.path.join(place, "%s.bodies" % name), sum(map(len, made)) / len(made)
            yield name, size / per, measure(server, pid, path, target, per, 8 if size > 256 << 10 else 64, seconds)
        finally:
            server.stop()
            machine.remove(place)


def show(title, head, rows):
    print("\n%s\n" % title)
    print("| %s | bytes an event | CPU-s per M events | us a KB | events/s | p50 ms | p99 ms | RSS MiB |" % head)
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, size, f in rows:
        print("| %s | %d | %.2f | %.2f | %s | %.1f | %.1f | %.0f |" % (
            name, size, f["us"], f["us"] / (size / 1000), format(round(f["rate"]), ","), f["p50_ms"], f["p99_ms"], f["rss_mib"]))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--seconds", type=int, default=3)
    ap.add_argument("--plot", help="a folder for capture-size.svg and capture-batch.svg")
    ap.add_argument("--json", action="store_true")
    args = ap.parse_args()
    folder, rnd = machine.temporary_folder(), random.Random(11)
    try:
        sizes = list(run(folder, rnd, 1, [(s, "/e/", 1, lambda r, s=s: sized(r, s)) for s in SIZES], args.seconds))
        batches = list(run(folder, rnd, 1, [(n, "/batch/", n, lambda r, n=n: batch(r, n)) for n in BATCHES], args.seconds))
        threads = []
        for count in (1, 2):
            cases = [("%d: W1" % count, "/e/", 1, lambda r: sized(r, 1000)), ("%d: W2" % count, "/batch/", 100, lambda r: batch(r, 100))]
            threads += run(folder, rnd, count, cases, args.seconds)
    finally:
        machine.remove(folder)
    if args.json:
        print(json.dumps({"sizes": sizes, "batches": batches, "threads": threads}))
        return
    print("capture alone, answer after the sync; %s" % machine.machine_text())
    show("One event a request", "size asked", sizes)
    show("Events of 1 KB in batches", "events a request", batches)
    show("One server thread on a core of its own; two, beside the load", "threads, load", threads)
    if args.plot:
        plot.write(os.path.join(args.plot, "capture-size.svg"), "One event a request: CPU by its size", "bytes of the event",
                   "microseconds a KB", {"CPU": [(size, f["us"] / (size / 1000)) for _, size, f in sizes]}, log_x=True)
        plot.write(os.path.join(args.plot, "capture-batch.svg"), "Events of 1 KB: CPU by events a request", "events a request",
                   "microseconds an event", {"CPU": [(n, f["us"]) for n, _, f in batches]}, log_x=True)


if __name__ == "__main__":
    main()
