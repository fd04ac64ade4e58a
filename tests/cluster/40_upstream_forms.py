#!/usr/bin/env python3
# parts: kafka
"""PostHog's forms from end to end: an event over HTTP is on the raw topic as one message, ingest reads that message, and one made by hand
beside it, and its rows are on the topics that ClickHouse's tables read; as kcat, another client, sees them. `penstock compare` finds
a topic equal to itself and tells what another lacks. Beside it a capture whose kinds of events have topics of their own, none of which
is there: it makes them, and each event stands where it belongs, also when one of them is deleted meanwhile; where it may not make it, it says
what waits, and goes on when somebody has; brokers that make topics by themselves do not come before it. And in another pipeline's place:
ingest goes on where that one stood, and says where it stands itself."""
import json
import os
import subprocess
import tempfile
import time
import urllib.request

from served import BINARY, ROOT, served
import kafka  # of tests/parts, which served has made known

BROKERS = os.environ["PENSTOCK_TEST_KAFKA"]
PREFIX, APART, TAKEN = "u%d_" % os.getpid(), "a%d_" % os.getpid(), "t%d_" % os.getpid()
PATIENCE = 90
SETTINGS = """listen: 127.0.0.1:%d
log: {backend: kafka, brokers: [%s], topic_prefix: %s, form: upstream, form_rows: upstream, partitions: 1, replication: 1}
"""
SETTINGS_APART = """listen: 127.0.0.1:%d
log: {backend: kafka, brokers: [%s], topic_prefix: %s, form: upstream, kinds_apart: true, partitions: 1, replication: 1}
"""
SETTINGS_COPIES = SETTINGS_APART.replace("replication: 1", "replication: 3")
KINDS = {"events_plugin_ingestion": "signup", "error_tracking_events": "$exception", "heatmaps_ingestion": "$$heatmap",
         "ingestion-clientwarnings-main-1": "$$client_ingestion_warning", "events_plugin_ingestion_ai": "$ai_generation",
         "events_plugin_ingestion_dlq": ""}


def kcat(topic, prefix=PREFIX):
    """[(key, headers, value)]"""
    done = subprocess.run(["kcat", "-C", "-b", BROKERS, "-t", prefix + topic, "-o", "beginning", "-e", "-q", "-f", "%k\x01%h\x01%s\x02"],
                          capture_output=True, text=True, timeout=60)
    return [tuple(line.split("\x01")) for line in done.stdout.split("\x02")[:-1]]


def wait_for(what, count, prefix=PREFIX):
    end = time.time() + PATIENCE
    while True:
        found = kcat(what, prefix)
        if len(found) >= count:
            return found
        assert time.time() < end, "%s has %d messages after %d s, not %d" % (what, len(found), PATIENCE, count)
        time.sleep(0.5)


def compare(left, right):
    done = subprocess.run([BINARY, "compare", "kafka://%s/%s%s" % (BROKERS, PREFIX, left), "kafka://%s/%s%s" % (BROKERS, PREFIX, right), "--json"],
                          capture_output=True, text=True, timeout=120)
    return done.returncode, json.loads(done.stdout)


def post(port, token, batch):
    body = json.dumps({"api_key": token, "batch": batch}).encode()
    urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:%d/batch/" % port, data=body, headers={"Content-Type": "application/json"}),
                           timeout=60).read()


def kinds_apart(port, token):
    post(port, token, [{"event": event, "distinct_id": "u-1"} for event in KINDS.values()])
    for topic, event in KINDS.items():
        # A copy more of one and the same comes where brokers were slow.
        assert {json.loads(value)["event"] for _, _, value in wait_for(topic, 1, APART)} == {event}, topic
    # one is deleted meanwhile: it is made anew, and nothing waits behind it
    for turn in range(2):
        delete("heatmaps_ingestion")
        for n in range(3):
            post(port, token, [{"event": "$$heatmap", "distinct_id": "u-%d" % n}, {"event": "later %d.%d" % (turn, n), "distinct_id": "u-2"}])
        there("heatmaps_ingestion", ["u-0", "u-1", "u-2"], "distinct_id")
        there("events_plugin_ingestion", ["later %d.%d" % (turn, n) for n in range(3)], "event")
    assert "topic %sheatmaps_ingestion was not there, and is made" % APART in said(port)


def cannot_be_made(port, token):
    """The same topics, and more copies are asked for than there are brokers: those that are there are used, and one that is deleted only an
    administrator can make."""
    post(port, token, [{"event": "$$heatmap", "distinct_id": "before"}, {"event": "before", "distinct_id": "u-1"}])
    there("heatmaps_ingestion", ["before"], "distinct_id")
    delete("heatmaps_ingestion")
    post(port, token, [{"event": "$$heatmap", "distinct_id": "waits"}, {"event": "behind", "distinct_id": "u-1"}])
    end = time.time() + PATIENCE
    while "topic %sheatmaps_ingestion is not there: what is accepted waits on this machine's disk" % APART not in said(port):
        assert time.time() < end, "nothing is said of the topic that is not there"
        time.sleep(0.2)
    assert "--create --topic %sheatmaps_ingestion --partitions 1 --replication-factor 3 --config min.insync.replicas=2" % APART in said(port)
    copies = [json.loads(value)["event"] for _, _, value in kcat("events_plugin_ingestion", APART)].count("behind")
    assert copies <= 2, "what stands behind is sent again and again: %d times" % copies
    post(port, token, [{"event": "on the disk", "distinct_id": "u-1"}])
    wrong = "topic %sheatmaps_ingestion has 1 copies of a partition, not log.replication: 3" % APART
    told = said(port).count(wrong)
    create("heatmaps_ingestion")
    there("heatmaps_ingestion", ["waits"], "distinct_id")
    assert said(port).count(wrong) == told + 1, "nothing is said of what is wrong with the topic that was made"
    there("events_plugin_ingestion", ["before", "behind", "on the disk"], "event")


def brokers_that_make_topics():
    """Brokers that make whatever topic somebody asks for make it as they like, with one partition: nobody may ask before it is made as it should be."""
    global BROKERS
    usual = BROKERS
    with tempfile.TemporaryDirectory(prefix="penstock-kafka.") as folder:
        part = kafka.Part(folder, brokers=1, settings={"auto.create.topics.enable": "true", "num.partitions": "1"})
        try:
            BROKERS = part.start()["PENSTOCK_TEST_KAFKA"]
            run(SETTINGS_APART.replace("partitions: 1", "partitions: 4"), APART, "capture", deleted_there)
        finally:
            part.stop()
            BROKERS = usual


def deleted_there(port, token):
    for n in range(3):
        post(port, token, [{"event": "event %d" % n, "distinct_id": "u-1"}])
        there("events_plugin_ingestion", ["event %d" % n], "event")
        told = tool("org.apache.kafka.tools.TopicCommand", "--describe", "--topic", APART + "events_plugin_ingestion")
        assert "PartitionCount: 4" in told, told
        delete("events_plugin_ingestion")


def delete(name):
    tool("org.apache.kafka.tools.TopicCommand", "--delete", "--topic", APART + name)


def create(name):
    tool("org.apache.kafka.tools.TopicCommand", "--create", "--topic", APART + name, "--partitions", "1", "--replication-factor", "1")


def there(name, wanted, member):
    """The first copies of what is wanted, in this order, and nothing that nobody sent."""
    end = time.time() + PATIENCE
    while True:
        found = [json.loads(value)[member] for _, _, value in kcat(name, APART)]
        first = [one for n, one in enumerate(found) if one in wanted and one not in found[:n]]
        if len(first) == len(wanted):
            break
        assert time.time() < end, "%s has %s after %d s, not %s" % (name, found, PATIENCE, wanted)
        time.sleep(0.5)
    assert first == wanted, found


def steps(port, token):
    post(port, token, [{"event": "$pageview", "distinct_id": "u-1", "properties": {"n": 1}}, {"event": "bad"}])
    raw = wait_for("events_plugin_ingestion", 2)
    key, headers, value = raw[0]
    assert key == token + ":u-1", key
    assert headers.startswith("token=%s,distinct_id=u-1,session_id=NULL,timestamp=" % token), headers
    message = json.loads(value)
    assert list(message) == ["uuid", "distinct_id", "ip", "data", "now", "token", "event", "timestamp"], value
    assert json.loads(message["data"]) == {"distinct_id": "u-1", "uuid": None, "event": "$pageview", "properties": {"n": 1}}
    # by hand, as another capture would
    uuid = "019c21ac-e950-7abc-8def-0123456789ab"
    hand = dict(message, uuid=uuid, distinct_id="u-2", event="by hand", data=json.dumps({"event": "by hand", "properties": {"h": 2}}))
    subprocess.run(["kcat", "-P", "-b", BROKERS, "-t", PREFIX + "events_plugin_ingestion", "-k", token + ":u-2", "-H", "token=" + token],
                   input=json.dumps(hand), text=True, check=True, timeout=60)
    subprocess.run(["kcat", "-P", "-b", BROKERS, "-t", PREFIX + "events_plugin_ingestion"], input="rubbish", text=True, check=True, timeout=60)
    rows = {row["distinct_id"]: row for row in (json.loads(v) for _, _, v in wait_for("clickhouse_events_json", 2))}
    assert sorted(rows) == ["u-1", "u-2"], rows
    assert rows["u-2"]["uuid"] == uuid and rows["u-2"]["event"] == "by hand" and json.loads(rows["u-2"]["properties"])["h"] == 2
    ids = {json.loads(v)["distinct_id"]: json.loads(v)["person_id"] for _, _, v in wait_for("clickhouse_person_distinct_id", 2)}
    persons = {json.loads(v)["id"] for _, _, v in wait_for("clickhouse_person", 2)}
    for distinct_id, row in rows.items():
        assert row["person_id"] == ids[distinct_id] and row["person_id"] in persons
    letters = wait_for("events_plugin_ingestion_dlq", 2)
    assert any("dlq_reason=no_distinct_id" in h and "dlq_step=capture" in h for _, h, _ in letters), letters
    assert any(v == "rubbish" and "dlq_reason=failed_parse_message" in h and "dlq_topic=%sevents_plugin_ingestion," % PREFIX in h for _, h, v in letters), letters
    # and compared
    code, told = compare("clickhouse_events_json", "clickhouse_events_json")
    assert code == 0 and told["is_same"] and told["same"] == 2, told
    code, told = compare("clickhouse_events_json", "clickhouse_person")
    assert code == 1 and told["only"] == {"left": 2, "right": 2}, told


def tool(name, *words):
    """One of Kafka's own."""
    libs = os.path.join(ROOT, "build", "deps", "kafka", "libs", "*")
    done = subprocess.run(["java", "-Xmx96m", "-cp", libs, name, "--bootstrap-server", BROKERS, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def message(token, n):
    data = json.dumps({"event": "e%d" % n, "properties": {}})
    return json.dumps({"uuid": "019c21ac-e950-7abc-8def-%012d" % n, "distinct_id": "d%d" % n, "ip": "", "data": data, "now": "2026-02-03T04:05:06Z",
                       "token": token, "event": "e%d" % n, "timestamp": "2026-02-03T04:05:06Z"})


def seen(count):
    return sorted({json.loads(value)["event"] for _, _, value in wait_for("clickhouse_events_json", count, TAKEN)})


def put_messages(token, numbers):
    subprocess.run(["kcat", "-P", "-b", BROKERS, "-t", TAKEN + "events_plugin_ingestion", "-p", "0"],
                   input="\n".join(message(token, n) for n in numbers), text=True, check=True, timeout=60)


def stood_there_before():
    """Another pipeline has read three messages of five."""
    tool("org.apache.kafka.tools.TopicCommand", "--create", "--topic", TAKEN + "events_plugin_ingestion", "--partitions", "1",
         "--replication-factor", "1")
    put_messages("phc_" + "x" * 43, range(5))
    tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--group", TAKEN + "penstock.begin", "--topic",
         TAKEN + "events_plugin_ingestion:0", "--reset-offsets", "--to-offset", "3", "--execute")


def goes_on(port, token):
    """What was read by the other one is not read: its token is nobody's, and would be told as dropped."""
    put_messages(token, range(10, 12))
    assert seen(2) == ["e10", "e11"], seen(2)
    end = time.time() + PATIENCE
    while True:
        told = json.loads(cli(port, "log", "info", "--json"))
        raw = [one for one in told if one["topic"] == "events_plugin_ingestion"][0]
        if raw["cursors"] == {"ingest": 7}:
            break
        assert time.time() < end, raw
        time.sleep(0.5)
    assert (raw["start"], raw["end"]) == (0, 7), raw
    rows = [one for one in told if one["topic"] == "clickhouse_events_json"][0]
    assert (rows["start"], rows["end"]) == (0, 2), rows
    dropped = json.loads(cli(port, "status", "--json"))["dropped"]
    assert dropped == {"invalid_token": 2}, dropped


folders = {}  # of the servers, by their port


def said(port):
    with open(os.path.join(os.path.dirname(folders[port]), "log")) as log:
        return log.read()


def cli(port, *words):
    return subprocess.run([BINARY, *words, "--data", folders[port]], capture_output=True, text=True, check=True, timeout=60).stdout


def run(settings_text, prefix, roles, test):
    with served(settings_text, BROKERS, prefix, roles, PATIENCE) as (port, token, data):
        folders[port] = data
        test(port, token)


def main():
    run(SETTINGS, PREFIX, "capture,ingest", steps)
    run(SETTINGS_APART, APART, "capture", kinds_apart)
    run(SETTINGS_COPIES, APART, "capture", cannot_be_made)
    brokers_that_make_topics()
    stood_there_before()
    run(SETTINGS, TAKEN, "capture,ingest", goes_on)
    print("40_upstream_forms: 5 passed")


if __name__ == "__main__":
    main()
