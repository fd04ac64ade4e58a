#!/usr/bin/env python3
"""`./dev soak disks [IMAGES [SEED]]`: the power goes while everything runs: log, people, catalog, warehouse.

One Penstock runs for a while under load with merges, imports, heatmaps and events that are sent again, with small segments,
small files of seen ids and with rests, so that segments roll and go, files of ids are made and merged, LMDB grows and
DuckDB checkpoints, while now and then an operator erases a person; tests/shim/journal.c writes down each call that changes a file, and the
clients write the acknowledgements into the same journal. Then, for each image, a random moment is chosen and
a data folder is made as a disk may hold it:
  - what a sync that had ended covered is there;
  - each page of 4 KiB that was written and not synced is there, or not, or torn at 512 bytes, or of some moment between;
  - names that were made, moved or deleted since the last sync of their folder are there up to a random one. In one
    image of three a file's own sync does not cover its name, as POSIX allows; in the others it covers all names before
    it, as on a journaling file system;
  - the head of a topic, which is written through a map, is of any noted moment, or not there.
Penstock is started on it, and must by itself come to: every acknowledged event a row (of heatmaps, if it is one), one row an
id, nothing that was not sent, each person's last property, and accepted = the sum of all fates. Who was erased when the
power went is gone from tables and log; who was being erased is there or gone. Then events that it holds are
sent once more, each of which must be known for a duplicate.
"""
import bisect
import collections
import json
import os
import random
import shutil
import struct
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "flow"))
import shims
from harness import ROOT, Serve, uuid7

WRITE, SIZE, SYNC_BEGIN, SYNC_END, CREATE, RENAME, UNLINK, MKDIR, RMDIR, DIRSYNC_BEGIN, DIRSYNC_END, HEAD, ACK, ERASE, ERASED = range(1, 16)
NOTE = struct.Struct("<IIQQQIIII")
MAGIC, DURABLE, ZEROS, PAGE, SECTOR = 0x4A524E4C, 1, 2, 4096, 512
LARGE_EACH_S, LARGE_FOR_S = 2, 0.15  # all senders do so in the same moments
SEEN_RECENT_MAX, POINTS, AGAIN = 300, 3, 400  # ids in a new file; points of a heatmap event; events sent after the cut
SEEN_FILES, SLOW_S = 3, 120  # more than so many files are made, if that takes no longer than this beside the workload's time
Note = collections.namedtuple("Note", "operation inode at bytes flags path to data")


# --- the workload --------------------------------------------------------------------------------

class Work:
    """The senders go on for so many seconds, and, on a machine that is slow, until there were enough files of seen ids to cut between."""

    def __init__(self, data, seconds):
        self.folder, self.until, self.last = os.path.join(data, "people", "seen"), time.time() + seconds, 0

    def goes_on(self):
        for name in listed(self.folder):
            if name.endswith(".run"):
                self.last = max(self.last, int(name[:-4], 16))  # older ones are merged into newer ones, and go
        now = time.time()
        assert now < self.until + SLOW_S, "%d files of seen ids were made" % self.last
        return now < self.until or self.last <= SEEN_FILES


class Sender(threading.Thread):
    """Users that come without a name, change, and are identified, live or as imports (their own users: nothing orders the
    two topics); each acknowledgement goes to the journal."""

    def __init__(self, serve, token, journal, number, seed, work):
        super().__init__(daemon=True)
        self.serve, self.token, self.journal, self.number, self.work = serve, token, journal, number, work
        self.random, self.sent, self.count, self.failed = random.Random(seed + number), {}, 0, None
        self.pause, self.latest = 1000, {lane: collections.deque(maxlen=400) for lane in "uh"}

    def batch(self, lane):
        events = []
        large = time.time() % LARGE_EACH_S < LARGE_FOR_S  # more than a megabyte each: groups that go past the page cache
        for _ in range(60 if large else self.random.choice([1, 3, 20, 60])):
            who = self.random.randrange(12)
            self.count += 1
            event = {"uuid": uuid7(), "event": "step", "distinct_id": "s%d-%s%d" % (self.number, lane, who),
                     "properties": {"n": self.count, "pad": self.random.choice("xyz") * (30000 if large else self.random.randrange(900)),
                                    "$set": {"last": self.count}}}
            dice = self.random.random()
            if dice < 0.08:  # somebody nameless turns out to be this user
                nameless = "s%d-a%d" % (self.number, self.count)
                events.append({"uuid": uuid7(), "event": "look", "distinct_id": nameless, "properties": {"n": 0}})
                event.update(event="$identify")
                event["properties"]["$anon_distinct_id"] = nameless
            elif dice < 0.12:
                event.update(event="$$heatmap", properties={
                    "n": 0, "$viewport_height": 900, "$viewport_width": 600,
                    "$heatmap_data": {"u": [{"x": x, "y": 1, "type": "click"} for x in range(POINTS)]}})
            elif dice < 0.2 and self.latest[lane]:  # one that was sent, of this batch too
                event = self.random.choice(self.latest[lane])
            events.append(event)
            self.latest[lane].append(event)
        return events

    def run(self):
        try:
            while self.work.goes_on():
                lane = "h" if self.random.random() < 0.2 else "u"
                events = self.batch(lane)
                for event in events:
                    self.sent[event["uuid"]] = event
                self.serve.post("/batch/", {"api_key": self.token, "historical_migration": lane == "h", "batch": events})
                write_note(self.journal, ACK, " ".join(event["uuid"] for event in events))
                time.sleep(self.random.uniform(0, 0.03))
                if self.count > self.pause: # all of them rest, so that the warehouse is closed, and opened again
                    self.pause += 8000
                    time.sleep(2.5)
        except Exception as failure:  # told by record()
            self.failed = failure


def write_note(journal, operation, text):
    os.write(journal, NOTE.pack(MAGIC, operation, 0, 0, 0, 0, 0, len(text), 0) + text.encode())


class Operator(threading.Thread):
    """Erases persons, who have events and a merged id and say nothing after it; when it was asked, and when it was answered, goes
    to the journal."""

    def __init__(self, serve, token, journal, work, environment):
        super().__init__(daemon=True)
        self.serve, self.token, self.journal, self.work, self.environment = serve, token, journal, work, environment
        self.sent, self.failed = {}, None

    def erase(self, who):
        events = [{"uuid": uuid7(), "event": "look", "distinct_id": who, "properties": {"n": n}} for n in range(5)]
        events.append({"uuid": uuid7(), "event": "look", "distinct_id": who + "-b", "properties": {"n": 5}})
        events.append({"uuid": uuid7(), "event": "$merge_dangerously", "distinct_id": who, "properties": {"n": 6, "alias": who + "-b"}})
        for event in events:
            self.sent[event["uuid"]] = event
        self.serve.post("/batch/", {"api_key": self.token, "batch": events})
        write_note(self.journal, ACK, " ".join(event["uuid"] for event in events))
        end = time.time() + 60
        while len(self.known(who)) < 2:
            assert time.time() < end, "%s is not known after 60 s" % who
            time.sleep(0.02)
        write_note(self.journal, ERASE, who)
        asked = self.serve.cli("person", "delete", "--with-events", "--now", who, "--json", env=self.environment)
        write_note(self.journal, ERASED, "%s %d" % (who, json.loads(asked.stdout)["request"]))

    def known(self, who):
        shown = self.serve.cli("person", "show", who, "--json", check=False)
        return json.loads(shown.stdout)["distinct_ids"] if shown.returncode == 0 else []

    def run(self):
        try:
            count = 0
            while self.work.goes_on():
                self.erase("gone%d" % count)
                count += 1
                time.sleep(0.3)
        except Exception as failure:  # told by record()
            self.failed = failure


CONFIG = """capture:
  segment_bytes: %s
  retention: %s
  cage: false # the journal is written by calls of its own
ingest:
  output_retention: 1s
  geoip_folder: "off"
load:
  idle: 1s
"""


def record(folder, seconds, seed):
    """Runs the workload; gives the notes and what was sent."""
    data, path = os.path.join(folder, "data"), os.path.join(folder, "journal")
    journal = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    environment = {"LD_PRELOAD": shims.built("journal"), "JOURNAL": path, "JOURNAL_ROOT": data,
                   "PENSTOCK_SEEN_RECENT_MAX": str(SEEN_RECENT_MAX)}
    config = os.path.join(folder, "penstock.yaml")
    with open(config, "w") as out:
        rnd = random.Random(seed)  # an erasure finds sealed segments, or none; a large group has one alone, or not
        out.write(CONFIG % (rnd.choice(["1MiB", "6MiB"]), rnd.choice(["1s", "1h"])))
    with Serve(data=data, env=environment, extra=["--config", config]) as serve:
        token = serve.token()
        work = Work(data, seconds)
        senders = [Sender(serve, token, journal, n, seed, work) for n in range(4)]
        senders.append(Operator(serve, token, journal, work, environment))
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        serve.kill("all")
    os.close(journal)
    failed = [sender.failed for sender in senders if sender.failed]
    assert not failed, failed[0]
    sent = {}
    for sender in senders:
        sent.update(sender.sent)
    return read_notes(path, data), sent, token


def read_notes(path, data):
    with open(path, "rb") as file:
        raw = memoryview(file.read())
    notes, at = [], 0
    while at < len(raw):
        magic, operation, inode, offset, count, flags, path_bytes, data_bytes, _ = NOTE.unpack_from(raw, at)
        assert magic == MAGIC, "the journal is torn at %d" % at
        at += NOTE.size
        name, _, to = bytes(raw[at:at + path_bytes]).decode().replace(data + "/", "").replace(data, "").partition("\0")
        at += path_bytes
        notes.append(Note(operation, inode, offset, count, flags, name.replace(" (deleted)", ""), to, raw[at:at + data_bytes]))
        at += data_bytes
    return notes


# --- a disk after the cut ------------------------------------------------------------------------

class File:
    """One inode: what is durable, and what was written since."""

    def __init__(self):
        self.bytes = bytearray()
        self.open = []  # notes since, (position, note)

    def apply(self, note, start=0, end=None):
        """start, end: the part of a write that came through."""
        if note.operation == SIZE:
            self.resize(note.at)
            return
        end = note.bytes if end is None else end
        if len(self.bytes) < note.at + end:
            self.resize(note.at + end)
        self.bytes[note.at + start:note.at + end] = bytes(end - start) if note.flags & ZEROS else note.data[start:end]

    def resize(self, size):
        if size < len(self.bytes):
            del self.bytes[size:]
        else:
            self.bytes.extend(bytes(size - len(self.bytes)))

    def settle(self, before):
        """All that was noted before a position is durable."""
        while self.open and self.open[0][0] < before:
            self.apply(self.open.pop(0)[1])

    def guess(self, rnd):
        """What of the rest came through."""
        mode = rnd.random()
        if mode < 0.2:  # nothing
            return
        share = 1.0 if mode < 0.4 else rnd.random()
        for _, note in self.open:
            if note.operation == SIZE:
                if rnd.random() < share:
                    self.apply(note)
                continue
            at = 0
            while at < note.bytes:
                end = min(note.bytes, at + PAGE - (note.at + at) % PAGE)
                if rnd.random() < share:
                    tear = rnd.random() < 0.05 and share < 1
                    cut = at + rnd.randrange((end - at) // SECTOR + 1) * SECTOR if tear else end
                    self.apply(note, at, min(cut, end))
                at = end


class Disk:
    def __init__(self, posix):
        self.posix = posix  # a file's sync does not cover its name
        self.files = {}     # inode -> File
        self.names = {}     # durable: path -> inode, None: a folder
        self.since = []     # (position, note) of names not durable yet
        self.heads = collections.defaultdict(list)
        self.begun = {}     # inode or folder -> position of a sync's begin

    def name(self, note):
        if note.operation == CREATE:
            self.names[note.path] = note.inode
        elif note.operation == MKDIR:
            self.names[note.path] = None
        elif note.operation == RENAME and note.path in self.names:
            self.names[note.to] = self.names.pop(note.path)
        elif note.operation in (UNLINK, RMDIR):
            self.names.pop(note.path, None)

    def settle_names(self, before, folder=None):
        kept = []
        for position, note in self.since:
            inside = folder is None or os.path.dirname(note.to or note.path) == folder
            if position < before and inside:
                self.name(note)
            else:
                kept.append((position, note))
        self.since = kept

    def take(self, position, note):
        operation = note.operation
        if operation in (WRITE, SIZE):
            file = self.files.setdefault(note.inode, File())
            if operation == WRITE and note.flags & DURABLE:
                file.settle(position)
                file.apply(note)
            else:
                file.open.append((position, note))
        elif operation == CREATE:
            self.files[note.inode] = File()  # numbers are used again
            self.since.append((position, note))
        elif operation in (RENAME, UNLINK, MKDIR, RMDIR):
            self.since.append((position, note))
        elif operation in (SYNC_BEGIN, DIRSYNC_BEGIN):
            self.begun[note.inode] = position
        elif operation == SYNC_END:
            self.files.setdefault(note.inode, File()).settle(self.begun[note.inode])
            if not self.posix:
                self.settle_names(self.begun[note.inode])
        elif operation == DIRSYNC_END:
            self.settle_names(self.begun[note.inode], note.path if self.posix else None)
        elif operation == HEAD:
            self.heads[note.path].append(note.data)

    def write(self, folder, rnd):
        for _, note in self.since[:rnd.randrange(len(self.since) + 1)]:
            self.name(note)
        os.makedirs(folder)
        for path in sorted(self.names):
            parents = path.split("/")[:-1]
            if any("/".join(parents[:i + 1]) not in self.names for i in range(len(parents))):
                continue  # its folder is not there
            where, inode = os.path.join(folder, path), self.names[path]
            if inode is None:
                os.makedirs(where, exist_ok=True)
                continue
            file = self.files[inode]
            file.guess(rnd)
            content = file.bytes
            if path in self.heads and rnd.random() < 0.9:
                content = rnd.choice(self.heads[path][-20:])
            with open(where, "wb") as out:
                out.write(content)


# --- what must be true ---------------------------------------------------------------------------

def stored_ids(serve, erasures):
    """Rows of events, and the ids of all that is stored, heatmaps too; without those of who may be going."""
    rows = serve.sql("SELECT uuid, event, distinct_id, properties->>'$.n' AS n, raw_offset FROM events")
    erased = [row["distinct_id"] for row in rows if erasures.who(row) in erasures.done]
    assert not erased, "rows of persons who were erased: %s" % erased[:3]
    rows = [row for row in rows if erasures.who(row) not in erasures.perhaps]
    heatmaps = serve.sql("SELECT event_uuid FROM heatmaps")
    ids = [row["event_uuid"] for row in heatmaps if row["event_uuid"]]
    assert len(heatmaps) == POINTS * len(ids), "%d points of %d heatmap events" % (len(heatmaps), len(ids))
    return rows, [row["uuid"] for row in rows] + ids


def send_again(serve, token, sent, ids, rnd):
    """Some of what is stored, the newest among it, in any order: all are duplicates, and nothing changes."""
    ids = sorted(ids)
    ids = list(set(ids[-AGAIN // 2:] + rnd.sample(ids, min(AGAIN // 2, len(ids)))))
    rnd.shuffle(ids)
    known = serve.settle(40)["deduplicated"]
    for at in range(0, len(ids), 50):
        serve.post("/batch/", {"api_key": token, "batch": [sent[u] for u in ids[at:at + 50]]})
    found = serve.settle(40)["deduplicated"] - known
    assert found == len(ids), "%d events were sent again, and %d of them are taken for new" % (len(ids), len(ids) - found)


class Erasures:
    """Who was erased before a moment (names with the numbers of the requests), and who was being erased then."""

    def __init__(self, notes, cut):
        begun = [bytes(note.data).decode() for note in notes[:cut] if note.operation == ERASE]
        self.done = dict(bytes(note.data).decode().split() for note in notes[:cut] if note.operation == ERASED)
        self.perhaps = [who for who in begun if who not in self.done]

    def who(self, event):
        return event["distinct_id"].partition("-")[0]

    def settle(self, serve, log):
        """Until receipts say that all of it is done; log: in the log too, which takes half a minute, or more where there are many
        segments."""
        seconds = 600 if log else 60  # a segment each 5 s
        end, wanted = time.time() + seconds, {"erase": "warehouse done", **({"erase_log": "done"} if log else {})}
        while self.done:
            states = {(row["kind"], str(row["id"])): row["state"] for row in serve.sql("SELECT kind, id, state FROM receipts")}
            missing = [(who, kind) for who, number in self.done.items() for kind, state in wanted.items()
                       if states.get((kind, number)) != state]
            if not missing:
                break
            assert time.time() < end, "erasures that were answered are not done after %d s: %s, receipts %s" % (seconds, missing, states)
            time.sleep(0.1)
        for who in self.done:
            shown = serve.cli("person", "show", who, check=False)
            assert shown.returncode != 0, "%s was erased, and is there: %s" % (who, shown.stdout)


def check(data, acked, sent, token, env, rnd, erasures):
    with Serve(data=data, env=env) as serve:
        serve.settle(40)
        erasures.settle(serve, log=rnd.random() < 0.1)
        acked = [u for u in acked if erasures.who(sent[u]) not in erasures.done and erasures.who(sent[u]) not in erasures.perhaps]
        rows, ids = stored_ids(serve, erasures)
        stored = collections.Counter(ids)
        doubled = [u for u, count in stored.items() if count > 1]
        lost = [u for u in acked if u not in stored]
        strange = [u for u in stored if u not in sent]
        assert not lost, "%d of %d acknowledged events are lost, first %s" % (len(lost), len(acked), lost[:3])
        assert not doubled, "%d ids stand in two rows, first %s" % (len(doubled), doubled[:3])
        assert not strange, "rows that nobody sent: %s" % strange[:3]
        if ids:
            send_again(serve, token, sent, ids, rnd)
            rows, after = stored_ids(serve, erasures)
            assert collections.Counter(after) == stored, "events that were sent again made or took rows"
        last = {}
        for row in sorted(rows, key=lambda r: int(r["raw_offset"])):
            if row["event"] in ("step", "$identify"):
                last[row["distinct_id"]] = int(row["n"])
        found = {r["distinct_id"]: int(r["last"] or 0) for r in serve.sql(
            "SELECT d.distinct_id, p.properties->>'$.last' AS last FROM person_distinct_ids d JOIN persons p ON p.id = d.person_id")}
        wrong = {who: (n, found.get(who)) for who, n in last.items() if found.get(who) != n}
        assert not wrong, "persons are not what the rows say: %s" % dict(list(wrong.items())[:3])
    return len(rows)


def listed(folder):
    return os.listdir(folder) if os.path.isdir(folder) else []


def make_image(notes, cut, seed, folder):
    rnd = random.Random(seed)
    disk = Disk(posix=rnd.random() < 1 / 3)
    for position, note in enumerate(notes[:cut]):
        disk.take(position, note)
    disk.write(folder, rnd)


def campaign(images, seed, seconds=10):
    rnd = random.Random(seed)
    folder = tempfile.mkdtemp(prefix="penstock-power-")
    rows = done = held = erased = 0
    try:
        notes, sent, token = record(folder, seconds, seed)
        acks = [(i, bytes(note.data).decode().split()) for i, note in enumerate(notes) if note.operation == ACK]
        print("journal: %d notes, %.0f MiB, %d events acknowledged" % (
            len(notes), sum(len(n.data) for n in notes) / 2**20, sum(len(a) for _, a in acks)), flush=True)
        shutil.rmtree(os.path.join(folder, "data"))
        made = [note.to for note in notes if note.operation == RENAME and note.to.startswith("people/seen/")]
        assert len(made) > SEEN_FILES, "the workload made %d files of seen ids" % len(made)
        first = next(i for i, note in enumerate(notes) if note.operation == ACK)
        for image in range(images):
            cut = rnd.randrange(first // 2, len(notes))
            data = os.path.join(folder, "image", "data")
            shutil.rmtree(os.path.dirname(data), ignore_errors=True)
            make_image(notes, cut, seed * 1000003 + image, data)
            acked = [u for _, uuids in acks[:bisect.bisect_left(acks, (cut,))] for u in uuids]
            try:
                held += any(name.endswith(".run") for name in listed(os.path.join(data, "people", "seen")))
                # half of them go on making files
                env = {"PENSTOCK_SEEN_RECENT_MAX": str(SEEN_RECENT_MAX)} if rnd.random() < 0.5 else {}
                erasures = Erasures(notes, cut)
                erased += len(erasures.done)
                rows += check(data, acked, sent, token, env, rnd, erasures)
            except AssertionError as wrong:
                print("image %d of seed %d, cut at %d of %d: %s" % (image, seed, cut, len(notes), wrong))
                raise
            done += 1
            if done % 50 == 0:
                print("%d images" % done, flush=True)
        print("%d of %d disks hold files of seen ids; %d were made; %d erasures had to hold" % (held, done, len(made), erased), flush=True)
    finally:
        if not os.environ.get("KEEP"):
            shutil.rmtree(folder, ignore_errors=True)
    return done, rows


def main():
    images = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    print("seed %d" % seed, flush=True)
    done, rows = 0, 0
    while done < images:  # a new workload now and then
        more, found = campaign(min(250, images - done), seed + done)
        done, rows = done + more, rows + found
    print("result: %d disks recovered, %d rows looked at" % (done, rows))


if __name__ == "__main__":
    main()
