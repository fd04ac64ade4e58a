"""Damaged log files: only the damaged records are lost, each is named, and everything starts by itself."""
# embedded: log: it damages the log's files
import glob
import os
import random
import re
import shutil
import time

from harness import Serve, command, uuid7, wait_for


def frames_of(serve, token, batches):
    sent = []
    for n in range(batches):
        events = [{"uuid": uuid7(), "event": "step", "distinct_id": "u%d" % (n % 7), "properties": {"n": n, "pad": "x" * 300}}
                  for _ in range(10)]
        serve.post("/batch/", {"api_key": token, "batch": events})
        sent += [e["uuid"] for e in events]
    return sent


def test_flipped_bits_in_the_raw_topic():
    rnd = random.Random(5)
    with Serve() as serve:
        token = serve.token()
        sent = frames_of(serve, token, 40)
        serve.settle()
        serve.stop()
        segment = max(glob.glob(os.path.join(serve.data, "log", "raw", "0", "*.seg")), key=os.path.getsize)
        image = bytearray(open(segment, "rb").read())
        places = [m.start() for m in re.finditer(b"xxxxxxxxxxxxxxxxxxxx", bytes(image))]
        for _ in range(5):
            at = rnd.choice(places)
            image[at] ^= 1 << rnd.randrange(8)
        with open(segment, "r+b") as out:
            out.write(image)
        verify = command("log", "verify", "--data", serve.data, check=False)
        text = verify.stdout + verify.stderr
        assert verify.returncode != 0 and "damaged" in text, text
        serve.start()
        frames_of(serve, token, 2)
        status = serve.settle()
        assert status["stored"] == len(sent) + 20, "rows that were loaded before the damage stay"


def test_damage_before_ingest_costs_only_what_it_hit():
    """The raw records are damaged before ingest has read them: the others become rows, the lost are counted."""
    with Serve(extra=["--role", "capture"]) as serve:
        token = serve.token("phc_damage_test")
        time.sleep(0.5)
        sent = frames_of(serve, token, 30)
        serve.stop()
        segment = max(glob.glob(os.path.join(serve.data, "log", "raw", "0", "*.seg")), key=os.path.getsize)
        image = bytearray(open(segment, "rb").read())
        victims = [sent[37], sent[38], sent[200]]
        for uuid in victims:
            at = image.find(uuid.encode())
            assert at > 0
            image[at] ^= 0x10
        with open(segment, "r+b") as out:
            out.write(image)
        serve.extra = []
        serve.start()
        status = serve.settle()
        rows = {r["uuid"] for r in serve.sql("SELECT uuid FROM events")}
        assert rows == set(sent) - set(victims), (len(rows), len(sent))
        assert sum(status["dropped"].values()) == 3, status
        warnings = serve.sql("SELECT details FROM ingestion_warnings WHERE type = 'log_damaged'")
        assert warnings, "the damage is not named"


def test_a_raw_topic_that_is_gone_loses_nothing_that_comes_later():
    """Its offsets would begin anew, before the place that ingest has come to, and what stands there would never be read."""
    with Serve() as serve:
        token = serve.token()
        serve.post("/batch/", {"api_key": token, "batch": [{"event": "before", "distinct_id": "u%d" % i} for i in range(50)]})
        serve.settle()
        serve.stop()
        shutil.rmtree(os.path.join(serve.data, "log", "raw"))
        serve.start()
        for i in range(20):
            serve.post("/e/", {"api_key": token, "event": "after", "distinct_id": "u%d" % i})
        assert serve.settle()["stored"] == 70
        assert serve.sql("SELECT count(*) AS n FROM events WHERE event = 'after'")[0]["n"] == 20


def catalog_remove(serve):
    for name in os.listdir(serve.data):
        if name in ("catalog.db", "catalog.db-wal", "catalog.db-shm"):
            os.unlink(os.path.join(serve.data, name))


def images_remove(serve):
    for path in glob.glob(os.path.join(serve.data, "run", "catalog.image*")):
        os.unlink(path)


def catalog_empty(serve):
    os.truncate(os.path.join(serve.data, "catalog.db"), 0)


def catalog_cut(serve):
    path = os.path.join(serve.data, "catalog.db")
    os.truncate(path, os.path.getsize(path) // 2)


def catalog_overwrite(serve):
    path = os.path.join(serve.data, "catalog.db")
    with open(path, "r+b") as out:
        out.seek(4096)
        out.write(os.urandom(os.path.getsize(path) - 4096))


# embedded: log catalog: the files of both are in the folder
def test_a_spoilt_catalog_is_made_anew_and_nobody_is_refused():
    with Serve() as serve:
        token = serve.token()
        serve.cli("token", "create", "--token", "phc_the_second")
        serve.cli("restrict", "add", "drop", "--event", "unwanted")
        serve.post_when_known("phc_the_second", "/e/", {"api_key": "phc_the_second", "event": "x", "distinct_id": "u"})
        sent = 1
        for n, spoil in enumerate((catalog_remove, catalog_empty, catalog_cut, catalog_overwrite)):
            serve.stop()
            spoil(serve)
            serve.start()
            assert serve.log().count("it was made anew from run/catalog.image") == n + 1, (spoil.__name__, serve.log())
            assert serve.log().count("none was known") == 0, serve.log()
            for known in (token, "phc_the_second"):
                serve.post("/e/", {"api_key": known, "event": "x", "distinct_id": "u"})
                serve.post("/e/", {"api_key": known, "event": "unwanted", "distinct_id": "u"})
            sent += 2
            assert serve.settle()["stored"] == sent, spoil.__name__
        assert len(glob.glob(os.path.join(serve.data, "catalog.db.damaged-*"))) >= 3, os.listdir(serve.data)


# embedded: log catalog: the files of both are in the folder
def test_a_spoilt_catalog_without_an_image_is_told_with_what_to_do():
    with Serve() as serve:
        token = serve.token()
        serve.post("/e/", {"api_key": token, "event": "x", "distinct_id": "u"})
        serve.settle()
        serve.stop()
        path = os.path.join(serve.data, "catalog.db")
        shutil.copy(path, path + ".copy")
        catalog_overwrite(serve)
        images_remove(serve)
        done = command("serve", "--data", serve.data, "--listen", "127.0.0.1:0", check=False)
        assert done.returncode == 1 and "put a copy of it back" in done.stderr and "token create --token" in done.stderr, done
        shutil.copy(path + ".copy", path)
        serve.start()
        serve.post("/e/", {"api_key": token, "event": "x", "distinct_id": "u"})
        assert serve.settle()["stored"] == 2
        # Spoilt under a server that runs: who asks is told that a start mends it, and senders notice nothing.
        catalog_overwrite(serve)
        for name in ("-wal", "-shm"):
            with open(path + name, "r+b") as out:
                out.truncate(0)
        asked = serve.cli("token", "list", check=False)
        assert asked.returncode == 1 and "start the server again" in asked.stderr, asked
        serve.post("/e/", {"api_key": token, "event": "x", "distinct_id": "u"})
        serve.stop()
        serve.start()
        serve.post("/e/", {"api_key": token, "event": "x", "distinct_id": "u"})
        assert serve.settle()["stored"] == 4


# embedded: log catalog: the files of both are in the folder
def test_a_catalog_that_is_gone_is_told():
    with Serve() as serve:
        token = serve.token()
        serve.post("/e/", {"api_key": token, "event": "x", "distinct_id": "u"})
        assert "none was known" not in serve.log()
        serve.settle()
        serve.stop()
        catalog_remove(serve)
        images_remove(serve)
        serve.start()
        serve.post("/e/", {"api_key": token, "event": "x", "distinct_id": "u"}, expect=401)
        assert "a token was made, for none was known" in serve.log(), serve.log()
        assert serve.cli("token", "create", "--token", token).returncode == 0
        serve.post_when_known(token, "/e/", {"api_key": token, "event": "y", "distinct_id": "u"})
        serve.settle()


def store_older(serve, older):
    shutil.rmtree(os.path.join(serve.data, "people"))
    shutil.copytree(older, os.path.join(serve.data, "people"))


def store_lost(serve, older):
    shutil.rmtree(os.path.join(serve.data, "people"))


def store_empty(serve, older):
    os.truncate(os.path.join(serve.data, "people", "data.mdb"), 0)


def store_cut(serve, older):
    path = os.path.join(serve.data, "people", "data.mdb")
    os.truncate(path, os.path.getsize(path) // 8192 * 4096)


def store_zeroed(serve, older):
    path = os.path.join(serve.data, "people", "data.mdb")
    with open(path, "r+b") as out:
        out.seek(8192)
        out.write(bytes(os.path.getsize(path) - 8192))


# embedded: log people warehouse: the files of all three are in the folder
def test_a_store_of_persons_that_is_lost_or_older_is_refused_and_the_right_one_goes_on():
    older_says = "has lost what it had, or is an older copy"
    with Serve() as serve:
        token = serve.token()
        sent = frames_of(serve, token, 5)
        serve.settle()
        serve.stop()
        people, older, right = (os.path.join(*at) for at in ((serve.data, "people"), (serve.folder, "older"), (serve.folder, "right")))
        shutil.copytree(people, older)
        serve.start()
        sent += frames_of(serve, token, 25)
        serve.settle()
        for spoil, said in ((store_older, older_says), (store_lost, older_says), (store_empty, older_says), (store_cut, "data.mdb is cut short"),
                            (store_zeroed, "data.mdb is damaged")):
            serve.stop()
            shutil.rmtree(right, ignore_errors=True)
            shutil.copytree(people, right)
            spoil(serve, older)
            mark = len(serve.log())
            serve.start()
            sent += frames_of(serve, token, 1)  # who sends notices nothing
            wait_for(lambda: "role ingest has ended 5 times in a row" in serve.log()[mark:])
            assert said in serve.log()[mark:], (spoil.__name__, serve.log()[mark:])
            asked = serve.cli("status", check=False)
            assert asked.returncode != 0 or spoil is store_cut, (spoil.__name__, asked)
            assert spoil is store_cut or re.search(r"^ingest +(down|up)", asked.stdout, re.M), (spoil.__name__, asked)
            serve.stop()
            shutil.rmtree(people)
            shutil.copytree(right, people)
            serve.start()
            assert serve.settle()["stored"] == len(sent), spoil.__name__
        assert {r["uuid"] for r in serve.sql("SELECT uuid FROM events")} == set(sent)


# embedded: log people warehouse: the files of all three are in the folder
def test_without_a_store_of_persons_all_is_processed_anew_from_the_raw_topics():
    """As docs/operations.md says it is done."""
    persons = "SELECT id, properties, is_deleted FROM persons ORDER BY id"
    events = "SELECT uuid, distinct_id, person_id FROM events ORDER BY uuid"
    with Serve() as serve:
        token = serve.token()
        for n in range(10):
            serve.post("/batch/", {"api_key": token, "batch": [{"uuid": uuid7(), "event": "e", "distinct_id": "u%d" % i, "properties": {"$set": {"n": n}}}
                                                               for i in range(50)]})
        serve.post("/e/", {"api_key": token, "event": "$identify", "distinct_id": "u1", "properties": {"$anon_distinct_id": "u2"}})
        serve.settle()
        before = serve.sql(persons), serve.sql(events)
        serve.stop()
        shutil.rmtree(os.path.join(serve.data, "people"))
        for name in os.listdir(os.path.join(serve.data, "log")):
            if name not in ("raw", "raw_historical", "replay"):
                shutil.rmtree(os.path.join(serve.data, "log", name))
        for path in glob.glob(os.path.join(serve.data, "warehouse.duckdb*")):
            os.unlink(path)
        serve.start()
        assert serve.settle()["stored"] == 501
        assert (serve.sql(persons), serve.sql(events)) == before


def test_missing_small_files_are_made_again():
    with Serve() as serve:
        token = serve.token()
        sent = frames_of(serve, token, 5)
        serve.settle()
        serve.stop()
        for path in glob.glob(os.path.join(serve.data, "log", "*", "*", "*")) + glob.glob(os.path.join(serve.data, "log", "*", "*", "cursors", "*")):
            if os.path.isfile(path) and not path.endswith(".seg"):
                os.unlink(path)
        serve.start()
        sent += frames_of(serve, token, 5)
        serve.settle()
        assert {r["uuid"] for r in serve.sql("SELECT uuid FROM events")} == set(sent)
