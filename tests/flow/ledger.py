"""A crowd of clients that remember what they were told, and the checks of what became of it.

Each client posts batches and writes down, for every event, whether it was acked (200), refused (any other
answer) or unknown (no answer). A batch without a 200 is sent again with the same uuids until it is acked, or
given up now and then, as SDKs do. Every fourth client speaks capture v1, and an event is acked when its verdict
is ok. check() then holds rows, persons and counts against the memory:
  I1  every acked event is a row        I2  one row an id
  I4  per user, rows stand in the order of acceptance
  I5  a person's last `$set` is that of its last event
  I6  accepted = stored + dropped + deduplicated + dead-lettered + pending, in all and for each project and hour, with as many
      rows in the warehouse (harness.settle)
"""
import collections
import datetime
import gzip
import http.client
import json
import random
import threading
import time
import uuid

from harness import uuid7

ACKED, REFUSED, UNKNOWN = "acked", "refused", "unknown"


class Client(threading.Thread):
    def __init__(self, serve, token, number, rate, seed, over):
        super().__init__(daemon=True)
        self.serve, self.token, self.number, self.rate, self.over = serve, token, number, rate, over
        self.random = random.Random(seed * 1000 + number)
        self.outcome = {}                            # uuid -> what we were told
        self.order = collections.defaultdict(list)   # distinct id -> its acked uuids, in the order of their answers
        self.sequence = collections.Counter()        # distinct id -> last number used
        self.number_of = {}                          # uuid -> (distinct id, number)
        self.retries = 0
        self.statuses = collections.Counter()
        self.connection = None
        self.last_ack = time.time()
        self.v1 = number % 4 == 3

    def post(self, body, headers):
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.serve.port, timeout=15)
        try:
            self.connection.request("POST", "/i/v1/analytics/events" if self.v1 else "/batch/", body, headers)
            answer = self.connection.getresponse()
            text = answer.read()
            if self.v1 and answer.status == 200:
                verdicts = json.loads(text)["results"].values()
                return 200 if all(verdict == {"result": "ok"} for verdict in verdicts) else 0
            return answer.status
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            return None

    def make(self):
        events = []
        for _ in range(self.random.choice([1, 1, 2, 5, 20, 100])):
            who = "c%d-u%d" % (self.number, self.random.randrange(20))
            self.sequence[who] += 1
            event = {"uuid": uuid7(), "event": "step", "distinct_id": who,
                     "properties": {"n": self.sequence[who], "$set": {"last": self.sequence[who]}}}
            self.number_of[event["uuid"]] = (who, self.sequence[who])
            events.append(event)
        return events

    def envelope(self, events):
        if not self.v1:
            return json.dumps({"api_key": self.token, "batch": events}).encode(), {}
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        body = {"created_at": now, "batch": [{**event, "timestamp": now, "options": {}} for event in events]}
        return json.dumps(body).encode(), {
            "Authorization": "Bearer " + self.token, "Content-Type": "application/json", "User-Agent": "ledger/1",
            "PostHog-Sdk-Info": "ledger/1", "PostHog-Attempt": "1", "PostHog-Request-Id": str(uuid.uuid4()),
            "PostHog-Request-Timestamp": now}

    def run(self):
        due = time.time()
        while not self.over.is_set():
            events = self.make()
            due = max(due + len(events) / self.rate, time.time() - 1)
            time.sleep(max(0.0, due - time.time()))
            body, headers = self.envelope(events)
            if self.random.random() < 0.3:
                body, headers = gzip.compress(body, 1), {**headers, "Content-Encoding": "gzip"}
            self.deliver(events, body, headers)
        if self.connection is not None:
            self.connection.close()

    def deliver(self, events, body, headers):
        while True:
            status = self.post(body, headers)
            self.statuses[status] += 1
            told = ACKED if status == 200 else UNKNOWN if status is None else REFUSED
            for event in events:
                if self.outcome.get(event["uuid"]) != UNKNOWN or told == ACKED:
                    self.outcome[event["uuid"]] = told
            if told == ACKED:
                self.last_ack = time.time()
                for event in events:
                    self.order[event["distinct_id"]].append(event["uuid"])
                return
            if self.over.is_set() and self.random.random() < 0.2 or self.random.random() < 0.02:
                return
            self.retries += 1
            time.sleep(0.02)


class Crowd:
    def __init__(self, serve, token, clients=8, rate=2000, seed=1):
        self.over = threading.Event()
        self.clients = [Client(serve, token, i, rate / clients, seed, self.over) for i in range(clients)]

    def start(self):
        for client in self.clients:
            client.start()

    def stop(self):
        self.over.set()
        for client in self.clients:
            client.join(60)
            assert not client.is_alive(), "a client does not end"

    def outcomes(self):
        out = {}
        for client in self.clients:
            out.update(client.outcome)
        return out

    def last_ack(self):
        return max(client.last_ack for client in self.clients)

    def summary(self):
        counts = collections.Counter(self.outcomes().values())
        return "%d acked, %d refused, %d unknown, %d retries" % (
            counts[ACKED], counts[REFUSED], counts[UNKNOWN], sum(c.retries for c in self.clients))

    def check(self, serve, status=None):
        """All invariants; gives the number of rows."""
        status = status or serve.settle()
        assert all(ACKED in client.outcome.values() for client in self.clients), "a client was never acked"
        rows = serve.sql("SELECT uuid, distinct_id, raw_offset, properties->>'$.n' AS n FROM events WHERE event = 'step'")
        outcome = self.outcomes()
        stored = collections.Counter(row["uuid"] for row in rows)
        doubled = [u for u, count in stored.items() if count > 1]
        lost = [u for u, told in outcome.items() if told == ACKED and u not in stored]
        strange = [u for u in stored if u not in outcome]
        assert not lost, "I1: %d acked events are lost, first %s" % (len(lost), lost[:3])
        assert not doubled, "I2: %d ids stand in two rows, first %s" % (len(doubled), doubled[:3])
        assert not strange, "rows that nobody sent: %s" % strange[:3]
        self.check_order(rows)
        self.check_persons(serve, rows)
        assert status["stored"] >= len(rows)
        return len(rows)

    def check_order(self, rows):
        offset = {row["uuid"]: int(row["raw_offset"]) for row in rows}
        for client in self.clients:
            for who, uuids in client.order.items():
                offsets = [offset[u] for u in uuids]
                assert offsets == sorted(offsets), "I4: the rows of %s are out of order" % who

    def check_persons(self, serve, rows):
        last = {}
        for row in sorted(rows, key=lambda r: int(r["raw_offset"])):
            last[row["distinct_id"]] = int(row["n"])
        persons = serve.sql("SELECT d.distinct_id, p.properties->>'$.last' AS last FROM person_distinct_ids d "
                            "JOIN persons p ON p.id = d.person_id WHERE d.distinct_id LIKE 'c%-u%'")
        found = {p["distinct_id"]: int(p["last"]) for p in persons}
        wrong = {who: (n, found.get(who)) for who, n in last.items() if found.get(who) != n}
        assert not wrong, "I5: persons differ from the fold of rows: %s" % dict(list(wrong.items())[:3])
