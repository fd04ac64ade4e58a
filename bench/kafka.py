#!/usr/bin/env python3
"""What an event costs on its way to a Kafka broker and back: this process, and the broker beside it, in both forms.

    python3 bench/kafka.py [--events N] [--batch N]

One broker, one partition, acks=all, on the same machine; the broker's own page cache serves the reader. CPU microseconds an event."""
import argparse
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(ROOT, "tests", "parts"))
import parts  # noqa: E402

BENCH = os.path.join(ROOT, "build", "release", "bench", "kafka_bench")


def folder_bytes(folder):
    """Blocks that are really there: Kafka's index files are mostly holes."""
    return sum(os.stat(os.path.join(at, name)).st_blocks * 512 for at, _, names in os.walk(folder) for name in names if name.endswith(".log"))


def run(up, form, events, batch):
    kafka = up["kafka"]
    with subprocess.Popen([BENCH, up.env["PENSTOCK_TEST_KAFKA"], form, str(events), str(batch)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as child:
        before, disk = kafka.cpu_seconds(), folder_bytes(kafka.folder)
        rows = []
        for _ in range(2):
            line = json.loads(child.stdout.readline())
            now = kafka.cpu_seconds()
            line["form"], line["broker_us_per_event"] = form, round((now - before) * 1e6 / events, 2)
            line["disk_bytes_per_event"] = round((folder_bytes(kafka.folder) - disk) / events)
            before, disk = now, folder_bytes(kafka.folder)
            rows.append(line)
            child.stdin.write("\n")
            child.stdin.flush()
    return rows


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--events", type=int, default=400000)
    words.add_argument("--batch", type=int, default=1000)
    given = words.parse_args()
    print("| form | what | event bytes | CPU us, client | CPU us, broker | events/s | disk bytes an event |\n|---|---|---:|---:|---:|---:|---:|")
    for line in subprocess.run([BENCH, "-", "forms", str(given.events)], capture_output=True, text=True, check=True).stdout.splitlines():
        row = json.loads(line)
        print("| %s | %s | %d | %.2f | | | |" % ("upstream, no broker", row["what"], row["event_bytes"], row["cpu_us_per_event"]))
    with parts.running(["kafka"]) as up:
        run(up, "frames", 20000, given.batch)  # the broker's code is warm
        for form in ("frames", "upstream", "frames", "upstream"):
            for row in run(up, form, given.events, given.batch):
                print("| %s | %s | %d | %.2f | %.2f | %d | %d |" % (form, row["what"], row["event_bytes"], row["cpu_us_per_event"],
                                                                      row["broker_us_per_event"], row["events_per_s"], row["disk_bytes_per_event"]))
                sys.stdout.flush()


if __name__ == "__main__":
    main()
