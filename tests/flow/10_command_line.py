"""The command line: help, completions, configuration errors, and what a first and a second start say."""
import collections
import json
import os
import re
import shutil
import subprocess
import tempfile
import time

import deploy
from harness import BINARY, Serve, command, free_port, uuid7

COMMANDS = ["serve", "send", "tail", "trace", "sql", "compare", "plan", "status", "token list", "token create", "token revoke", "log info",
            "project list", "project show", "project create", "project set", "restrict list", "restrict add", "restrict remove",
            "quota list", "quota set", "quota remove", "limit list", "limit set", "limit remove",
            "person show", "person delete", "person undelete", "person split",
            "log verify", "log dump", "retention confirm", "warehouse rebuild", "warehouse ddl", "dlq list", "dlq show", "dlq edit",
            "dlq replay", "dlq discard", "dlq download", "doctor", "reload", "upgrade", "cage", "config check", "config show", "config explain", "completions", "version"]


def test_every_command_has_help_with_examples():
    listed = command("--help").stdout
    for name in COMMANDS:
        assert "\n  %s " % name in listed, "--help does not list %s" % name
        page = command(*name.split(), "--help")
        assert page.stderr == ""
        assert page.stdout.startswith("usage: penstock %s" % name), page.stdout
        for part in ("\nFlags:\n", "\nExamples:\n  penstock %s" % name, "\nExit codes: 0 "):
            assert part in page.stdout, "%s --help lacks %r" % (name, part)
    extra = re.findall(r"^  ([a-z]+(?: [a-z]+)?) ", listed, re.M)
    assert sorted(set(extra)) == sorted(COMMANDS), extra


# embedded: log: on a cluster a command needs no data folder: one that is not there is no mistake
def test_wrong_words_are_usage_errors_with_the_nearest_word():
    rows = [
        (["sevre"], "did you mean \"serve\""),
        (["tokn", "list"], "did you mean \"token list\""),
        (["token", "lst"], "did you mean \"token list\""),
        (["serve", "--dta", "x"], "did you mean --data"),
        (["serve", "--data"], "--data needs a value"),
        (["serve", "--role", "captre"], "the roles are capture, ingest, load"),
        (["sql"], "QUERY is missing"),
        (["sql", "SELECT 1", "2"], "one word too many"),
        (["sql", "SELECT 1", "--format", "xml"], "csv, json or table"),
        (["trace", "no-uuid"], "is not a UUID"),
        (["compare", "/nonexistent", "/nonexistent"], "a topic is kafka://HOST:PORT/TOPIC"),
        (["plan"], "--events-per-month N"),
        (["plan", "--events-per-month", "many"], "is no number from 1 to 1e15"),
        (["plan", "--events-per-month", "1e9", "--set", "zonse=2"], "there is no number \"zonse\""),
        (["compare", "/dev/null", "/dev/null", "--memory", "0"], "--memory takes a whole number from 1 to 1048576, not \"0\""),
        (["status", "--by", ""], "--by takes project, hour, fate, or several of them with commas, not \"\""),
        (["status", "--by", "project,"], "not \"project,\""),
        (["status", "--by", ",hour"], "not \",hour\""),
        (["status", "--by", "project,,hour"], "not \"project,,hour\""),
        (["warehouse", "ddl", "--database", ""], "--database is empty"),
        (["warehouse", "ddl", "--cluster", "", "--form", "cluster"], "--cluster is empty"),
        (["warehouse", "ddl", "--brokers", "", "--form", "kafka-engine"], "--brokers is empty"),
        (["send"], "either EVENT or --file"),
        (["send", "a", "--file", "b"], "either EVENT or --file"),
        (["tail", "--from", "middle"], "start or end"),
        (["tail", "--count", "many"], "whole number"),
        (["status", "--data", "/nonexistent"], "is no data folder of Penstock"),
        (["serve", "--data", "/nonexistent/deeper"], "the folder above it does not exist"),
        (["config", "explain", "capture.body_byte_max"], "did you mean \"capture.body_bytes_max\""),
        (["completions", "fish"], "bash and zsh"),
        (["dlq", "nothing"], "there is no command \"dlq nothing\""),
        (["sql", "SELECT 1", "--config", "x" * 5000], "the path of the configuration has 5000 bytes"),
        (["token", "create", "--token", ""], "--token is empty; leave it out"),
        (["token", "create", "--token", "x" * 65], "longer than 64 bytes"),
        (["token", "create", "--token", "\u00e9"], "is not ASCII"),
        (["token", "create", "--token", "phx_1"], "begins with phx_"),
        (["token", "create", "--token", "a b"], "a blank or a control character, as byte 2"),
        (["project", "sett"], "did you mean \"project set\""),
        (["project", "set"], "KEY=VALUE... is missing"),
        (["project", "list", "--data", "/nonexistent"], "is no data folder of Penstock"),
        (["restrict", "remove", "x"], "is no number of a restriction"),
        (["person", "undelete", "x"], "is no number of a request"),
        (["person", "split", "alice"], "ID is missing"),
        (["person", "show", "alice", "--data", "/nonexistent"], "is no data folder of Penstock"),
    ]
    for argv, text in rows:
        done = command(*argv, check=False)
        assert done.returncode == 2, "%s: exit %d" % (argv, done.returncode)
        assert done.stdout == "" and text in done.stderr, "%s: %s%s" % (argv, done.stdout, done.stderr)


def test_what_cannot_be_printed_is_a_failure_with_its_reason():
    for argv in (["--help"], ["status", "--help"], ["version"], ["config", "show"], ["completions", "bash"], ["warehouse", "ddl"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run([BINARY, *argv], stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1 and "penstock: stdout cannot be written" in done.stderr, (argv, done)


def test_wrong_configurations_name_line_and_column():
    rows = [
        ("listen: 127.0.0.1:0\nlisen: x\n", ":2:1: there is no key \"lisen\"; did you mean \"listen\"?"),
        ("capture:\n  body_bytes_max: 20 MB\n", ":2:19: "),
        ("capture:\n  body_bytes_max: 99TiB\n", "must be from "),
        ("load: 7\n", ":1:7: load takes keys below it"),
        ("data: [1, 2]\n", ":1:1: data takes one value"),
        ("listen: [\"127.0.0.1:1\", {}]\n", ":1:1: listen takes one value: a text, or a list of texts"),
        ("listen: [\"127.0.0.1:1\", eight]\n", ":1:11: listen: \"eight\" is no address; it takes HOST:PORT"),
        ("listen: a\nlisten: b\n", ":2:1: duplicate key"),
        ("listen: \"open\n", "without closing quote"),
        ("listen: 127.0.0.1:0\n---\nload:\n  queries: 2\n", ":3:1: a second document begins here; what stands in it would not be read"),
        ("listen: 127.0.0.1:0\n...\nload:\n  queries: 0\n", ":3:1: a second document begins here"),
        ("listen: 127.0.0.1:0\n\0load:\n  queries: 0\n", ":2: a NUL byte: what stands behind it would not be read"),
        ("# all defaults\n\0load:\n  queries: 0\n", ":2: a NUL byte"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "penstock.yaml")
        for text, expected in rows:
            with open(path, "w") as out:
                out.write(text)
            for argv in (["config", "check", path], ["serve", "--data", folder], ["config", "show", "--data", folder]):
                done = command(*argv, check=False)
                assert done.returncode == 2, "%s: %r: exit %d" % (argv, text, done.returncode)
                assert path in done.stderr and expected in done.stderr, "%r: %s" % (text, done.stderr)
        for data, expected in (("/proc/nowhere/data", "(data) cannot be made by user"), (path, "(data) is no folder")):
            with open(path, "w") as out:
                out.write("data: %s\n" % data)
            done = command("config", "check", path, check=False)
            assert done.returncode == 2 and expected in done.stderr, (data, done)
        for data in ("new", "new/", "./new//", folder + "/new", folder + "/new/"):
            with open(path, "w") as out:
                out.write("data: %s\n" % data)
            done = command("config", "check", path, check=False, cwd=folder)
            assert done.returncode == 0, (data, done)
        with open(path, "w") as out:
            out.write("lisen: x\ncapture:\n  body_bytes_max: 20 MB\n  foo: 7\nload: 7\n")
        wrong = command("config", "check", path, check=False)
        places = re.findall(r"^penstock: .*?:(\d+:\d+): ", wrong.stderr, re.M)
        assert wrong.returncode == 2 and places == ["1:1", "3:19", "4:3", "5:7"], wrong.stderr  # all of them
        with open(path, "w") as out:
            out.write("---\nlisten: 127.0.0.1:7777\ncapture:\n  body_bytes_max: 1MiB\n  user: 'a\"b\\c'\n...\n---\n")
        command("config", "check", path)
        shown = {row["key"]: row for row in json.loads(command("config", "show", "--data", folder, "--json").stdout)}
        assert shown["listen"]["value"] == "127.0.0.1:7777" and shown["listen"]["source"] == path + ":2"
        assert shown["capture.body_bytes_max"]["value"] == "1MiB"
        assert shown["load.queries"]["source"] == "default"
        again = os.path.join(folder, "again.yaml")
        with open(again, "w") as out:
            out.write(command("config", "show", "--data", folder).stdout)
        command("config", "check", again)  # what it shows is a configuration, and the same
        assert {row["key"]: row["value"] for row in json.loads(command("config", "show", "--config", again, "--json").stdout)} == {
            key: row["value"] for key, row in shown.items()}


def test_completions_complete():
    with tempfile.NamedTemporaryFile("w", suffix=".bash") as script:
        script.write(command("completions", "bash").stdout)
        script.flush()
        rows = [("penstock s", "serve send sql status"), ("penstock token ", "list create revoke"),
                ("penstock log v", "verify"), ("penstock serve --li", "--listen"), ("penstock token create --to", "--token"),
                ("penstock sql --format ", "csv json table"), ("penstock serve --role i", "ingest")]
        for line, expected in rows:
            words = line.split(" ")
            quoted = " ".join("'%s'" % word for word in words)
            bash = "source %s; COMP_WORDS=(%s); COMP_CWORD=%d; _penstock; echo ${COMPREPLY[@]}" % (
                script.name, quoted, len(words) - 1)
            got = subprocess.run(["bash", "-c", bash], capture_output=True, text=True)
            assert set(got.stdout.split()) == set(expected.split()), "%r gave %r %s" % (line, got.stdout, got.stderr)
    assert command("completions", "zsh").stdout.startswith("#compdef penstock\n")


def test_first_start_says_how_to_send_and_the_second_keeps_the_token():
    with Serve() as serve:
        said = serve.log()
        token = serve.token()
        address = "http://127.0.0.1:%d" % serve.port
        assert address in said and token in said
        assert "first event" in said
        curl = re.search(r"curl .*?\n.*?'\{.*?\}'", said, re.S)[0]
        done = subprocess.run(curl.replace("curl ", "curl -sS --fail "), shell=True, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        serve.settle()
        assert serve.sql("SELECT event, distinct_id FROM events") == [{"event": "hello", "distinct_id": "me"}]
        serve.stop()
        serve.start()
        assert [row["token"] for row in json.loads(serve.cli("token", "list", "--json").stdout)] == [token]
        assert token in serve.log().split("stopping")[-1]
        assert serve.sql("SELECT count(*) AS n FROM events") == [{"n": 1}]


def test_tokens_are_made_and_revoked_while_it_runs():
    with Serve() as serve:
        serve.token("phc_mine")
        made = serve.cli("token", "create").stdout.strip()
        assert re.fullmatch(r"phc_[A-Za-z0-9]{43}", made), made
        again = command("token", "create", "--token", "phc_mine", "--data", serve.data, check=False)
        assert again.returncode == 2 and again.stdout == ""
        assert {"phc_mine", made} < {row["token"] for row in json.loads(serve.cli("token", "list", "--json").stdout)}
        serve.cli("token", "revoke", "phc_mine")
        assert "phc_mine" not in serve.cli("token", "list").stdout


def test_send_tail_trace_and_sql():
    with Serve() as serve:
        event = uuid7()
        body = json.dumps({"uuid": event, "event": "bought", "distinct_id": "ada", "properties": {"n": 12345678901234567890}})
        answer = serve.cli("send", "--file", "-", input=body)
        assert answer.stdout.startswith("200 "), answer.stdout
        serve.cli("send", "seen", "--distinct-id", "bob", "--property", "plan=pro", "--property", "seats=3",
                  "--property", "deep={\"a\":[1,2]}")
        serve.settle()
        rows = serve.sql("SELECT event, distinct_id, properties FROM events ORDER BY event")
        assert [row["event"] for row in rows] == ["bought", "seen"]
        assert "12345678901234567890" in rows[0]["properties"]
        sent = json.loads(rows[1]["properties"])
        assert (sent["plan"], sent["seats"], sent["deep"]) == ("pro", 3, {"a": [1, 2]})

        tail = serve.cli("tail", "--from", "start", "--count", "2").stdout.splitlines()
        told = [json.loads(line)["event"] for line in tail]  # of several partitions in any order: two people
        assert (told if deploy.embedded("log") else sorted(told)) == ["bought", "seen"], told

        trace = json.loads(serve.cli("trace", event, "--json").stdout)
        assert trace["fate"] == "stored" and trace["rows"][0]["distinct_id"] == "ada", trace
        assert "is stored" in serve.cli("trace", event.upper()).stdout
        unknown = command("trace", uuid7(), "--json", "--data", serve.data, check=False)
        assert unknown.returncode == 1 and json.loads(unknown.stdout)["fate"] == "unknown"

        csv = serve.cli("sql", "SELECT event, 'a,\"b\"' AS q FROM events ORDER BY 1", "--format", "csv").stdout
        assert csv.replace("\r\n", "\n") == 'event,q\nbought,"a,""b"""\nseen,"a,""b"""\n', csv
        wrong = command("sql", "SELEC 1", "--data", serve.data, check=False)
        assert wrong.returncode == 1 and wrong.stdout == "" and "SELEC" in wrong.stderr
        writing = command("sql", "DELETE FROM events", "--data", serve.data, check=False)
        assert writing.returncode == 1
        serve.stop()
        assert serve.sql("SELECT count(*) AS n FROM events") == [{"n": 2}], "the file is not opened when nobody serves"
        assert serve.status()["stored"] == 2
        assert json.loads(serve.cli("trace", event, "--json").stdout)["fate"] == "stored"


def test_status_counts_every_fate():
    with Serve() as serve:
        token = serve.token()
        twice = {"uuid": uuid7(), "event": "twice", "distinct_id": "u"}
        serve.post("/batch/", {"api_key": token, "batch": [
            {"event": "one", "distinct_id": "u"}, twice,
            {"event": "no user"},                                     # becomes a dead letter
            {"event": "$groupidentify", "distinct_id": "u",           # dropped: the key is too long
             "properties": {"$group_type": "company", "$group_key": "k" * 401, "$group_set": {}}},
        ]})
        serve.post("/e/", dict(twice, api_key=token))                 # deduplicated
        status = serve.settle()
        assert status["accepted"] == 5 and status["stored"] == 2, status
        assert (status["deduplicated"], status["dead_lettered"]) == (1, 1), status
        assert status["dropped"] == {"group_key_too_long": 1}, status
        assert [role["up"] for role in status["roles"]] == [True, True, True]
        assert all(role["rss_bytes"] > 0 and role["pid"] > 0 for role in status["roles"])
        text = serve.cli("status").stdout
        assert "5 accepted" in text and "group_key_too_long" in text


def test_the_equation_holds_at_every_moment():
    with Serve() as serve:
        token = serve.token()
        seen_pending = 0
        for round_number in range(30):
            serve.post("/batch/", {"api_key": token, "batch": [
                {"event": "e", "distinct_id": "u%d" % (i % 7)} for i in range(100)]})
            status = serve.status()
            total = status["stored"] + sum(status["dropped"].values()) + status["deduplicated"] + status["dead_lettered"]
            assert status["accepted"] == total + status["pending"], status
            # What brokers do not acknowledge soon goes over the disk, and may have arrived all the same: a repeat is accepted, too.
            sent = 100 * (round_number + 1)
            assert status["accepted"] == sent if deploy.embedded("log") else status["accepted"] >= sent, status
            seen_pending += status["pending"] > 0
        status = serve.settle()
        assert status["stored"] == 3000 == status["accepted"] - status["deduplicated"], status
        assert status["deduplicated"] == 0 or not deploy.embedded("log"), status
        assert seen_pending > 0, "status never saw an event on its way: the test proves nothing"


def test_log_commands():
    with Serve() as serve:
        serve.cli("send", "one", "--distinct-id", "u")
        serve.settle()
        ends = collections.Counter()
        for row in json.loads(serve.cli("log", "info", "--json").stdout):
            ends[row["topic"]] += row["end"]  # of one partition or several
        assert ends["raw"] == (1 if deploy.embedded("log") else 1 << 20) and ends["events"] == 1, ends
        assert "raw" in serve.cli("log", "info").stdout
        dump = json.loads(serve.cli("log", "dump", "raw").stdout)
        assert (dump["offset"], dump["event"], dump["distinct_id"], dump["data"]["event"]) == (0, "one", "u", "one")
        assert json.loads(serve.cli("log", "dump", "raw", "--hex").stdout)["bytes"] > 80
        assert json.loads(serve.cli("log", "dump", "events").stdout)["table"] == "events"
        assert all(row["records_damaged"] == 0 for row in json.loads(serve.cli("log", "verify", "--json").stdout))
        missing = command("log", "dump", "nosuch", "--data", serve.data, check=False)
        assert missing.returncode == 2


def writes_are_throttled(folder):
    """As the kernel tells of the disk that this is on, or of the disk that this is a part of."""
    device = os.stat(folder).st_dev
    for queue in ("queue", "../queue"):
        try:
            return int(open("/sys/dev/block/%d:%d/%s/wbt_lat_usec" % (os.major(device), os.minor(device), queue)).read()) > 0
        except (OSError, ValueError):
            pass
    return False


# embedded: warehouse: it looks at what is said of the DuckDB library
def test_doctor():
    with Serve() as serve:
        lines = json.loads(serve.cli("doctor", "--json").stdout)
        verdicts = {line["part"]: line["verdict"] for line in lines}
        assert verdicts["duckdb"] == "ok" and verdicts["folder"] == "ok" and verdicts["capture"] == "ok", lines
        assert verdicts["events"] == "ok"
        assert ("throttle" in verdicts) == writes_are_throttled(serve.data), lines
    fresh = command("doctor", "--data", "/nonexistent", check=False, cwd=tempfile.gettempdir())
    assert fresh.returncode == 0, fresh.stdout


def test_version():
    assert re.fullmatch(r"penstock \d+\.\d+\.\d+\n", command("version").stdout)
    assert command("--version").stdout == command("version").stdout
    assert json.loads(command("version", "--json").stdout)["version"] in command("version").stdout


def test_a_closed_stdout_is_a_failure():
    done = subprocess.run("%s version --json >/dev/full" % BINARY, shell=True, capture_output=True, text=True)
    assert done.returncode == 1


def test_a_token_may_be_there_before_the_first_start():
    with Serve() as serve:
        serve.stop()
        fresh = os.path.join(serve.folder, "fresh")
        assert command("token", "create", "--token", "phc_before", "--data", fresh).stdout == "phc_before\n"
        with Serve(data=fresh) as other:
            assert other.token() == "phc_before", "no second token is made"
            other.post("/e/", {"api_key": "phc_before", "event": "x", "distinct_id": "u"})
            assert other.settle()["stored"] == 1


def owners(folder):
    return {os.path.join(at, name): os.lstat(os.path.join(at, name)).st_uid for at, folders, files in os.walk(folder) for name in folders + files}


def test_what_root_makes_belongs_to_the_owner_of_the_folder():
    """Else a server that runs as him could not read what was asked of it."""
    other = 65534
    if os.geteuid() != 0:
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        os.mkdir(folder + "/data")
        os.chown(folder + "/data", other, other)
        command("token", "create", "--data", folder + "/data")
        made = {uid for path, uid in owners(folder + "/data").items() if "catalog.db" in path}
        assert made == ({other} if deploy.embedded("catalog") else set()), owners(folder + "/data")
    with Serve() as serve:
        serve.post("/e/", {"api_key": serve.token(), "event": "x", "distinct_id": "ada"})
        serve.settle()
        serve.stop()
        os.chmod(serve.folder, 0o755)
        for path in [serve.data, *owners(serve.data)]:
            os.lchown(path, other, other)
        if deploy.embedded("people"):
            serve.cli("person", "delete", "ada")
        for argv in (["status"], ["token", "create"], ["restrict", "add", "drop", "--event", "x"], ["log", "verify"], ["sql", "SELECT 1"],
                     ["trace", uuid7()], ["dlq", "list"], ["retention", "confirm"]):
            serve.cli(*argv, check=False)
        if deploy.embedded("warehouse"):
            serve.cli("warehouse", "rebuild", "--yes")
        assert set(owners(serve.data).values()) == {other}, [path for path, uid in owners(serve.data).items() if uid != other]


def test_a_folder_that_may_not_be_looked_into_is_told_as_that():
    if os.geteuid() != 0:
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        program = shutil.copy(BINARY, folder)
        command("token", "create", "--data", folder + "/data")
        for argv in (["status"], ["token", "list"], ["sql", "SELECT 1"], ["log", "info"], ["doctor"]):
            done = subprocess.run([program, *argv, "--data", folder + "/data"], capture_output=True, text=True, user=65534, group=65534, extra_groups=[])
            text = done.stdout if argv == ["doctor"] else done.stderr
            assert done.returncode == 1 and "/data cannot be looked into: Permission denied; it belongs to user 0" in text, (argv, done)


def test_projects_and_restrictions():
    with tempfile.TemporaryDirectory() as folder:
        at = ["--data", folder + "/data"]
        command("token", "create", *at)
        assert json.loads(command("project", "show", "--json", *at).stdout) == {
            "id": 1, "name": "default", "anonymize_ips": False, "geoip_off": False, "person_processing_off": False,
            "person_last_seen": False, "cookieless": "stateful", "time_zone": "UTC", "heatmaps_off": False,
            "drop_older_than_s": 0, "retention_days": 0, "restrictions": 0}
        assert command("project", "create", "shop", *at).stdout == "2\n"
        wrong = [
            ("anonymize_ip=true", "did you mean \"anonymize_ips\"?"), ("anonymize_ips=maybe", "true or false, not \"maybe\""),
            ("anonymize_ips", "is not KEY=VALUE"), ("cookieless=on", "off, stateless or stateful"),
            ("retention_days=36501", "from 0 to 36500"), ("drop_older_than_s=-1", "from 0 to "),
            ("time_zone=../../etc/passwd", "is no name of a zone"), ("name=", "1 to 200 bytes"),
            ("name=" + "n" * 201, "at most 200 bytes"),
        ]
        for word, text in wrong:
            done = command("project", "set", "--project", "shop", "heatmaps_off=true", word, *at, check=False)
            assert done.returncode == 2 and text in done.stderr and done.stdout == "", done.stderr
        assert json.loads(command("project", "show", "2", "--json", *at).stdout)["heatmaps_off"] is False  # all or none
        words = ["anonymize_ips=true", "cookieless=stateless", "time_zone=UTC", "retention_days=400", "drop_older_than_s=86400",
                 "person_last_seen=on", "heatmaps_off=on", "geoip_off=true", "person_processing_off=true", "name=Shop 2"]
        done = json.loads(command("project", "set", "--project", "shop", "--json", *words, *at).stdout)
        assert done == {"id": 2, "name": "Shop 2", "anonymize_ips": True, "geoip_off": True, "person_processing_off": True,
                        "person_last_seen": True, "cookieless": "stateless", "time_zone": "UTC", "heatmaps_off": True,
                        "drop_older_than_s": 86400, "retention_days": 400, "restrictions": 0}, done
        assert [p["name"] for p in json.loads(command("project", "list", "--json", *at).stdout)] == ["default", "Shop 2"]

        for argv, text in [(["drp"], "did you mean \"drop\"?"), (["filter"], "names an event"), (["drop", "--event", ""], "is empty"),
                           (["drop", "--uuid", "5"], "is no UUID"), (["drop", "--property", "a=1"], "filter only"),
                           (["filter", "--property", "a"], "KEY=VALUE"), (["drop", "--project", "9"], "no project \"9\"")]:
            done = command("restrict", "add", *argv, *at, check=False)
            assert done.returncode == 2 and text in done.stderr, done.stderr
        assert command("restrict", "add", "drop", "--distinct-id", "bot", "--event", "a b", *at).stdout == "1\n"
        assert json.loads(command("restrict", "add", "filter", "--project", "2", "--property", "k=v=w", "--json", *at).stdout) == {"id": 2}
        listed = json.loads(command("restrict", "list", "--json", *at).stdout)
        for one in listed:
            del one["created_at"]
        assert listed == [{"id": 1, "project_id": 1, "action": "drop", "distinct_id": "bot", "event": "a b"},
                          {"id": 2, "project_id": 2, "action": "filter", "property": "k", "value": "v=w"}], listed
        assert "distinct-id bot  event a b" in command("restrict", "list", "--project", "default", *at).stdout
        odd = command("restrict", "add", "drop", "--distinct-id", "a\x1b[31m\u009b2J\u202eb", *at).stdout.strip()
        assert "distinct-id \"a\\u001b[31m\\u009b2J\\u202eb\"  since" in command("restrict", "list", *at).stdout
        command("restrict", "remove", odd, *at)
        # A token that nobody has may have been revoked with its events on the way: it is taken, and said.
        token = json.loads(command("token", "list", "--json", *at).stdout)[0]["token"]
        for argv, text in [(["--token", token], ""), (["--token", "phc_gone"], "project 1 has no token phc_gone: only events that came"),
                           (["--token", token, "--project", "2"], "project 2 has no token " + token)]:
            done = command("restrict", "add", "drop", *argv, *at)
            assert (text in done.stderr) if text else done.stderr == "", (argv, done.stderr)
            command("restrict", "remove", done.stdout.strip(), *at)
        command("restrict", "remove", "1", *at)
        assert command("restrict", "remove", "1", *at, check=False).returncode == 2
        assert len(json.loads(command("restrict", "list", "--json", *at).stdout)) == 1

        token = json.loads(command("token", "list", "--json", *at).stdout)[0]["token"]
        for argv, text in [(["quota", "set", "evnts", "--until", "1h"], "did you mean \"events\"?"), (["quota", "set", "events"], "--until is missing"),
                           (["quota", "set", "events", "--until", "soon"], "takes a time"), (["quota", "remove", "events"], "no such quota"),
                           (["quota", "set", "events", "--until", "2020-01-01T00:00:00Z"], "is over already: nothing would be kept out"),
                           (["quota", "set", "events", "--until", "0s"], "is over already"),
                           (["quota", "set", "events", "--until", "4000000d"], "at most 36500 days from now"),
                           (["quota", "set", "events", "--until", "9999-01-01T00:00:00Z"], "at most 36500 days from now"),
                           (["quota", "set", "events", "--until", "1h", "--token", "phc_x"], "has no token phc_x"),
                           (["limit", "set", "token", "0"], "from 1 to"), (["limit", "set", "tken", "5"], "did you mean \"token\"?"),
                           (["limit", "set", "distinct_id", "5", "--burst", "9"], "--burst goes with"), (["limit", "remove", "token"], "no such limit"),
                           (["limit", "set", "token", "5", "--token", ""], "--token is empty")]:
            done = command(*argv, *at, check=False)
            assert done.returncode == 2 and text in done.stderr and done.stdout == "", done.stderr
        command("quota", "set", "events", "--until", "2040-01-02T03:04:05Z", "--project", "Shop 2", *at)
        command("quota", "set", "recordings", "--until", "90m", "--token", token, *at)
        listed = json.loads(command("quota", "list", "--json", *at).stdout)
        assert [(q["project_id"], q["resource"], q.get("token"), q["in_force"]) for q in listed] == [
            (1, "recordings", token, True), (2, "events", None, True)] and listed[1]["until"] == "2040-01-02T03:04:05Z", listed
        assert "none is taken until 2040-01-02T03:04:05Z" in command("quota", "list", "--project", "2", *at).stdout
        command("quota", "remove", "events", "--project", "2", *at)
        assert len(json.loads(command("quota", "list", "--json", *at).stdout)) == 1
        command("limit", "set", "token", "500", *at)
        command("limit", "set", "token", "600", "--burst", "9", "--token", token, *at)
        command("limit", "set", "distinct_id", "300000", "--project", "2", *at)
        listed = json.loads(command("limit", "list", "--json", *at).stdout)
        for one in listed:
            del one["created_at"]
        assert listed == [{"project_id": 1, "kind": "token", "events_per_second": 500, "burst": 5000},
                          {"project_id": 1, "kind": "token", "token": token, "events_per_second": 600, "burst": 9},
                          {"project_id": 2, "kind": "distinct_id", "events_per_minute": 300000}], listed
        assert "500 events a second, 5000 at once" in command("limit", "list", *at).stdout
        command("limit", "remove", "token", "--token", token, *at)
        assert len(json.loads(command("limit", "list", "--json", *at).stdout)) == 2

        assert command("token", "create", "--secret", *at).stdout.startswith("phs_")
        assert [t["secret"] for t in json.loads(command("token", "list", "--json", *at).stdout)] == [False, True]


def test_the_cage_says_json_when_asked():
    done = command("cage", "--json", check=False)
    rows = json.loads(done.stdout)
    assert len(rows) > 5 and all(set(row) == {"verdict", "what", "how"} for row in rows), done.stdout
