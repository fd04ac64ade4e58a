"""Where the flow tests' servers keep what they keep: in their data folders, or in stores of a cluster.

PENSTOCK_DEPLOY says which: `cluster`, or some of `log=kafka`, `people=postgres`, `warehouse=clickhouse`, `catalog=postgres`, parted by
commas; nothing: embedded. The servers behind are those of tests/parts, found by PENSTOCK_TEST_*; tests/flow/run.py starts them
once for all tests. Each data folder has databases and topics of its own there, by a name that is made of its path, so that a
server which is started again finds them."""
import hashlib
import os
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import topics

ALL = {"log": "kafka", "people": "postgres", "warehouse": "clickhouse", "catalog": "postgres"}
PARTS = {"kafka": "kafka", "postgres": "postgres", "clickhouse": "clickhouse"}


def read(text):
    """{"people": "postgres", ...} of a PENSTOCK_DEPLOY; raises when it says something else."""
    wanted = {}
    for word in filter(None, (text or "").replace(" ", "").split(",")):
        store, _, backend = word.partition("=")
        if word == "cluster":
            wanted.update(ALL)
        elif word == "embedded":
            continue
        elif ALL.get(store) == backend:
            wanted[store] = backend
        else:
            raise SystemExit("there is no deployment \"%s\": cluster, embedded, %s" % (
                word, ", ".join("%s=%s" % pair for pair in ALL.items())))
    return wanted


DEPLOY = read(os.environ.get("PENSTOCK_DEPLOY"))


def parts():
    """The servers that are needed."""
    return sorted({PARTS[backend] for backend in DEPLOY.values()})


def embedded(*stores):
    """Whether these stores (all of them, when none is named) are in the data folder."""
    return not any(store in DEPLOY for store in stores or ALL)


def name_of(data):
    return "flow_" + hashlib.md5(os.path.abspath(data).encode()).hexdigest()[:10]


def psql(sql, url=None):
    return subprocess.run(["psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", url or os.environ["PENSTOCK_TEST_POSTGRES"], "-c", sql],
                          capture_output=True, text=True, timeout=60)


def clickhouse(sql):
    url = os.environ["PENSTOCK_TEST_CLICKHOUSE"] + "/?" + urllib.parse.urlencode({"query": sql})
    with urllib.request.urlopen(urllib.request.Request(url, data=b""), timeout=60) as answer:
        return answer.read().decode()


def postgres_url(data):
    return os.environ["PENSTOCK_TEST_POSTGRES"].rsplit("/", 1)[0] + "/" + name_of(data)


MADE = {}


def make(data):
    """Makes what a server of this data folder needs; the environment that tells it so. Again: finds it."""
    if name_of(data) not in MADE:
        MADE[name_of(data)] = make_new(data)
    return MADE[name_of(data)]


def make_new(data):
    env = {}
    if "postgres" in DEPLOY.values():
        if psql("SELECT 1 FROM pg_database WHERE datname = '%s'" % name_of(data)).stdout.strip() != "1":
            done = psql("CREATE DATABASE " + name_of(data))
            if done.returncode != 0:
                raise AssertionError("psql: " + done.stderr)
        for store in ("people", "catalog"):
            if store in DEPLOY:
                env.update({"PENSTOCK_%s_BACKEND" % store.upper(): "postgres", "PENSTOCK_%s_URL" % store.upper(): postgres_url(data)})
    if "warehouse" in DEPLOY:
        env.update(PENSTOCK_WAREHOUSE_BACKEND="clickhouse", PENSTOCK_WAREHOUSE_URL=os.environ["PENSTOCK_TEST_CLICKHOUSE"],
                   PENSTOCK_WAREHOUSE_DATABASE=name_of(data))
    if "log" in DEPLOY:
        env.update(PENSTOCK_LOG_BACKEND="kafka", PENSTOCK_LOG_BROKERS=os.environ["PENSTOCK_TEST_KAFKA"],
                   PENSTOCK_LOG_TOPIC_PREFIX=name_of(data) + "_", PENSTOCK_LOG_REPLICATION=os.environ.get("PENSTOCK_DEPLOY_REPLICATION") or "1",
                   PENSTOCK_LOG_PARTITIONS=os.environ.get("PENSTOCK_DEPLOY_PARTITIONS") or
                   ("2" if "people" in DEPLOY and "warehouse" in DEPLOY else "1"))  # LMDB and DuckDB take one
    return env


def drop(data):
    if "log" in DEPLOY:
        topics.delete(os.environ["PENSTOCK_TEST_KAFKA"], name_of(data) + "_")
    if "postgres" in DEPLOY.values():
        psql("DROP DATABASE IF EXISTS %s WITH (FORCE)" % name_of(data))
    if "warehouse" in DEPLOY:
        try:
            for database in (name_of(data), name_of(data) + "_sql"):
                clickhouse("DROP DATABASE IF EXISTS " + database)
        except (OSError, urllib.error.URLError):
            pass  # a test killed it; the folder of all of it goes anyway
