#!/usr/bin/env python3
"""upgrades.py UPGRADES [SEED]: a server under load is upgraded and reloaded, ten reloads an upgrade, with good and bad
binaries and configurations. No request may fail, no acknowledged event may be missing or twice, and each change must come
out as it should.

Clients: connections that are kept, answers awaited one by one; pipelined, several requests in one write; chunked bodies
that take as long as a phone's. A client does what RFC 9112 asks of it: after `Connection: close` it connects again, and what
it had sent behind that answer it sends again."""
import asyncio
import json
import os
import random
import re
import stat
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "flow"))
import faults
import shims
from harness import BINARY, Serve, uuid7


CALM_S = 3


class Closed(Exception):
    """The connection ended before an answer began."""


class Load:
    """Clients of all kinds until stop; acked holds the ids, failed says what went wrong."""

    def __init__(self, port, token, rnd):
        self.port, self.token, self.rnd = port, token, rnd
        self.acked, self.failed, self.resent, self.stop = [], [], 0, False
        self.slowest, self.text = 0.0, ""
        self.silence, self.silence_calm, self.last_answer = 0.0, 0.0, None  # the longest time in which nobody got an answer
        self.took = []

    def body(self, count=1):
        ids = [uuid7() for _ in range(count)]
        events = [{"event": "e", "distinct_id": "u%d" % self.rnd.randrange(50), "uuid": i, "properties": {"n": k}}
                  for k, i in enumerate(ids)]
        return ids, json.dumps({"api_key": self.token, "batch": events}).encode()

    def head(self, more):
        return ("POST /batch/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s\r\n\r\n" % more).encode()

    async def answer(self, reader):
        """(status, whether the connection goes on)"""
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        except asyncio.IncompleteReadError as end:
            if not end.partial:
                raise Closed
            raise
        except ConnectionResetError:
            raise Closed
        length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
        self.text = (await reader.readexactly(length)).decode("utf-8", "replace")[:200]
        return int(head.split(b" ", 2)[1]), b"connection: close" not in head.lower()

    def note(self, began, ids, status):
        took = time.time() - began
        self.took.append(took)
        self.slowest = max(self.slowest, took)
        self.silence = max(self.silence, 0.0 if self.last_answer is None else began + took - self.last_answer)
        self.last_answer = began + took
        if status == 200:
            self.acked.extend(ids)
        else:
            self.failed.append("status %d: %s" % (status, self.text))

    async def connect(self):
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def kept(self):
        while not self.stop:
            reader, writer = await self.connect()
            goes_on = True
            while goes_on and not self.stop:
                ids, body = self.body()
                began = time.time()
                writer.write(self.head("Content-Length: %d" % len(body)) + body)
                status, goes_on = await self.answer(reader)
                self.note(began, ids, status)
                await asyncio.sleep(self.rnd.choice((0, 0.002, 0.02)))
            writer.close()

    async def pipelined(self):
        waiting = []
        while not self.stop:
            reader, writer = await self.connect()
            goes_on = True
            while goes_on and not self.stop:
                while len(waiting) < 5:
                    waiting.append(self.body(2))
                began = time.time()
                writer.write(b"".join(self.head("Content-Length: %d" % len(body)) + body for _, body in waiting))
                while goes_on and waiting:
                    status, goes_on = await self.answer(reader)
                    self.note(began, waiting.pop(0)[0], status)
                self.resent += len(waiting)
                await asyncio.sleep(0.01)
            writer.close()

    async def chunked(self):
        while not self.stop:
            reader, writer = await self.connect()
            goes_on = True
            while goes_on and not self.stop:
                ids, body = self.body(20)
                writer.write(self.head("Transfer-Encoding: chunked"))
                pieces = self.rnd.randrange(2, 12)
                size = len(body) // pieces + 1
                for at in range(0, len(body), size):
                    piece = body[at:at + size]
                    writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    await writer.drain()
                    await asyncio.sleep(self.rnd.random() * 0.1)
                began = time.time()
                writer.write(b"0\r\n\r\n")
                status, goes_on = await self.answer(reader)
                self.note(began, ids, status)
            writer.close()

    async def newcomers(self):
        while not self.stop:
            ids, body = self.body()
            began = time.time()
            reader, writer = await self.connect()
            writer.write(self.head("Connection: close\r\nContent-Length: %d" % len(body)) + body)
            status, _ = await self.answer(reader)
            self.note(began, ids, status)
            writer.close()
            await asyncio.sleep(0.005)

    async def guarded(self, client):
        while not self.stop:
            try:
                await client()
            except Exception as wrong:  # whatever a client sees that is no answer is a failure
                self.failed.append("%s: %r" % (client.__name__, wrong))

    async def run(self):
        clients = [self.kept] * 6 + [self.pipelined] * 2 + [self.chunked] * 4 + [self.newcomers] * 2
        await asyncio.gather(*(self.guarded(client) for client in clients))


# --- changes --------------------------------------------------------------------------------------

def script(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w") as out:
        out.write("#!/bin/sh\n" + text)
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
    return path


def binaries(folder, fault):
    """(what, path, what the reason must hold; None: it must serve)"""
    later = 'test -n "$PENSTOCK_TRIAL" || export LD_PRELOAD=%s FAULTS_CONTROL=%s\nexec %s "$@"\n' % (shims.built("faults"), fault.path, BINARY)
    return {
        "good": (BINARY, None),
        "good, by a script": (script(folder, "good.sh", 'exec %s "$@"\n' % BINARY), None),
        "crashes": (script(folder, "crash.sh", "kill -SEGV $$\n"), "signal 11"),
        "refuses": (script(folder, "refuse.sh", "echo 'this setting is gone: capture.threads' >&2; exit 2\n"), "this setting is gone"),
        "no penstock": ("/bin/true", "perhaps no Penstock"),
        "capture dies at its start": (script(folder, "later.sh", later), "role capture"),
        "ingest dies at its start": (script(folder, "later2.sh", later), "role ingest"),
        "hangs": (script(folder, "hang.sh", "exec sleep 1000\n"), "says nothing within"),
    }


def settings(rnd):
    """(text, what the reason must hold; None: it is good)"""
    good = [("capture:\n  body_bytes_max: %dKiB\n" % rnd.randrange(1000, 20000)), "capture.idle_timeout: %ds\n" % rnd.randrange(30, 90),
            "capture:\n  threads: %d\n" % rnd.randrange(1, 4), "ingest:\n  batch_records: %d\n" % rnd.randrange(100, 5000),
            "load:\n  idle: %ds\n" % rnd.randrange(1, 5), "# nothing\n"]
    bad = [("capture:\n  body_bytes_maxx: 3\n", ":2:3: there is no key"), ("capture:\n  threads: 1000\n", ":2:12: threads is 1000"),
           ("capture:\n  - 1\n", ":1:1: capture"), ("capture: {\n", "penstock.yaml:"), ("load:\n  idle: soon\n", ":2:9: idle is"),
           ("data: /tmp/elsewhere\n", ""), ("capture:\n  user: there_is_no_such_user\n", "role capture"),
           ("x: 1\nx: 1\n", "penstock.yaml:")]
    return rnd.choice([(text, None) for text in good] * 2 + [b for b in bad if b[1]])


async def asked(serve, *words):
    began = time.time()
    done = await asyncio.to_thread(serve.cli, *words, check=False)
    return done, time.time() - began


async def change_once(serve, load, what, done, wanted, took):
    if wanted is None:
        assert done.returncode == 0, "%s: exit %d: %s\n%s" % (what, done.returncode, done.stderr, serve.log()[-4000:])
    else:
        assert done.returncode == 1 and wanted in done.stderr, "%s: exit %d, not %r: %s" % (what, done.returncode, wanted, done.stderr)
    assert not load.failed, "%s: %s\n%s" % (what, load.failed[:5], serve.log()[-4000:])
    assert serve.process.poll() is None, serve.log()[-3000:]


async def changes(serve, load, upgrades, reloads, kinds, rnd, fault, told):
    order = (["upgrade"] * upgrades + ["reload"] * reloads)
    rnd.shuffle(order)
    paths = binaries(serve.folder, fault)
    for number, kind in enumerate(order):
        await asyncio.sleep(rnd.random() * 0.2)
        if kind == "upgrade":
            what = kinds[told["upgrades"] % len(kinds)]
            path, wanted = paths[what]
            told["upgrades"] += 1
            if what.endswith("dies at its start"):
                role = what.split()[0]
                # Where only a process that starts comes by. Capture has taken the log by then.
                fault.arm(faults.KILL_BEFORE if role == "capture" else faults.FAIL, role=role, call="rename",
                          path=role + ".metrics", repeat=1 if role == "capture" else 2, error=faults.EIO)
            done, took = await asked(serve, "upgrade", "--binary", path)
            fault.disarm()
            what = "upgrade %d (%s)" % (number, what)
        else:
            text, wanted = settings(rnd)
            with open(os.path.join(serve.data, "penstock.yaml"), "w") as out:
                out.write(text)
            done, took = await asked(serve, "reload")
            if wanted is not None:  # so that the next upgrade finds a configuration that it can read
                with open(os.path.join(serve.data, "penstock.yaml"), "w") as out:
                    out.write("# nothing\n")
            what = "reload %d (%r)" % (number, text)
            told["reloads"] += 1
        told["longest"] = max(told["longest"], took if wanted is None else 0)
        await change_once(serve, load, what, done, wanted, took)
    load.stop = True


async def all_of_it(serve, load, *rest):
    running = asyncio.create_task(load.run())
    try:
        await asyncio.sleep(CALM_S)  # the same clients on the same machine, nothing changes
        load.silence_calm, load.silence = load.silence, 0.0
        await changes(serve, load, *rest)
    finally:
        load.stop = True
        await running


def campaign(upgrades, reloads, seed, kinds):
    rnd = random.Random(seed)
    fault = faults.Faults()
    told = {"upgrades": 0, "reloads": 0, "longest": 0.0}
    with Serve(config="# nothing\n") as serve:
        pid = serve.process.pid
        load = Load(serve.port, serve.token(), random.Random(seed + 1))
        asyncio.run(all_of_it(serve, load, upgrades, reloads, kinds, rnd, fault, told))
        assert not load.failed, load.failed[:10]
        assert serve.process.pid == pid and serve.process.poll() is None
        status = serve.settle(120)
        stored = [row["uuid"] for row in serve.sql("SELECT uuid FROM events")]
        assert len(stored) == len(set(stored)), "stored twice"
        missing = set(load.acked) - set(stored)
        assert not missing, "%d acknowledged events are missing: %s\n%s" % (len(missing), list(missing)[:3], serve.log()[-3000:])
        assert status["accepted"] == status["stored"] + status["deduplicated"], status
    fault.close()
    took = sorted(load.took)
    return ("%d upgrades, %d reloads (longest %.2f s), %d answers, 0 failed, %d events, p50 %.1f ms, p99 %.1f ms, slowest %.0f ms, "
            "longest time without an answer to anybody %.0f ms (before, with nothing changing: %.0f), %d pipelined ones sent again"
            % (told["upgrades"], told["reloads"], told["longest"], len(took), len(load.acked), took[len(took) // 2] * 1000,
               took[len(took) * 99 // 100] * 1000, load.slowest * 1000, load.silence * 1000,
               load.silence_calm * 1000, load.resent))


KINDS = ["good", "good", "good, by a script", "crashes", "good", "refuses", "good", "no penstock", "capture dies at its start",
         "ingest dies at its start", "hangs"]


def main():
    upgrades = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1, 1 << 30)
    print("result: " + campaign(upgrades, upgrades * 10, seed, KINDS))


if __name__ == "__main__":
    main()
