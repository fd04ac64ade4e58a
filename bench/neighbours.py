#!/usr/bin/env python3
"""What others feel of one that sends fifty times what it may: `bench/neighbours.py [--json] [--seconds N] [--turns N] [--limit N]`.

Capture alone on one core. Twenty projects send --rate requests a second in all, of ten events each, by an open loop; one more
project has `penstock limit set token LIMIT` and sends 50 times as much, in batches of a hundred. By turns: the twenty alone;
beside the loud one, whom no limit holds; beside it with its limit. A row: what was taken of what the twenty had to send, their p50
and p99, and what became of the loud one's requests.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bodies
import machine
import overload

LOUD = "phc_loud000000000000000000000000000000000000"
WAYS = ("alone", "beside a loud one", "beside a loud one with its limit")


def prepare(folder, binary, data):
    rnd = random.Random(9)
    quiet = []
    for n in range(20):
        token = "phc_quiet%035d" % n
        subprocess.run([binary, "project", "create", "quiet%d" % n, "--data", data], check=True, capture_output=True)
        subprocess.run([binary, "token", "create", "--project", "quiet%d" % n, "--token", token, "--data", data], check=True, capture_output=True)
        quiet += [bodies.text({"api_key": token, "batch": [bodies.event(rnd) for _ in range(10)]}) for _ in range(5)]
    rnd.shuffle(quiet)
    bodies.write(folder, "quiet", quiet)
    subprocess.run([binary, "project", "create", "loud", "--data", data], check=True, capture_output=True)
    subprocess.run([binary, "token", "create", "--project", "loud", "--token", LOUD, "--data", data], check=True, capture_output=True)
    bodies.write(folder, "loud", [bodies.text({"api_key": LOUD, "batch": [bodies.event(rnd) for _ in range(100)]}) for _ in range(20)])


def flood(server, name, conns, seconds, rate):
    return subprocess.Popen(["taskset", "-c", machine.LOAD_CORE, os.path.join(machine.BUILD, "bench", "flood"), "open", "-w", "1",
                             str(server.port), "/batch/", name, str(conns), str(seconds + 1), "%.1f" % rate], stdout=subprocess.PIPE, text=True)


def end(process):
    return json.loads(process.communicate(timeout=300)[0])


def run(folder, args):
    server = overload.start_capture(os.path.join(folder, "server"), "capture:\n  compress: true\n")
    binary = os.path.join(machine.BUILD, "penstock")
    found = {way: [] for way in WAYS}
    try:
        prepare(folder, binary, server.data)
        end(flood(server, os.path.join(folder, "quiet.bodies"), 64, 1, args.rate))
        for _ in range(args.turns):
            for way in WAYS:
                word = ["set", "token", str(args.limit)] if way == WAYS[2] else ["list"]
                subprocess.run([binary, "limit", *word, *(["--project", "loud"] if word[0] == "set" else []), "--data", server.data],
                               check=True, capture_output=True)
                loud = flood(server, os.path.join(folder, "loud.bodies"), 64, args.seconds, args.limit * 50 / 100) if way != WAYS[0] else None
                quiet = end(flood(server, os.path.join(folder, "quiet.bodies"), 64, args.seconds, args.rate))
                found[way].append((quiet, end(loud) if loud else None))
                if way == WAYS[2]:
                    subprocess.run([binary, "limit", "remove", "token", "--project", "loud", "--data", server.data], check=True, capture_output=True)
    finally:
        server.stop()
    return found


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--json", action="store_true")
    ap.add_argument("--seconds", type=int, default=8)
    ap.add_argument("--turns", type=int, default=3)
    ap.add_argument("--rate", type=float, default=400)
    ap.add_argument("--limit", type=int, default=500)
    args = ap.parse_args()
    folder = machine.temporary_folder()
    try:
        found = run(folder, args)
    finally:
        machine.remove(folder)
    if args.json:
        print(json.dumps(found))
        return
    print("capture alone; %s; load %.1f; medians of %d turns" % (machine.machine_text(), os.getloadavg()[0], args.turns))
    print("| the twenty | taken, of what was due | p50 ms | p99 ms | the loud one: taken, refused a second |")
    print("|---|---:|---:|---:|---:|")
    for way, runs in found.items():
        def middle(key, side=0):
            return statistics.median(run[side][key] for run in runs)
        print("| %s | %.1f %% | %.1f | %.1f | %s |" % (
            way, statistics.median(100 * q["taken"] / q["due"] for q, _ in runs), middle("p50_us") / 1e3, middle("p99_us") / 1e3,
            "%.0f, %.0f" % (middle("taken", 1) / args.seconds, middle("shed", 1) / args.seconds) if runs[0][1] else ""))


if __name__ == "__main__":
    main()
