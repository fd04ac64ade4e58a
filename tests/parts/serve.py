#!/usr/bin/env python3
"""`./dev run --deploy WHERE`: starts what a Penstock on these stores needs, under build/cluster, writes its settings and starts it.

WHERE is `cluster`, or some of log=kafka, people=postgres, warehouse=clickhouse, catalog=postgres, parted by commas. What is kept there stays
from one run to the next; the ports are others each time. Ctrl-C ends Penstock, and then the servers, by process id. For a look
and for development: one broker, one database, on one machine, without passwords."""
import os
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "flow")]
import deploy  # noqa: E402
import parts  # noqa: E402

BINARY = os.environ.get("PENSTOCK", os.path.join(ROOT, "build", "release", "penstock"))


def settings(wanted, env):
    """The lines of penstock.yaml."""
    lines = ["# written by `./dev run --deploy`, anew each time"]
    postgres, kafka = env.get("PENSTOCK_TEST_POSTGRES"), env.get("PENSTOCK_TEST_KAFKA")
    if "log" in wanted:
        lines.append("log: {backend: kafka, brokers: [%s], partitions: 4, replication: 1}" % ", ".join(
            '"%s"' % broker for broker in kafka.split(",")))
    for store in ("people", "catalog"):
        if store in wanted:
            lines.append('%s: {backend: postgres, url: "%s"}' % (store, postgres))
    if "warehouse" in wanted:
        lines.append('warehouse: {backend: clickhouse, url: "%s"}' % env["PENSTOCK_TEST_CLICKHOUSE"])
    return "\n".join(lines) + "\n"


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: serve.py WHERE [FLAGS of penstock serve]")
    wanted = deploy.read(sys.argv[1])
    folder = os.path.join(ROOT, "build", "cluster")
    os.makedirs(folder, exist_ok=True)
    needed = sorted({deploy.PARTS[backend] for backend in wanted.values()})
    print("dev: starting %s under %s" % (", ".join(needed), folder), file=sys.stderr, flush=True)
    with parts.running(needed, folder) as up:
        config = os.path.join(folder, "penstock.yaml")
        with open(config, "w") as out:
            out.write(settings(wanted, up.env))
        for name, value in sorted(up.env.items()):
            if name in ("PENSTOCK_TEST_KAFKA", "PENSTOCK_TEST_POSTGRES", "PENSTOCK_TEST_CLICKHOUSE"):
                print("dev: %s" % value, file=sys.stderr, flush=True)
        # Ctrl-C and SIGTERM are for Penstock; when that has ended, the servers may.
        child = subprocess.Popen([BINARY, "serve", "--data", os.path.join(folder, "data"), "--config", config, *sys.argv[2:]])
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        return child.wait()


if __name__ == "__main__":
    sys.exit(main())
