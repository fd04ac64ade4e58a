"""Drives the real `posthog` package: python_sdk.py HOST TOKEN SCENARIO. Prints {"events": N, "by_name": {...}}:
what a server must have stored when this ends. Works with versions 3 to 7 of the package."""
import collections
import datetime
import json
import sys
import uuid
import warnings

warnings.filterwarnings("ignore")
import posthog

host, token, scenario = sys.argv[1:4]
major = int(posthog.VERSION.split(".")[0])
said = collections.Counter()
problems = []

VALUES = {
    "text": "plain", "accents": "Zażółć gęślą jaźń", "script": "日本語 العربية", "emoji": "👩‍🚀", "quotes": 'say "hi" \\ back',
    "lines": "a\nb\tc", "empty": "", "nothing": None, "yes": True, "no": False, "int": 42, "over_53_bits": 9007199254740993,
    "thirty_digits": 314159265358979323846264338327, "below_zero": -12, "pi": 3.141592653589793, "tiny": 1e-9,
    "tree": {"a": [1, {"b": [None, "c"]}]}, "list": [1, 2.5, "x", None, True], "day": datetime.date(2024, 2, 29),
    "moment": datetime.datetime(2024, 2, 29, 1, 2, 3, 456789, tzinfo=datetime.timezone.utc), "id": uuid.UUID(int=7),
}


def client(**options):
    return posthog.Client(token, host=host, on_error=lambda error, batch: problems.append(str(error)[:100]), **options)


def capture(ph, who, name, properties=None, **more):
    said[name] += 1
    if major >= 6:
        return ph.capture(name, distinct_id=who, properties=properties, **more)
    return ph.capture(who, name, properties, **more)


def set_person(ph, who, properties):
    if major >= 6:
        said["$set"] += 1
        return ph.set(distinct_id=who, properties=properties)
    said["$identify"] += 1
    return ph.identify(who, properties)


def set_person_once(ph, who, properties):
    said["$set_once"] += 1
    return ph.set_once(distinct_id=who, properties=properties) if major >= 6 else ph.set_once(who, properties)


def basic(ph):
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    capture(ph, "ada", "all values", VALUES)
    capture(ph, "łucja-🚀", "bare")
    capture(ph, "ada", "sets", {"$set": {"plan": "team"}, "$set_once": {"origin": "ad"}, "$unset": ["gone"]})
    capture(ph, "ada", "long ago", {}, timestamp=datetime.datetime(2021, 3, 4, 5, 6, 7, 89000, tzinfo=datetime.timezone.utc))
    capture(ph, "ada", "elsewhere", {}, timestamp=datetime.datetime(2023, 7, 8, 9, 10, 11, tzinfo=zone))
    capture(ph, "ada", "own id", {}, uuid="0190f3a1-7c0e-7cc1-9d0e-5b6a2f3c4d5f")
    capture(ph, "ada", "in groups", {}, groups={"company": "acme", "team": "core"})
    capture(ph, "bob", "personless", {"$process_person_profile": False})
    set_person(ph, "ada", {"email": "ada@example.com", "age": 36, "nested": {"k": [1, 2]}})
    set_person_once(ph, "ada", {"first": "2024-01-01"})
    said["$create_alias"] += 1
    ph.alias("anonymous-ada", "ada")
    said["$groupidentify"] += 1
    ph.group_identify("company", "acme", {"name": "Acme", "seats": 12})


def main():
    options = {}
    kind = scenario
    if kind.startswith("v1"):
        options["capture_mode"] = "v1"
        kind = kind[2:] or "basic"
        if kind in ("gzip", "deflate"):
            options["capture_compression"] = kind
    elif kind == "gzip":
        options["gzip"] = True
    if kind == "historical":
        options["historical_migration"] = True
    ph = client(**options)
    if kind in ("basic", "gzip", "deflate"):
        basic(ph)
    elif kind == "batch":
        for i in range(250):
            capture(ph, "user-%d" % (i % 17), "batched", {"i": i})
    elif kind == "historical":
        for i in range(3):
            capture(ph, "ada", "imported", {"i": i}, timestamp=datetime.datetime(2020, 1, 1 + i, tzinfo=datetime.timezone.utc))
    elif kind == "exception":
        try:
            [][1]
        except IndexError as error:
            said["$exception"] += 1
            ph.capture_exception(error, distinct_id="ada")
    elif kind == "ai":  # by a path of their own, and up to 8 MiB each
        for size in (10, 100_000, 3_000_000):
            said["$ai_generation"] += 1
            ph.capture_ai("$ai_generation", distinct_id="ada", properties={"$ai_model": "m", "$ai_input": "x" * size})
        capture(ph, "ada", "beside", {})
    elif kind == "flags":
        for key in ("first", "second"):
            ph.get_feature_flag(key, "ada")
            said["$feature_flag_called"] += 1
        capture(ph, "ada", "with flags", {}, send_feature_flags=True)
    else:
        raise SystemExit("no scenario " + scenario)
    ph.flush()
    ph.shutdown()
    print(json.dumps({"events": sum(said.values()), "by_name": said, "problems": problems}))


main()
