#!/usr/bin/env python3
"""What an answered event costs with the log on Kafka: `./dev bench capture-kafka [--json] [--seconds N] [--form frames|upstream] [--partitions N] [--connections N] [--compression none]
[--broker-defaults] [--real-time] [--load w2]`.

One real broker (tests/parts/kafka.py), acks=all, spool on. Server and broker on core 0, wrk on core 1. The
broker's socket buffers are the kernel's (docs/kafka.md), unless --broker-defaults. CPU is user + system of capture and of the broker, over the events that were answered, in microseconds an event
(= CPU-seconds per million). The broker is warmed up, first by requests of other
messages, then by the load itself until its compilers rest: they take more than all the rest of it for a minute after its start. What
they still took is told. nginx (body read and thrown away) runs before and after."""
import argparse
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "tests", "parts"))
import capture
import machine
import parts

kafka = parts.load("kafka")

PARTITIONS, CONNECTIONS, WARM_SECONDS, WARM_TURNS, WARM_REQUESTS = 16, 64, 4, 15, 20000
BROKER = {"socket.receive.buffer.bytes": -1, "socket.send.buffer.bytes": -1}
COMPILERS_REST = 0.04  # of the broker's time


def start_penstock(folder, brokers, args, prefix):
    port = machine.free_port()
    data = os.path.join(folder, "data")
    binary = os.path.join(machine.BUILD, "penstock")
    os.makedirs(data, exist_ok=True)
    with open(os.path.join(data, "penstock.yaml"), "w") as out:
        out.write("log:\n  backend: kafka\n  brokers: [%s]\n  partitions: %d\n  replication: 1\n  topic_prefix: %s\n  form: %s\n  compression: %s\n"
                  % (brokers, args.partitions, prefix, args.form, args.compression))
    subprocess.run([binary, "token", "create", "--token", machine.TOKEN, "--data", data], check=True, capture_output=True)
    server = machine.Server([binary, "serve", "--data", data, "--listen", "127.0.0.1:%d" % port, "--roles", "capture"], port, folder,
                            machine.SERVER_CORE)
    end = time.time() + 20
    while time.time() < end:
        try:
            return server, [capture.capture_pid(server)]
        except SystemExit:
            time.sleep(0.2)
    raise SystemExit("capture did not start: " + folder)


def warm(part, topic, folder):
    """A broker that was just started runs most of what it does through an interpreter: some ten thousand requests change that."""
    path = os.path.join(folder, "warm")
    with open(path, "w") as out:
        out.writelines("x" * 300 + "\n" for _ in range(WARM_REQUESTS))
    with open(path) as at:
        subprocess.run(["kcat", "-P", "-b", part.addresses(), "-t", topic, "-X", "batch.num.messages=1", "-X", "linger.ms=0"], stdin=at,
                       check=True, timeout=200)


def compilers_seconds(pids):
    total = 0
    for pid in pids:
        for task in os.listdir("/proc/%d/task" % pid):
            try:
                if " Compiler" in open("/proc/%d/task/%s/comm" % (pid, task)).read():
                    total += int(open("/proc/%d/task/%s/schedstat" % (pid, task)).read().split()[0])
            except OSError:
                pass  # it ended
    return total / 1e9


def warm_by_load(pids, load):
    """Until the compilers rest, or have had their time."""
    for _ in range(WARM_TURNS):
        cpu, compilers = machine.cpu_seconds(pids), compilers_seconds(pids)
        load()
        cpu, compilers = machine.cpu_seconds(pids) - cpu, compilers_seconds(pids) - compilers
        if compilers < cpu * COMPILERS_REST:
            break


def hurry(pids, now):
    """In front of whatever else a busy machine does, or no more."""
    for pid in pids:
        subprocess.run(["chrt", "-a", "-r" if now else "-o", "-p", "5" if now else "0", str(pid)], check=True, capture_output=True)


def told(data):
    """What capture says of its way to the brokers."""
    binary = os.path.join(machine.BUILD, "penstock")
    status = json.loads(subprocess.run([binary, "status", "--data", data, "--json"], capture_output=True, check=True).stdout)
    return status["kafka"]["raw"]


def measure(args, name, target, per, encoding, part, folder):
    work = os.path.join(folder, name)
    server, pids = start_penstock(work, part.addresses(), args, "%s_%d_" % (name, os.getpid()))
    nginx = machine.start_nginx(os.path.join(folder, "nginx-" + name))
    brokers = [process.pid for process in part.processes.values()]
    try:
        bodies = os.path.join(folder, name + ".bodies")
        yard = list(machine.children(nginx.process.pid))
        warm(part, "%s_%d_%s" % (name, os.getpid(), "raw" if args.form == "frames" else "events_plugin_ingestion"), folder)
        warm_by_load(brokers, lambda: machine.wrk(server.port, target, bodies, args.connections, WARM_SECONDS, encoding))
        urgent = [os.getpid(), *pids, *yard, *brokers] if args.real_time else []
        hurry(urgent, True)
        before = capture.measure(nginx, yard, name, target, per, encoding, folder, args.connections, 3)
        broker, compilers = machine.cpu_seconds(brokers), compilers_seconds(brokers)
        got = capture.measure(server, pids, name, target, per, encoding, folder, args.connections, args.seconds)
        broker, compilers = machine.cpu_seconds(brokers) - broker, compilers_seconds(brokers) - compilers
        after = capture.measure(nginx, yard, name, target, per, encoding, folder, args.connections, 3)
        hurry(urgent, False)
        said = told(os.path.join(work, "data"))
    finally:
        server.stop()
        nginx.stop()
    got["broker_us"] = broker * 1e6 / max(got["rate"] * args.seconds, 1)
    got["compilers_us"] = compilers * 1e6 / max(got["rate"] * args.seconds, 1)
    got["nginx_us"] = (before["us"] + after["us"]) / 2
    got["joined"] = said["records"] / max(said["messages"], 1)
    got["outages"] = said["outages"]
    return got


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--json", action="store_true")
    ap.add_argument("--seconds", type=int, default=6)
    ap.add_argument("--partitions", type=int, default=PARTITIONS)
    ap.add_argument("--broker-defaults", action="store_true", help="its settings are what Kafka brings")
    ap.add_argument("--real-time", action="store_true", help="what is measured runs at real-time priority, its warming up does not")
    ap.add_argument("--connections", type=int, default=CONNECTIONS)
    ap.add_argument("--compression", choices=("lz4", "zstd", "none"), default="lz4")
    ap.add_argument("--form", choices=("frames", "upstream"), default="frames")
    ap.add_argument("--load", choices=[one[0] for one in capture.WORKLOADS], help="only this one")
    args = ap.parse_args()
    kafka.fetch()
    folder = machine.temporary_folder()
    part = kafka.Part(folder, brokers=1, java="-Xmx512m -Xms512m -XX:+UseSerialGC",
                      settings={} if args.broker_defaults else BROKER)
    rows, out, idle = [], {}, []
    try:
        machine.make_bodies(folder)
        part.start()
        brokers = [process.pid for process in part.processes.values()]
        for process in part.processes.values():
            for task in os.listdir("/proc/%d/task" % process.pid):
                os.sched_setaffinity(int(task), {int(machine.SERVER_CORE)})
        for name, target, per, encoding in capture.WORKLOADS:
            if args.load not in (None, name):
                continue
            rows.append((name, measure(args, name, target, per, encoding, part, folder)))
            time.sleep(1)
            idle.append(machine.cpu_seconds(brokers))
            time.sleep(2)
            idle[-1] = (machine.cpu_seconds(brokers) - idle[-1]) / 2
            out.update({"%s_%s" % (name, key): round(value, 3) for key, value in rows[-1][1].items()})
    finally:
        part.stop()
        machine.remove(folder)
    if args.json:
        print(json.dumps(out))
        return
    print("capture on Kafka, form %s, one broker, %d partitions, compression %s; %s; %d connections" % (
        args.form, args.partitions, args.compression, machine.machine_text(), args.connections))
    print("| load | capture | broker | its compilers | together | nginx | of nginx's | events/s | p50 ms | p99 ms | RSS MiB | records a message | outages |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, f in rows:
        print("| %s | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %s | %.1f | %.1f | %.0f | %.1f | %d |" % (
            name.upper(), f["us"], f["broker_us"], f["compilers_us"], f["us"] + f["broker_us"], f["nginx_us"], (f["us"] + f["broker_us"]) / f["nginx_us"],
            format(round(f["rate"]), ","), f["p50_ms"], f["p99_ms"], f["rss_mib"], f["joined"], f["outages"]))
    print("\nA broker that nobody asks anything took %.0f ms of CPU a second (%s)" % (
        sum(idle) * 1000 / len(idle), ", ".join("%.0f" % (one * 1000) for one in idle)))


if __name__ == "__main__":
    main()
