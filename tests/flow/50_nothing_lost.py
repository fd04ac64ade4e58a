"""Kills, full disks, failed syncs: what was acknowledged is there, once, in order. Larger: `./dev soak kills`."""
import os
import resource
import sys
import time

import faults
from harness import Serve
from ledger import Crowd

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "soak"))
import kills  # noqa: E402


def test_kills_lose_nothing():
    result = kills.campaign(30, seed=11, check_every=0)
    print(result["summary"], "answering again after %.2f s (median), %.2f s at most" % (result["wait_p50"], result["wait_max"]))
    assert result["rows"] > 1000


def fault_while_loaded(arm, seconds, must_refuse=None, must_say=None, recovers_in=60):
    """Runs a crowd, arms a fault for some seconds (or until it was met), disarms it, and checks everything."""
    fault = faults.Faults()
    with Serve(env=fault.environment()) as serve:
        token = serve.token()
        crowd = Crowd(serve, token, rate=1000, seed=3)
        crowd.start()
        time.sleep(1)
        arm(fault)
        told = []
        end = time.time() + seconds
        while time.time() < end or (time.time() < end + 60 and not (fault.hits() and (told or not must_refuse))):
            try:
                answer = serve.post("/e/", {"api_key": token, "event": "probe", "distinct_id": "p"}, expect=None)
                told += [answer] if answer.status != 200 and (must_say or "") in answer.text else []
            except OSError:
                pass
            time.sleep(0.05)
        hits = fault.hits()
        fault.disarm()
        cured = time.time()
        while crowd.last_ack() < cured:
            assert time.time() < cured + recovers_in, "no event taken %d s after the cure:\n%s" % (recovers_in, serve.log()[-2000:])
            time.sleep(0.02)
        time.sleep(1)
        crowd.stop()
        assert hits, "the fault was never met"
        if must_refuse:
            assert told, "nobody was told \"%s\"" % must_say
            assert told[-1].status == must_refuse and told[-1].getheader("Retry-After"), (told[-1].status, told[-1].text)
        rows = crowd.check(serve)
        print(crowd.summary(), rows, "rows; the fault was met", hits, "times")
        assert rows > 100
    fault.close()


# embedded: log: it fills the disk of capture's log
def test_full_disk_at_capture_is_said_and_passes():
    # Every write and preallocation of the raw topic fails as on a full disk (syncs are left alone).
    fault_while_loaded(lambda f: f.arm(faults.FAIL, role="capture", call="write", path="/log/", repeat=-1, error=faults.ENOSPC),
                       4, must_refuse=503, must_say="storage_full")


def test_full_disk_at_ingest_delays_and_loses_nothing():
    fault_while_loaded(lambda f: f.arm(faults.FAIL, role="ingest", call="write", repeat=-1, error=faults.ENOSPC), 3)


# embedded: warehouse: it fills the disk of the warehouse's file
def test_full_disk_at_load_delays_and_loses_nothing():
    fault_while_loaded(lambda f: f.arm(faults.FAIL, role="load", call="write", path="warehouse", repeat=-1, error=faults.ENOSPC), 3)


# embedded: log people warehouse: it bounds the size of their files
def test_a_bound_on_the_size_of_files_is_a_full_disk():
    # Its signal ended role after role, for ever, as it does who takes no notice of it. `serve` is started with that of a shell.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
    with Serve() as serve:
        token = serve.token()
        taken, statuses = set(), set()
        for i in range(400):
            answer = serve.post("/e/", {"api_key": token, "event": "probe", "distinct_id": "p%d" % i, "properties": {"text": os.urandom(4000).hex()}},
                                expect=None)
            statuses.add(answer.status)
            taken.update(["p%d" % i] if answer.status == 200 else [])
        assert taken and statuses == {200, 503}, (len(taken), statuses)
        assert "killed by signal" not in serve.log(), serve.log()[-2000:]
        serve.stop()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        serve.start()
        serve.settle()
        ids = [row["distinct_id"] for row in serve.sql("SELECT distinct_id FROM events WHERE event = 'probe'")]
        assert len(ids) == len(set(ids)) and taken <= set(ids), (len(taken), len(ids))


# embedded: log: it fails syncs of capture's log
def test_failed_sync_at_capture_acknowledges_nothing():
    fault_while_loaded(lambda f: f.arm(faults.FAIL, role="capture", call="fdatasync", repeat=3, error=faults.EIO), 3)


# embedded: log people warehouse: it fails syncs of their files
def test_failed_sync_at_ingest_and_load():
    fault_while_loaded(lambda f: f.arm(faults.FAIL, role="ingest", call="fdatasync", repeat=2, error=faults.EIO), 3)
    fault_while_loaded(lambda f: f.arm(faults.FAIL, role="load", call="fsync", repeat=1, error=faults.EIO), 3)


# embedded: log: it slows syncs of capture's log
def test_slow_disk_is_answered_in_time():
    fault_while_loaded(lambda f: f.arm(faults.WAIT, role="capture", call="fdatasync", repeat=3, wait_ms=800), 4)
