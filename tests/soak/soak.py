#!/usr/bin/env python3
"""`./dev soak [--minutes M]`: every campaign in turn, with new seeds, for an hour. `./dev soak NAME [N [SEED]]`: one of them.

  kills       SIGKILL of a role or of all under load, N times (tests/soak/kills.py)
  disks       N data folders as a power cut may leave them under load: log, people, catalog, warehouse (tests/soak/power.py)
  stories     N random histories through everything, by 1, 2 and 8 writers, against the reference fold (tests/soak/histories.py)
  merges      the same with N kills of roles, or of all, while persons merge
  cluster-kills  SIGKILL of processes of a cluster, alone and in pairs, N times under load (tests/soak/cluster_kills.py)
  elasticity  machines join and leave a cluster N times under load (tests/soak/elasticity.py)
  leaders     leaders of all partitions move N times, brokers and machines stop and come, under load (tests/soak/leaders.py)
  outages     brokers stand still, or cannot be reached, for N seconds, and a committer is killed N times (tests/soak/outages.py)
  days        N days of one server, a few seconds each (tests/soak/days.py)
  upgrades    N upgrades and ten times as many reloads under load, good and bad ones (tests/soak/upgrades.py)
  log-kills   SIGKILL of a log's writer, N times, beside a reader (src/log/log_kill_test.c)
  power-cuts  N disk images as a power cut may leave them (src/log/log_crash_test.c)
  damage      N ways to damage a log's files (src/log/log_damage_test.c)
  histories   N random histories of people against their reference (src/people/history_test.c)
  seen        N event ids, some of them repeated days later, with restarts (src/people/seen_soak_test.c)
  seen-kills  SIGKILL of who notes event ids, N times (src/people/seen_kill_test.c)
  memory      N allocations that fail in ingest, load, capture and its catalog under load, after each one on the way of capture's requests
              (tests/soak/memory.py)
  slow        N slow connections of each kind beside a healthy client (tests/soak/slow.py)
  seen-models N random histories of event ids against an array (src/people/seen_model_test.c)
  filesystems what keeps files on ext4 with a journal, XFS and btrfs, and N kills of a log's writer on each (tests/soak/filesystems.py).
              Needs root and loop devices, so not in the hour

A line for each: ok or FAILED, the name, N, the seed with which the same comes again, seconds, what was seen."""
import os
import random
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build", "release")
CLUSTER = [sys.executable, os.path.join(ROOT, "tests", "parts", "with.py"), "kafka", "postgres", "clickhouse", "--", sys.executable]
THREE_BROKERS = [word.replace("kafka", "kafka:3") if word == "kafka" else word for word in CLUSTER]
# Name, program, N when none is given, N of one turn in the hour (a minute or two each on two cores); None: it is no part of that.
CAMPAIGNS = {
    "kills": ([sys.executable, os.path.join(ROOT, "tests", "soak", "kills.py")], 200, 100),
    "disks": ([sys.executable, os.path.join(ROOT, "tests", "soak", "power.py")], 200, 50),
    "stories": ([sys.executable, os.path.join(ROOT, "tests", "soak", "histories.py"), "stories"], 3000, 3000),
    "merges": ([sys.executable, os.path.join(ROOT, "tests", "soak", "histories.py"), "merges"], 50, 50),
    "cluster-kills": (CLUSTER + [os.path.join(ROOT, "tests", "soak", "cluster_kills.py")], 100, 30),
    "elasticity": (CLUSTER + [os.path.join(ROOT, "tests", "soak", "elasticity.py")], 12, 6),
    "leaders": (THREE_BROKERS + [os.path.join(ROOT, "tests", "soak", "leaders.py")], 20, 12),
    "outages": ([sys.executable, os.path.join(ROOT, "tests", "soak", "outages.py")], 60, 20),
    "days": ([sys.executable, os.path.join(ROOT, "tests", "soak", "days.py")], 70, 40),
    "upgrades": ([sys.executable, os.path.join(ROOT, "tests", "soak", "upgrades.py")], 50, 22),
    "log-kills": ([os.path.join(BUILD, "log_kill_test")], 2000, 1000),
    "power-cuts": ([os.path.join(BUILD, "log_crash_test")], 20000, 10000),
    "damage": ([os.path.join(BUILD, "log_damage_test")], 20000, 10000),
    "histories": ([os.path.join(BUILD, "history_test")], 20000, 10000),
    "seen": ([os.path.join(BUILD, "seen_soak_test")], 10000000, 10000000),
    "seen-kills": ([os.path.join(BUILD, "seen_kill_test")], 2000, 1000),
    "memory": ([sys.executable, os.path.join(ROOT, "tests", "soak", "memory.py")], 500, 100),
    "slow": ([sys.executable, os.path.join(ROOT, "tests", "soak", "slow.py")], 10000, 10000),
    "seen-models": ([os.path.join(BUILD, "seen_model_test")], 2000, 1000),
    "filesystems": ([sys.executable, os.path.join(ROOT, "tests", "soak", "filesystems.py")], 200, None),
}


def run(name, count, seed):
    """One campaign, its line; True when it went well."""
    began = time.time()
    done = subprocess.run(CAMPAIGNS[name][0] + [str(count), str(seed)], cwd=ROOT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    ok = done.returncode == 0
    if not ok:
        print("\n".join(done.stdout.splitlines()[-60:]))
    said = [line for line in done.stdout.splitlines() if line.startswith("result: ")]
    print("%-6s %-13s %8d  seed %-10d %5.0f s  %s" % ("ok" if ok else "FAILED", name, count, seed, time.time() - began,
                                                     said[-1][8:] if said else ""), flush=True)
    return ok


def main():
    words = sys.argv[1:]
    if words and words[0] in CAMPAIGNS:
        try:
            numbers = [int(word) for word in words[1:]]
        except ValueError:
            sys.exit("soak: N and SEED are whole numbers")
        if len(numbers) > 2:
            sys.exit("soak: one word too many: soak NAME [N [SEED]]")
        count = numbers[0] if numbers else CAMPAIGNS[words[0]][1]
        seed = numbers[1] if len(numbers) > 1 else random.randrange(1, 1 << 30)
        sys.exit(0 if run(words[0], count, seed) else 1)
    minutes = 60.0
    if len(words) == 2 and words[0] == "--minutes":
        minutes, words = float(words[1]), []
    if words:
        sys.exit("soak: there is no campaign \"%s\"; the campaigns are %s" % (words[0], ", ".join(CAMPAIGNS)))
    end = time.time() + minutes * 60
    passed = failed = 0
    while time.time() < end:
        for name, (_, _, count) in CAMPAIGNS.items():
            if count is None:
                continue
            ok = run(name, count, random.randrange(1, 1 << 30))
            passed, failed = passed + ok, failed + (not ok)
            if time.time() >= end:
                break
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
