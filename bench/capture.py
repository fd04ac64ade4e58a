#!/usr/bin/env python3
"""What an answered event costs at the capture role: `./dev bench capture [--json] [--seconds N] [--all-roles] [--load W1 ...]`.

Server on core 0, wrk on core 1, 64 connections. Penstock answers after the sync. CPU is user + system of the
process that answers, over the events it took, in microseconds an event (= CPU-seconds per million). nginx
(body read and thrown away) and a bare epoll loop run in the same half-minute, before and after.

Capture has the core to itself, as nginx and the bare loop have; events/s and times are then capture's. --all-roles: ingest and load
run on the same core and work off what comes, which takes about half of it; then events/s and times are those of a machine of one core.
"""
import argparse
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import machine

WORKLOADS = [("w1", "/e/", 1, None), ("w2", "/batch/", 100, None), ("w3", "/batch/", 100, "gzip")]


def measure(server, pids, name, target, per, encoding, folder, connections, seconds, scheme="http"):
    bodies = os.path.join(folder, name + ".bodies")
    peak = machine.MemoryPeak(pids)
    peak.start()
    before = machine.cpu_seconds(pids)
    result = machine.wrk(server.port, target, bodies, connections, seconds, encoding, scheme)
    cpu = machine.cpu_seconds(pids) - before
    events = (result["requests"] - result["refused"]) * per
    if result["refused"] or result["socket_errors"]:
        print("%s: %d refused, %d socket errors" % (name, result["refused"], result["socket_errors"]), file=sys.stderr)
    return {"us": cpu * 1e6 / max(events, 1), "rate": events / (result["us"] / 1e6), "p50_ms": result["p50_us"] / 1e3,
            "p99_ms": result["p99_us"] / 1e3, "rss_mib": peak.end(), "refused": result["refused"]}


def capture_pid(server):
    names = {comm: pid for pid, comm in machine.children(server.process.pid).items()}
    for comm, pid in names.items():
        if "capture" in comm:
            return pid
    raise SystemExit("no capture process among " + str(names))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--json", action="store_true")
    ap.add_argument("--seconds", type=int, default=6)
    ap.add_argument("--connections", type=int, default=64)
    ap.add_argument("--all-roles", action="store_true", help="ingest and load on the same core, at work")
    ap.add_argument("--load", nargs="+", choices=["W1", "W2", "W3"], default=["W1", "W2", "W3"])
    ap.add_argument("--config", help="a penstock.yaml for the server")
    ap.add_argument("--tls", action="store_true", help="https, to nginx too; without the bare loop")
    args = ap.parse_args()
    extra = ("--config", os.path.abspath(args.config)) if args.config else ()
    folder = machine.temporary_folder()
    out = {}
    rows = []
    servers = {}
    try:
        machine.make_bodies(folder)
        tls = machine.make_certificate(folder) if args.tls else None
        scheme = "https" if args.tls else "http"
        for name, target, per, encoding in [w for w in WORKLOADS if w[0].upper() in args.load]:
            servers["nginx"] = machine.start_nginx(os.path.join(folder, "nginx-" + name), tls)
            if not args.tls:
                servers["discard"] = machine.start_discard(os.path.join(folder, "discard-" + name))
            servers["penstock"] = machine.start_penstock(os.path.join(folder, "penstock-" + name), tls=tls, extra=extra,
                                                         role=None if args.all_roles else "capture")
            pids = {"nginx": list(machine.children(servers["nginx"].process.pid)),
                    "penstock": [capture_pid(servers["penstock"])]}
            if not args.tls:
                pids["discard"] = [servers["discard"].process.pid]
            let_go = machine.LetGo(servers["penstock"].data)
            if not args.all_roles:
                let_go.start()
            got = {}
            machine.wrk(servers["penstock"].port, target, os.path.join(folder, name + ".bodies"), args.connections, 1, encoding,
                        scheme)
            for server, seconds in (("nginx", 3), ("discard", 3), ("penstock", args.seconds), ("nginx", 3)):
                if server not in servers:
                    continue
                figures = measure(servers[server], pids[server], name, target, per, encoding, folder,
                                  args.connections, seconds, scheme)
                if server in got:
                    figures = {key: (figures[key] + got[server][key]) / 2 for key in figures}
                got[server] = figures
            if not args.all_roles:
                let_go.end()
            while servers:
                servers.popitem()[1].stop()
            for server in got:
                rows.append((name, server, got[server], got[server]["us"] / got["nginx"]["us"]))
                prefix = name if server == "penstock" else "%s_%s" % (server, name)
                for key, suffix in (("us", "_us"), ("rate", "_rate"), ("p50_ms", "_p50_ms"), ("p99_ms", "_p99_ms"), ("rss_mib", "_rss_mib")):
                    out[prefix + suffix] = round(got[server][key], 3)
    finally:
        while servers:
            servers.popitem()[1].stop()
        machine.remove(folder)
    if args.json:
        print(json.dumps(out))
        return
    print("capture%s%s, answer after the sync; %s; %d connections" % (
        " over TLS" if args.tls else "", ", ingest and load on its core" if args.all_roles else "", machine.machine_text(), args.connections))
    print("| load | server | CPU-s per M events | of nginx's | events/s | p50 ms | p99 ms | RSS MiB |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for name, server, f, ratio in rows:
        print("| %s | %s | %.2f | %.2f | %s | %.1f | %.1f | %.0f |" % (
            name.upper(), server, f["us"], ratio, format(round(f["rate"]), ","), f["p50_ms"], f["p99_ms"], f["rss_mib"]))


if __name__ == "__main__":
    main()
