"""What operators do to persons: deleted, taken back, split, erased; once, whatever is killed when."""
import json
import os
import random

import deploy
from harness import Serve, uuid7, wait_for


def person(serve, who, check=True):
    done = serve.cli("person", "show", who, "--json", check=check)
    return json.loads(done.stdout) if done.returncode == 0 else None


def receipts(serve):
    return {(row["kind"], int(row["id"])): row for row in serve.sql("SELECT * FROM receipts")}


def send(serve, events):
    serve.post("/batch/", {"api_key": serve.token(), "batch": [
        dict({"event": "view", "uuid": uuid7(), "properties": {}}, **event) for event in events]})
    return serve.settle()


def merge(into, other):
    return {"event": "$merge_dangerously", "distinct_id": into, "properties": {"alias": other}}


def test_deleted_taken_back_and_split():
    with Serve() as serve:
        send(serve, [{"distinct_id": "ada"}, {"distinct_id": "kiosk"}, merge("ada", "kiosk"), {"distinct_id": "bob"}])
        ada = person(serve, "ada")
        assert sorted(i["distinct_id"] for i in ada["distinct_ids"]) == ["ada", "kiosk"], ada
        assert person(serve, ada["uuid"])["uuid"] == ada["uuid"], "found by its uuid"

        number = json.loads(serve.cli("person", "delete", "kiosk", "--json").stdout)["request"]
        waiting = wait_for(lambda: person(serve, "ada")["requests"], 30)
        assert waiting[0]["request"] == number and not waiting[0]["with_events"], waiting
        serve.cli("person", "undelete", str(number))
        wait_for(lambda: not person(serve, "ada")["requests"], 30)
        again = serve.cli("person", "undelete", str(number), check=False)
        assert again.returncode == 2 and "no deletion" in again.stderr, again.stderr

        serve.cli("person", "split", "ada", "kiosk")
        wait_for(lambda: person(serve, "kiosk")["uuid"] != ada["uuid"], 30)
        wrong = serve.cli("person", "split", "ada", "kiosk", check=False)
        assert wrong.returncode == 2 and "no distinct id of this person" in wrong.stderr, wrong.stderr
        wrong = serve.cli("person", "split", "kiosk", "kiosk", check=False)
        assert wrong.returncode == 2 and "it stays" in wrong.stderr, wrong.stderr

        # A request that is made while nothing runs is done at the next start.
        serve.stop()
        serve.cli("person", "delete", "--now", "ada")
        serve.start()
        wait_for(lambda: person(serve, "ada", check=False) is None, 30)
        send(serve, [{"distinct_id": "ada"}])
        assert person(serve, "ada")["version"] > 100
        rows = wait_for(lambda: serve.sql("SELECT version, is_deleted FROM persons WHERE id = '%s' AND NOT is_deleted" % ada["uuid"]), 30)
        assert len(rows) == 1, rows
        got = wait_for(lambda: len(receipts(serve)) == 4 and receipts(serve), 30)
        assert sorted((kind, row["state"]) for (kind, _), row in got.items()) == [
            ("delete", "done"), ("delete", "undone"), ("split", "done"), ("undelete", "done")], got


# embedded: log: it takes a page of the data folder's files
def test_what_was_asked_for_is_done_after_a_power_cut():
    """A request is on the disk when the command answers; what readers may see stands in a mapped page, which a power cut takes."""
    with Serve() as serve:
        send(serve, [{"distinct_id": "ada"}, {"distinct_id": "bob"}])
        head = os.path.join(serve.data, "log", "control", "0", "head")
        for who, page in ("bob", None), ("ada", "kept"):
            kept = open(head, "rb").read() if page else None
            serve.stop()
            serve.cli("person", "delete", "--now", who)
            os.unlink(head)
            if page:
                with open(head, "wb") as out:
                    out.write(kept)
            serve.start()
            wait_for(lambda: person(serve, who, check=False) is None, 30)
            serve.settle(30)


def erase_persons(serve, count, erased, kill):
    """Persons with events, merged ids and warnings; some are erased while roles are killed; every other row is as before."""
    events = []
    for n in range(count):
        for e in range(6):
            events.append({"distinct_id": "p%d" % n, "properties": {"secret": "s%d-%d" % (n, e), "$set": {"mail": "m%d" % n}}})
        events += [{"distinct_id": "p%d-b" % n}, merge("p%d" % n, "p%d-b" % n), {"distinct_id": "p%d-b" % n},
                   {"event": "$identify", "distinct_id": "p%d" % n, "properties": {"$anon_distinct_id": "null"}}]
    status = send(serve, events)
    accepted = status["accepted"]
    gone = " OR ".join("distinct_id LIKE 'p%d' OR distinct_id LIKE 'p%d-b'" % (n, n) for n in erased)
    rest = ("SELECT count(*) AS n, md5(string_agg(uuid::VARCHAR || properties || person_id::VARCHAR, '' ORDER BY raw_offset)) AS h "
            "FROM events WHERE NOT (%s)" % gone)
    before = serve.sql(rest)
    for n in erased:
        serve.cli("person", "delete", "--with-events", "--now", "p%d" % n)
        if kill:
            serve.kill(random.choice(("ingest", "load")))
    def all_done():
        got = {key: row for key, row in receipts(serve).items() if key[0] == "erase"}
        return len(got) == len(erased) and all(row["state"] == "warehouse done" for row in got.values()) and got
    done = wait_for(all_done, 90 if deploy.embedded("warehouse") else 300)  # each is some mutations at ClickHouse, which are waited for
    assert sum(int(row["events"]) for row in done.values()) == 10 * len(erased), done
    assert sum(int(row["distinct_ids"]) for row in done.values()) == 2 * len(erased), done
    assert sum(int(row["warnings"]) for row in done.values()) == len(erased), done
    assert serve.sql("SELECT count(*) AS n FROM events WHERE %s" % gone)[0]["n"] in (0, "0")
    assert serve.sql("SELECT count(*) AS n FROM person_distinct_ids WHERE %s" % gone)[0]["n"] in (0, "0")
    assert serve.sql("SELECT count(*) AS n FROM persons WHERE NOT is_deleted")[0]["n"] == count - len(erased)
    assert serve.sql("SELECT count(*) AS n FROM ingestion_warnings")[0]["n"] == count - len(erased)
    assert serve.sql(rest) == before
    status = serve.settle()
    assert status["accepted"] == status["stored"] == accepted, status
    for n in range(count):
        assert (person(serve, "p%d-b" % n, check=False) is None) == (n in erased), n
    return gone


def files_with(serve, text):
    found = []
    for folder, _, names in os.walk(serve.data):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.isfile(path):
                continue
            with open(path, "rb") as file:
                if text.encode() in file.read():
                    found.append(os.path.relpath(path, serve.data))
    return found


def rows_with(serve, text):
    """Tables of the cluster's stores with a row that holds it, as text or as bytes."""
    found = []
    if not deploy.embedded("people"):
        url = deploy.postgres_url(serve.data)
        tables = deploy.psql("SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('public', 'penstock')", url)
        for table in tables.stdout.split():
            done = deploy.psql("SELECT count(*) FROM %s AS t WHERE strpos(t::text, '%s') > 0 OR strpos(t::text, '%s') > 0" % (
                table, text, text.encode().hex()), url)
            assert done.returncode == 0, done.stderr
            found += [table] * (done.stdout.strip() != "0")
    if not deploy.embedded("warehouse"):
        for table in deploy.clickhouse("SELECT name FROM system.tables WHERE database = '%s' FORMAT TSVRaw" % deploy.name_of(serve.data)).split():
            count = deploy.clickhouse("SELECT count() FROM %s.%s WHERE position(toString(tuple(*)), '%s') > 0 FORMAT TSVRaw" % (
                deploy.name_of(serve.data), table, text))
            found += [table] * (count.strip() != "0")
    return found


def test_erased_is_in_no_row_of_any_store():
    """Of a person with events, a dead letter and a warning, in two units of a cluster: every table is looked through."""
    secret, kept = ("".join(random.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(28)) for _ in range(2))
    with Serve() as serve:
        erase_persons(serve, 6, (2,), False)
        events = [{"distinct_id": name + tail, "properties": {"of": name, "$set": {"mail": name}}} for name in (secret, kept) for tail in ("", "-b", "-c")]
        send(serve, events + [{"event": "", "distinct_id": secret}, {"event": "$identify", "distinct_id": secret, "properties": {"$anon_distinct_id": "null"}}])
        send(serve, [merge(name, name + tail) for name in (secret, kept) for tail in ("-b", "-c")])
        if not deploy.embedded("people", "warehouse"):
            assert len(rows_with(serve, secret)) > 3, "can it be found at all?"
        before = rows_with(serve, kept)
        serve.cli("person", "delete", "--with-events", "--now", secret)
        got = wait_for(lambda: sum(kind == "erase_log" for kind, _ in receipts(serve)) == 2 and receipts(serve), 120)
        for (kind, _), row in got.items():
            assert kind != "erase_log" or row["state"] == ("done" if deploy.embedded("log") else "left to retention"), got
        wait_for(lambda: [row["state"] == "warehouse done" and not row["detail"] for (kind, _), row in receipts(serve).items()
                          if kind == "erase"] == [True, True], 120)
        left = rows_with(serve, secret)
        assert left == [], left
        assert sorted(rows_with(serve, kept)) == sorted(before), (rows_with(serve, kept), before)
        rows = serve.sql("SELECT count(*) AS n FROM events WHERE distinct_id LIKE '%s%%'" % secret)
        assert rows[0]["n"] in (0, "0"), rows
        assert len(serve.sql("SELECT 1 FROM events WHERE distinct_id LIKE '%s%%'" % kept)) == 5
        assert serve.sql("SELECT count(*) AS n FROM dead_letters")[0]["n"] in (0, "0")


# embedded: log people warehouse: it looks for bytes in the files of a data folder
def test_erased_is_gone_and_nothing_else_is():
    """No byte of an erased person in the warehouse or the log; letters that no compression hides are looked for."""
    secret, kept = ("".join(random.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(28)) for _ in range(2))
    with Serve() as serve:
        gone = erase_persons(serve, 12, (3, 7), False)
        send(serve, [{"distinct_id": name + tail, "properties": {"$set": {"mail": name}}} for name in (secret, kept) for tail in ("-b", "-c")])
        send(serve, [merge(name, name + tail) for name in (secret, kept) for tail in ("-b", "-c")])
        send(serve, [{"distinct_id": secret}, {"distinct_id": kept}, {"event": "", "distinct_id": secret},
                     {"event": "$identify", "distinct_id": kept, "properties": {"$anon_distinct_id": "null"}}])
        serve.cli("person", "delete", "--with-events", "--now", secret)
        assert len(files_with(serve, secret)) > 3, "can it be found at all?"
        wait_for(lambda: sum(kind == "erase_log" for kind, _ in receipts(serve)) == 3, 90)
        wait_for(lambda: serve.sql("SELECT count(*) AS n FROM penstock_erased WHERE name = ''")[0]["n"] in (0, "0"), 30)
        assert serve.sql("SELECT count(*) AS n FROM dead_letters")[0]["n"] in (0, "0")
        wait_for(lambda: not any(name.startswith("people/") for name in files_with(serve, secret)), 200)  # a hundred times what the last one took
        if deploy.embedded("people"):
            assert serve.log().count("the store of persons was written anew") >= 1
        later = [{"distinct_id": kept, "uuid": uuid7()} for _ in range(5)]  # in the new file, too, events are taken, and known again
        accepted = send(serve, later)["accepted"]
        assert sorted(link["distinct_id"] for link in person(serve, kept)["distinct_ids"]) == [kept, kept + "-b", kept + "-c"], person(serve, kept)
        serve.stop()
        left = files_with(serve, secret)
        assert left == [], left
        assert {"log/raw/0", "log/events/0", "log/people/0"} <= {os.path.dirname(name) for name in files_with(serve, kept)}
        serve.cli("log", "verify")
        dump = serve.cli("log", "dump", "raw")
        assert dump.stderr == "" and sum(json.loads(line).get("erased", False) for line in dump.stdout.splitlines()) > 3, dump.stderr
        serve.start()
        assert serve.settle()["accepted"] == accepted
        assert send(serve, later)["deduplicated"] == 5
        assert serve.sql("SELECT count(*) AS n FROM events WHERE %s" % gone)[0]["n"] in (0, "0")


def test_what_is_told_of_the_erased():
    """Where the log can be emptied, trace knows an erased event by its id alone, and says so; of an erased letter nothing is left."""
    event, open_letter, put_away = uuid7(), uuid7(), uuid7()
    with Serve() as serve:
        token = serve.token()
        serve.post("/batch/", {"api_key": token, "batch": [{"event": "x", "distinct_id": "ada", "uuid": event}] + [
            {"event": "", "distinct_id": who, "uuid": uuid} for who, uuid in (("ada", open_letter), ("ada", put_away), ("bob", uuid7()), ("bob", uuid7()))]})
        serve.settle()
        for letter in (put_away, json.loads(serve.cli("dlq", "list", "--json").stdout.splitlines()[-1])["letter"]):
            serve.cli("dlq", "discard", letter)
        assert serve.status()["dead_letters"] == {"open": 2, "replayed": 0, "discarded": 2}, serve.status()
        serve.cli("person", "delete", "--with-events", "--now", "ada")
        wait_for(lambda: any(row["kind"] == "erase" and row["state"] == "warehouse done" for row in receipts(serve).values()) and
                 any(kind == "erase_log" for kind, _ in receipts(serve)))
        status = serve.settle()
        assert status["dead_letters"] == {"open": 1, "replayed": 0, "discarded": 1}, status
        assert status["dead_lettered"] == 4, status
        if deploy.embedded("log"):
            text = serve.cli("trace", event).stdout
            assert "was stored: it was erased with its person; nothing is kept of it but its id" in text and "offset 0: erased since" in text, text
            told = json.loads(serve.cli("trace", event, "--json").stdout)
            assert (told["fate"], told["record_is"]) == ("stored", "erased"), told


def test_erased_once_whatever_is_killed():
    with Serve() as serve:
        erase_persons(serve, 25, tuple(range(0, 25, 3)), True)
