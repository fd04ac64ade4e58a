#!/usr/bin/env python3
# parts: kafka_tls alone
"""A whole Penstock on a broker that wants TLS and a password: events become rows, also after the broker was away; and who has a
wrong password, does not know the authority, or meets a certificate that has expired, is told what is wrong, where, and what to do.

Debian's librdkafka speaks SCRAM to brokers of 3.9, and not to those of 4.0 and newer, which is told too; there it is PLAIN."""
import ctypes
import json
import os
import re
import socket
import sys
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ("flow", "parts"):
    sys.path.insert(0, os.path.join(HERE, "..", folder))
import cases  # noqa: E402
from harness import Serve  # noqa: E402

NAME = "PENSTOCK_TEST_KAFKA_TLS"
HERE_AT, OLD, FOLDER = (os.environ[NAME + more] for more in ("", "_OLD", "_FOLDER"))
USER, PASSWORD = os.environ[NAME + "_USER"], os.environ[NAME + "_PASSWORD"]
PREFIX = "s%d_" % os.getpid()
NEW = not (os.environ.get("PENSTOCK_TEST_KAFKA_VERSION") or "4").startswith("3.")
SCRAM_WORKS = not NEW or ctypes.CDLL("librdkafka.so.1").rd_kafka_version() >= 0x02060100
turn = 0


def control(line):
    with socket.socket(socket.AF_UNIX) as at:
        at.connect(os.environ[NAME + "_CONTROL"])
        with at.makefile("rw") as lines:
            lines.write(line + "\n")
            lines.flush()
            answer = lines.readline().strip()
    assert answer == "ok", "%s: %s" % (line, answer)


def serve(brokers=HERE_AT, ca="ca.pem", password=PASSWORD, sasl="PLAIN", tls="true", roles=None):
    global turn
    turn += 1
    path = os.path.join(FOLDER, "password-%d" % turn)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as out:
        out.write(password + "\n")
    config = ("log:\n  backend: kafka\n  brokers: [\"%s\"]\n  topic_prefix: %s%d_\n  partitions: 1\n  replication: 1\n  tls: %s\n  tls_ca: %s\n"
              "  sasl: %s\n  sasl_user: %s\n  sasl_password_file: %s\n"
              % (brokers, PREFIX, turn, tls, os.path.join(FOLDER, ca), sasl, USER, path))
    return Serve(config=config, extra=["--roles", roles] if roles else [])


def send(server, count):
    token, ids = server.token(), []
    for n in range(count):
        ids.append(str(uuid.uuid4()))
        body = {"api_key": token, "event": "e", "distinct_id": "u%d" % (n % 5), "uuid": ids[-1]}
        server.post("/e/", json.dumps(body), {"Content-Type": "application/json"})
    return ids


def rows_are(server, ids, seconds=180):
    end, rows = time.time() + seconds, []
    while time.time() < end:
        done = server.cli("sql", "SELECT CAST(uuid AS VARCHAR) AS uuid FROM events", "--format", "json", check=False)
        rows = [row["uuid"] for row in json.loads(done.stdout)] if done.returncode == 0 else []  # there is no warehouse yet
        if set(rows) >= set(ids):
            break
        time.sleep(0.5)
    assert sorted(rows) == sorted(ids), "%d rows of %d events\n%s" % (len(rows), len(ids), server.log())


def tells(server, pattern, seconds=90):
    end = time.time() + seconds
    while not re.search(pattern, server.log()):
        assert time.time() < end, "not told: %s\n%s" % (pattern, server.log())
        time.sleep(0.2)
    send(server, 3)  # the spool takes them all the same
    told = re.search(pattern, server.log())[0]
    assert PASSWORD not in server.log()
    print("    " + told)


def whole(sasl):
    with serve(sasl=sasl) as server:
        ids = send(server, 50)
        rows_are(server, ids)
        control("kill 1")
        ids += send(server, 20)
        control("start 1")
        ids += send(server, 20)
        rows_are(server, ids)


def test_plain():
    whole("PLAIN")


def test_scram():
    if SCRAM_WORKS:
        whole("SCRAM-SHA-512")
        whole("SCRAM-SHA-256")
        return
    with serve(sasl="SCRAM-SHA-512", roles="capture") as server:
        tells(server, r"kafka: %s: .*version 4\.0 or newer, which need librdkafka 2\.6\.1 for SCRAM: .*PLAIN with log\.tls" % HERE_AT)


def test_wrong_password():
    with serve(password="another", roles="capture") as server:
        tells(server, r"kafka: %s: the brokers refuse our name or password \(log\.sasl_user, log\.sasl_password_file\)" % HERE_AT)


def test_unknown_authority():
    with serve(ca="stranger.pem", roles="capture") as server:
        tells(server, r"kafka: .*the certificate of %s is not taken: .*certificate.*; log\.tls_ca must hold the authority" % HERE_AT)


def test_expired_certificate():
    with serve(brokers=OLD, roles="capture") as server:
        tells(server, r"kafka: .*the certificate of %s is not taken: certificate has expired; the broker needs a new one" % OLD)


if __name__ == "__main__":
    sys.exit(cases.run(globals()))
