#!/usr/bin/env python3
"""A cluster in bad hours, simulated: does any stage, partition or key become the neck?

    python3 bench/simulate.py [--events-per-month 1e12] [--seconds 300] [--step-ms 250] [--svg FILE] [--check]

Machines, partitions and costs are those of `penstock plan` (its --json, when build/release/penstock is there; else of the same numbers
written below). Events flow as masses: every step each server takes from its queues what its cores can do in that step, queues are
first in first out, and what stands in a queue is kept by the step in which it arrived, so that waits are known and not guessed. Between
what a mass does and what single events do lies less than a step. Stages:

    clients -> capture -> broker (accepted) -> ingest, a partition's share with its owner -> PostgreSQL -> broker (rows) -> load -> ClickHouse

Keys: a hot tenant is a share of all events, spread over all partitions; a hot id is one key, and all of it is in one partition, but for what
ingest moves aside when the partition is behind (order within the key is kept, so the moved part takes the same thread's time later).
--check tests the simulation itself: nothing is lost or made, and queues obey Little's law."""
import argparse
import collections
import json
import math
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
PENSTOCK = os.environ.get("PENSTOCK", os.path.join(ROOT, "build", "release", "penstock"))


class Queue:
    """First in, first out; masses of events by the time they came. Counts what Little's law needs."""

    def __init__(self):
        self.parts = collections.deque()
        self.mass = self.came = self.went = 0.0
        self.waited = self.stood = 0.0  # event-seconds: as told by those who left; as seen standing

    def put(self, mass, since):
        if mass > 0:
            self.parts.append([mass, since])
            self.mass += mass
            self.came += mass

    def take(self, room, now):
        """At most `room` events, as (mass, since) in order."""
        out = []
        while room > 1e-9 and self.parts:
            part = self.parts[0]
            mass = min(room, part[0])
            out.append((mass, part[1]))
            self.waited += mass * (now - part[1])
            self.went += mass
            self.mass -= mass
            room -= mass
            if mass >= part[0] - 1e-9:
                self.mass -= part[0] - mass
                self.went += part[0] - mass
                self.waited += (part[0] - mass) * (now - part[1])
                self.parts.popleft()
            else:
                part[0] -= mass
        if not self.parts:
            self.mass = 0.0
        return out

    def age(self, now):
        return now - self.parts[0][1] if self.parts else 0.0


class Stage:
    """A queue for each lane (partition), served by machines: a lane by one machine, a machine's cores shared by its lanes. `lane_us` is what
    one thread does of an event, and bounds a lane; `us` is all of its CPU."""

    def __init__(self, name, machines, cores, us, lanes, lane_us=0.0, share=0.9):
        self.name, self.machines, self.cores, self.us, self.lane_us, self.share = name, machines, cores, us, lane_us, share
        self.queues = [Queue() for _ in range(lanes)]
        self.down = set()      # machines
        self.owner_until = {}  # lane: nobody owns it until then
        self.busy_most = self.age_most = self.mass_most = 0.0
        self.busy_sum = self.busy_steps = 0

    def up(self):
        return [m for m in range(self.machines) if m not in self.down]

    def lose(self, machines, now, hand_over):
        owners = self.up()
        for lane in range(len(self.queues)):
            if owners and owners[lane % len(owners)] in machines:
                self.owner_until[lane] = now + hand_over
        self.down |= set(machines)

    def regain(self, now, hand_over):
        for lane in range(len(self.queues)):
            self.owner_until[lane] = max(self.owner_until.get(lane, 0), now + hand_over / 10)  # a planned hand-over is quicker
        self.down.clear()

    def run(self, now, step):
        """What every lane gives in this step: {lane: [(mass, since)]}."""
        owners, out, used = self.up(), {}, collections.Counter()
        if owners:
            ready = collections.defaultdict(list)
            for lane, queue in enumerate(self.queues):
                if queue.mass > 0 and self.owner_until.get(lane, 0) <= now:
                    ready[owners[lane % len(owners)]].append(lane)
            for machine, lanes in ready.items():
                room = self.cores * self.share * step * 1e6 / self.us  # events that its cores can do
                bound = step * 1e6 / self.lane_us if self.lane_us else math.inf
                lanes.sort(key=lambda lane: min(self.queues[lane].mass, bound))  # small ones first: what they leave is the others'
                for i, lane in enumerate(lanes):
                    taken = self.queues[lane].take(min(bound, room / (len(lanes) - i)), now)
                    mass = sum(m for m, _ in taken)
                    room -= mass
                    used[machine] += mass * self.us / 1e6 / step
                    if taken:
                        out[lane] = taken
        for queue in self.queues:
            queue.stood += queue.mass * step
        busy = max((used[m] / self.cores for m in owners), default=0.0)
        self.busy_most = max(self.busy_most, busy)
        self.busy_sum += busy
        self.busy_steps += 1
        self.age_most = max(self.age_most, max(queue.age(now) for queue in self.queues))
        self.mass_most = max(self.mass_most, sum(queue.mass for queue in self.queues))
        return out

    def mass(self):
        return sum(queue.mass for queue in self.queues)


class Cluster:
    def __init__(self, plan):
        n = {name: number["value"] for name, number in plan["numbers"].items()}
        part = {p["name"]: p["machines"] for p in plan["parts"]}
        cores, self.partitions = n["machine_cores"], plan["partitions"]
        self.rate, self.peak, self.zones = plan["events_per_second"], plan["events_per_second_peak"], int(n["zones"])
        broker_us = n["broker_write_us"] * n["log_copies"] + n["broker_read_us"] * n["log_copies"]
        self.capture = Stage("capture", part["capture"], cores, n["capture_us"] + n["kafka_write_us"], max(4 * part["capture"], 8))
        self.accepted = Stage("broker, accepted", part["brokers"], cores / 2, broker_us, self.partitions)
        self.ingest = Stage("ingest", part["ingest"], cores, n["ingest_us"] + n["ingest_postgres_us"] + n["kafka_read_us"] + n["kafka_write_us"],
                            self.partitions, n["ingest_order_us"])
        self.postgres = Stage("PostgreSQL", max(1, part["PostgreSQL"] // int(n["postgres_copies"])), cores,
                              n["changed"] * n["postgres_us"] + n["seen_us"], self.partitions)
        self.rows = Stage("broker, rows", part["brokers"], cores / 2, broker_us, self.partitions)
        self.load = Stage("load", part["load"], cores, n["load_us"] + n["kafka_read_us"], self.partitions)
        self.warehouse = Stage("ClickHouse", max(1, part["ClickHouse"] // int(n["warehouse_copies"])), cores * (1 - n["query_cores"]),
                               n["warehouse_us"], self.partitions)
        self.stages = [self.capture, self.accepted, self.ingest, self.postgres, self.rows, self.load, self.warehouse]
        self.offered = self.stored = 0.0
        self.waits = []  # (seconds from client to row, mass)
        self.lag = []    # (time, the oldest event's age anywhere, of lanes without the hot id)

    def step(self, now, step, rate, hot_share, hot_lane):
        mass = rate * step
        self.offered += mass
        each = mass / len(self.capture.queues)
        for queue in self.capture.queues:
            queue.put(each, now)
        after = self.capture.run(now, step)
        total = collections.Counter()
        for taken in after.values():
            for m, since in taken:
                total[since] += m
        for since, m in sorted(total.items()):
            for lane, queue in enumerate(self.accepted.queues):
                queue.put(m * ((1 - hot_share) / self.partitions + (hot_share if lane == hot_lane else 0)), since)
        for one, two in zip(self.stages[1:], self.stages[2:]):
            for lane, taken in one.run(now, step).items():
                for m, since in taken:
                    two.queues[lane].put(m, since)
        for taken in self.warehouse.run(now, step).values():
            for m, since in taken:
                self.stored += m
                self.waits.append((now + step - since, m))

    def inside(self):
        return sum(stage.mass() for stage in self.stages)

    def oldest(self, now, but=None):
        return max(queue.age(now) for stage in self.stages[1:] for lane, queue in enumerate(stage.queues) if lane != but)


def percentile(waits, part):
    waits, total, so_far = sorted(waits), sum(m for _, m in waits), 0.0
    for wait, mass in waits:
        so_far += mass
        if so_far >= part * total:
            return wait
    return 0.0


# name: (what happens, rate as a part of the peak, share of one id, [(from, what, ...)])
CASES = {
    "average hour": dict(rate="rate"),
    "busiest hour": dict(rate="peak"),
    "hot tenant": dict(rate="peak", more=0.3, why="one project sends 30 % of all events besides"),
    "hot id": dict(rate="peak", hot=0.05, why="one distinct id sends 5 % of all events"),
    "hot id, too hot": dict(rate="peak", hot=0.3, why="one distinct id sends 30 % of all events"),
    "lost broker": dict(rate="peak", lose=[("accepted", 1), ("rows", 1)], hand_over=6, why="one broker dies; leaders move in 6 s"),
    "lost ingest": dict(rate="peak", lose=[("ingest", 1)], hand_over=12, why="one machine dies; its partitions have owners after 12 s"),
    "lost zone": dict(rate="peak", zone=True, hand_over=12, why="a third of all machines dies at once"),
    "ingest away for an hour": dict(rate="rate", away="ingest", why="no ingest for an hour, then all of it"),
    "ClickHouse away for an hour": dict(rate="rate", away="warehouse", why="no inserts for an hour, then all of them"),
}


def run(plan, name, seconds, step):
    case, cluster = CASES[name], Cluster(plan)
    away = 3600.0 if "away" in case else 0.0
    begin = min(60.0, seconds / 5)
    end = begin + (away if away else seconds / 3)
    total = end + (3600.0 if away else seconds - end)
    hot_lane = 0 if "hot" in case else None
    recovered, now, started, before = None, 0.0, False, []
    if away:
        step = max(step, 1.0)
    while now < total:
        bad = begin <= now < end
        if bad and not started:
            started = True
            for stage, count in case.get("lose", []):
                getattr(cluster, stage).lose(range(count), now, case["hand_over"])
            if case.get("zone"):
                for stage in cluster.stages:
                    if stage.machines > 1:
                        stage.lose(range(math.ceil(stage.machines / cluster.zones)) if stage.machines >= cluster.zones else [0], now, case["hand_over"])
            if away:
                getattr(cluster, case["away"]).down = set(range(getattr(cluster, case["away"]).machines))
        if started and now >= end and any(stage.down for stage in cluster.stages):
            for stage in cluster.stages:
                if stage.down:
                    stage.regain(now, case.get("hand_over", 2))
        rate = getattr(cluster, case["rate"]) * (1 + case.get("more", 0.0) * bad)
        cluster.step(now, step, rate, case.get("hot", 0.0) * bad, hot_lane)
        if int(now / 5) != int((now + step) / 5) or now == 0:
            lag = cluster.oldest(now)
            cluster.lag.append((now, lag, cluster.oldest(now, hot_lane)))
            if now < begin:
                before.append(lag)
            usual = max(before, default=0.0) + max(1.0, step)
            if started and now >= end and recovered is None and lag <= usual:
                recovered = now - end
            if now >= end and lag > usual:
                recovered = None
        now += step
    return cluster, recovered, now


def neck(cluster):
    """The stage where most of the waiting was."""
    return max(cluster.stages, key=lambda stage: sum(queue.stood for queue in stage.queues))


def row(name, cluster, recovered):
    worst = neck(cluster)
    others = max(other for _, _, other in cluster.lag)
    return [name, "%.2f" % percentile(cluster.waits, 0.5), "%.2f" % percentile(cluster.waits, 0.99), "%.1f" % max(lag for _, lag, _ in cluster.lag),
            "%.1f" % others, "%s" % worst.name, "%.0f %%" % (100 * worst.busy_most), "-" if recovered is None else "%.0f" % recovered,
            "%.0e" % (abs(cluster.offered - cluster.stored - cluster.inside()) / cluster.offered)]


HEAD = ["case", "p50 s", "p99 s", "oldest s", "oldest elsewhere s", "most waiting at", "its busiest machine", "well again after s", "lost or made, of 1"]


def svg(lags, to):
    """Each case's oldest event over time, one small picture a case."""
    wide, high, per_row = 300, 120, 3
    rows = math.ceil(len(lags) / per_row)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">' % (per_row * wide, rows * (high + 40))]
    for i, (name, lag) in enumerate(lags.items()):
        left, top = i % per_row * wide + 40, i // per_row * (high + 40) + 20
        most_t, most = max(t for t, _, _ in lag) or 1, max(max(a for _, a, _ in lag), 1.0)
        out.append('<text x="%d" y="%d">%s: oldest event, most %.1f s</text>' % (left, top - 6, name, max(a for _, a, _ in lag)))
        out.append('<rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="#bbb"/>' % (left, top, wide - 60, high))
        for column, colour in ((1, "#c33"), (2, "#36c")):
            points = " ".join("%.1f,%.1f" % (left + point[0] / most_t * (wide - 60), top + high - point[column] / most * high) for point in lag)
            out.append('<polyline points="%s" fill="none" stroke="%s"/>' % (points, colour))
        out.append('<text x="%d" y="%d">0</text><text x="%d" y="%d" text-anchor="end">%.0f s</text>' % (left, top + high + 13, left + wide - 60, top + high + 13, most_t))
    out.append("</svg>")
    with open(to, "w") as file:
        file.write("\n".join(out) + "\n")


def plan_of(events):
    if os.path.exists(PENSTOCK):
        done = subprocess.run([PENSTOCK, "plan", "--events-per-month", str(events), "--json"], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)
    raise SystemExit("simulate: %s is not there, whose plan is simulated: ./dev build" % PENSTOCK)


def check():
    """The simulation's own tests."""
    # A queue of constant service: the wait of masses is the standing mass over the rate (Little), and nothing is lost.
    queue, step, now, out = Queue(), 0.1, 0.0, 0.0
    for i in range(20000):
        queue.put(10.0 if i % 100 < 60 else 2.0, now)
        out += sum(m for m, _ in queue.take(7.5, now))
        queue.stood += queue.mass * step
        now += step
    waiting = sum(m * (now - since) for m, since in queue.parts)
    assert abs(queue.came - out - queue.mass) < 1e-6, "a queue lost or made something"
    assert abs(queue.stood - queue.waited - waiting) < 1e-6 * queue.stood, "Little's law: %f stood, %f waited" % (queue.stood, queue.waited + waiting)
    # A stage at twice its load gives its capacity, at half its load the load; a lane no more than its thread.
    for rate, expected in ((50.0, 50.0), (200.0, 90.0)):
        stage = Stage("s", 1, 1, 10000.0, 4)
        given = 0.0
        for i in range(1000):
            for q in stage.queues:
                q.put(rate * step / 4, i * step)
            given += sum(m for taken in stage.run(i * step, step).values() for m, _ in taken)
        assert abs(given / (1000 * step) - expected) < 0.01 * expected, (rate, given / (1000 * step))
    stage = Stage("s", 4, 8, 100.0, 8, lane_us=1000.0)
    stage.queues[3].put(1e6, 0.0)
    assert abs(sum(m for taken in stage.run(0.0, 1.0).values() for m, _ in taken) - 1000.0) < 1e-6, "a lane is one thread"
    # Whole cases: what went in came out or is inside; Little's law in every stage; the hot id hurts its own lane alone.
    plan = plan_of(5e9)
    for name in ("busiest hour", "lost zone", "hot id"):
        cluster, _, now = run(plan, name, 120, 0.1)
        assert abs(cluster.offered - cluster.stored - cluster.inside()) < 1e-6 * cluster.offered, name
        for stage in cluster.stages:
            for q in stage.queues:
                # masses move on within the step in which they came, which both sides count alike
                assert abs(q.came - q.went - q.mass) < 1e-6 * max(1.0, q.came), (name, stage.name)
    print("check: conservation, capacity and Little's law hold")


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--events-per-month", type=float, default=1e12)
    words.add_argument("--seconds", type=float, default=300)
    words.add_argument("--step-ms", type=float, default=250)
    words.add_argument("--svg")
    words.add_argument("--check", action="store_true")
    given = words.parse_args()
    if given.check:
        return check()
    plan, lags = plan_of(given.events_per_month), {}
    print("%.3g events a month: %.0f/s, %.0f/s in the busiest hour; %s; %d partitions\n" % (
        given.events_per_month, plan["events_per_second"], plan["events_per_second_peak"],
        ", ".join("%s %d" % (p["name"], p["machines"]) for p in plan["parts"]), plan["partitions"]))
    print("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD))
    for name in CASES:
        cluster, recovered, _ = run(plan, name, given.seconds, given.step_ms / 1000)
        lags[name] = cluster.lag
        print("| " + " | ".join(row(name, cluster, recovered)) + " |")
        sys.stdout.flush()
    if given.svg:
        svg(lags, given.svg)
    return None


if __name__ == "__main__":
    main()
