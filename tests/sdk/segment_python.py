"""Drives Segment's and RudderStack's Python SDKs: segment_python.py HOST WRITE_KEY SCENARIO SDK. Prints {"events": N,
"by_name": {...}}: what a server must have stored when this ends, by the names of the rows."""
import collections
import datetime
import json
import sys
import warnings

warnings.filterwarnings("ignore")
host, key, scenario, sdk = sys.argv[1:5]
if sdk == "segment-python":
    from segment.analytics.client import Client
else:
    from rudderstack.analytics.client import Client

said = collections.Counter()
problems = []
NAMES = {"identify": "$identify", "page": "$pageview", "screen": "$screen", "group": "$groupidentify", "alias": "$create_alias"}
VALUES = {
    "text": "plain", "accents": "Zażółć gęślą jaźń", "emoji": "👩‍🚀", "quotes": 'say "hi" \\ back', "nothing": None, "yes": True,
    "over_53_bits": 9007199254740993, "thirty_digits": 314159265358979323846264338327, "pi": 3.141592653589793, "tiny": 1e-9,
    "tree": {"a": [1, {"b": [None, "c"]}]}, "moment": datetime.datetime(2024, 2, 29, 1, 2, 3, 456789, tzinfo=datetime.timezone.utc),
}
client = Client(key, host=host, gzip=scenario == "gzip", upload_size=5, upload_interval=0.2, max_retries=6,
                on_error=lambda error, batch: problems.append(str(error)[:100]))


def call(kind, *args, **options):
    said[NAMES.get(kind) or options.get("event")] += 1
    getattr(client, kind)(*args, **options)


if scenario == "batch":
    for i in range(250):
        call("track", "user-%d" % (i % 17), event="batched", properties={"i": i})
else:
    long_ago = datetime.datetime(2021, 3, 4, 5, 6, 7, 89000, tzinfo=datetime.timezone.utc)
    call("track", anonymous_id="anonymous-ada", event="seen before", properties=VALUES)
    call("identify", "ada", {"email": "ada@example.com", "age": 36, "nested": {"k": [1, 2]}}, anonymous_id="anonymous-ada")
    call("track", "ada", event="bought", properties={"price": 12.5}, context={"ip": "8.8.8.8", "locale": "pl-PL"})
    call("track", "łucja-🚀", event="bare")
    call("page", "ada", name="Home", properties={"url": "https://shop.example/home?x=1", "title": "Home"})
    call("screen", "ada", name="Main")
    call("group", "ada", "acme", {"name": "Acme", "seats": 12})
    call("track", "ada", event="in group", context={"groupId": "acme"})
    call("alias", "older-ada", "ada")
    call("track", "ada", event="long ago", timestamp=long_ago)
client.flush()
client.shutdown() if hasattr(client, "shutdown") else client.join()
print(json.dumps({"events": sum(said.values()), "by_name": said, "problems": problems}))
