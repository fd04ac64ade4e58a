"""What was sent is what is stored, byte for byte: numbers, text, nesting, keys. Seen in the stored row."""
import json

import rawjson
from harness import Serve, uuid7


def stored_properties(serve, token, properties_text):
    """Posts one event whose properties are this text; gives the stored text."""
    uuid = uuid7()
    body = '{"api_key":"%s","uuid":"%s","event":"x","distinct_id":"u","properties":%s}' % (token, uuid, properties_text)
    serve.post("/i/v0/e/", body.encode())
    return uuid


ROWS = [
    # what, client's text of the value, stored text (None: the same)
    ("64-bit id", "9223372036854775807", None),
    ("over 2^53", "9007199254740993", None),
    ("over 2^63", "18446744073709551616", None),
    ("30 digits", "123456789012345678901234567890", None),
    ("30 decimals", "0.123456789012345678901234567890", None),
    ("400 digits", "9" * 400, None),
    ("1e400", "1e400", None),
    ("1e-400", "1e-400", None),
    ("minus zero", "-0", None),
    ("exponent form", "1.50E+03", None),
    ("emoji", '"\U0001f469\u200d\U0001f680"', None),
    ("emoji as escapes", '"\\ud83d\\ude80"', None),
    ("escapes", '"a\\/b\\u0041\\n\\t\\"\\\\"', None),
    ("line separator", '"\u2028"', None),
    ("lone high surrogate", '"\\ud83dx"', '"\\ufffdx"'),
    ("lone low surrogate", '"x\\ude80"', '"x\\ufffd"'),
    ("high then high", '"\\ud83d\\ud83d\\ude80"', '"\\ufffd\\ud83d\\ude80"'),
    ("NUL", '"a\\u0000b"', '"a\\ufffdb"'),
    ("not NUL: an escaped backslash", '"a\\\\u0000b"', None),
    ("white space inside", '{ "a" : [ 1 , 2 ] }', None),
    ("60 deep", "[" * 60 + "]" * 60, None),
    ("empty key", '{"":1}', None),
    ("__proto__", '{"__proto__":{"x":1},"constructor":2,"toString":3}', None),
    ("key order", '{"b":1,"a":2,"10":3,"9":4}', None),
    ("duplicate keys", '{"a":1,"b":2,"a":3}', '{"a":3,"b":2}'),
    ("duplicate keys, deep", '[{"a":{"x":1,"x":2}}]', '[{"a":{"x":2}}]'),
    ("html and formulas", '"<script>=cmd|x</script>"', None),
    ("1 MiB less a bit", '"' + "x" * 900000 + '"', None),
]


def test_values_are_stored_as_sent():
    with Serve() as serve:
        token = serve.token()
        sent = {stored_properties(serve, token, '{"v":%s}' % text): (what, stored or text) for what, text, stored in ROWS}
        serve.settle()
        rows = {r["uuid"]: r["properties"] for r in serve.sql("SELECT uuid, properties FROM events")}
        for uuid, (what, want) in sent.items():
            got = rawjson.members(rows[uuid])["v"]
            assert got == want, "%s: sent %.80s, stored %.80s" % (what, want, got)


def test_duplicate_keys_of_properties_keep_the_last():
    with Serve() as serve:
        token = serve.token()
        uuid = stored_properties(serve, token, '{"a":1,"b":2,"a":3}')
        serve.settle()
        row = serve.sql("SELECT properties FROM events WHERE uuid = '%s'" % uuid)[0]
        stored = rawjson.members(row["properties"])
        assert stored["a"] == "3" and row["properties"].count('"a"') == 1
        assert serve.sql("SELECT properties->>'$.a' AS a FROM events")[0]["a"] == "3"


def test_what_cannot_be_stored_is_refused_with_its_place():
    refused = [
        ('{"v":NaN}', "null"), ('{"v":01}', ""), ('{"v":"\t"}', ""), ('{"v":1,}', ""), ("{'v':1}", ""),
        ('{"v":' + "[" * 100000 + "]" * 100000 + "}", "64"),
    ]
    with Serve() as serve:
        token = serve.token()
        for text, says in refused:
            body = '{"api_key":"%s","event":"x","distinct_id":"u","properties":%s}' % (token, text)
            answer = serve.post("/e/", body.encode(), expect=400)
            assert answer.text.startswith("failed to parse request: "), answer.text
            assert says in answer.text, "%s: %s" % (text[:20], answer.text)
        bad_utf8 = ('{"api_key":"%s","event":"x","distinct_id":"u","properties":{"v":"' % token).encode() + b'\xc0\xaf"}}'
        answer = serve.post("/e/", bad_utf8, expect=400)
        assert "UTF8" in answer.text, answer.text
        assert serve.settle()["accepted"] == 0


def test_one_bad_event_harms_only_itself():
    good = [{"event": "good", "distinct_id": "u", "uuid": uuid7(), "properties": {"n": i}} for i in range(5)]
    bad = [{"event": "", "distinct_id": "u"}, {"event": "no id"}, {"distinct_id": "u"},
           {"event": "x", "distinct_id": "u", "properties": 5}, {"event": "x", "distinct_id": "u", "timestamp": 7},
           {"event": "x", "distinct_id": "u", "uuid": "not one"}]
    with Serve() as serve:
        token = serve.token()
        serve.post("/batch/", {"api_key": token, "batch": good[:2] + bad + good[2:]})
        status = serve.settle()
        assert status["accepted"] == 11 and status["stored"] == 5 and status["dead_lettered"] == 6, status
        letters = serve.sql('SELECT "index", reason, detail, data FROM dead_letters ORDER BY "index"')
        assert [int(letter["index"]) for letter in letters] == [2, 3, 4, 5, 6, 7]
        for letter, event in zip(letters, bad):
            assert json.loads(letter["data"]) == event, "the original bytes are kept"
            assert letter["reason"]
        assert serve.post("/batch/", {"api_key": token, "batch": bad[:1]}, expect=400).text == \
            "event submitted with an empty event name"
