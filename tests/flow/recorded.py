"""What real SDKs sent, as it went over the wire (tests/data/wire), and what is in it, decoded here by other
means than Penstock's."""
import base64
import gzip
import json
import os
import urllib.parse
import zlib

import rawjson

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "wire")
TOKEN = "phc_testtokenpenstock0000000000000000000000000"
CAPTURE_PATHS = {"/e/", "/i/v0/e/", "/batch/", "/capture/", "/track/", "/engage/"}
REPLAY_PATH = "/s/"
V1_PATH = "/i/v1/analytics/events"


class Request:
    def __init__(self, line):
        r = json.loads(line)
        self.sdk, self.scenario, self.mode = "%s-%s" % (r["sdk"], r["version"]), r["scenario"], r["server_mode"]
        self.method, self.path, self.query, self.headers = r["method"], r["path"], r["query"], r["headers"]
        self.body = base64.b64decode(r.get("body_base64") or "")

    @property
    def target(self):
        return self.path + ("?" + self.query if self.query else "")

    def run(self):
        return (self.sdk, self.scenario, self.mode)

    def is_capture(self):
        return self.method == "POST" and self.path in CAPTURE_PATHS

    def is_replay(self):
        return self.method == "POST" and self.path == REPLAY_PATH

    def is_v1(self):
        return self.method == "POST" and self.path == V1_PATH

    def text(self):
        body = self.body
        if body.startswith(b"data="):
            body = urllib.parse.parse_qs(body.decode(), keep_blank_values=True)["data"][0].replace(" ", "+").encode()
            body = base64.b64decode(body)
        elif self.headers.get("content-encoding") == "deflate":
            body = zlib.decompress(body)
        elif body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        # One old SDK writes an unpaired surrogate as three raw bytes; documented to read as U+FFFD.
        text = body.decode("utf-8", "surrogatepass")
        return "".join("\ufffd" if 0xD800 <= ord(c) < 0xE000 else c for c in text)

    def events(self):
        """The raw text of each event object in the body."""
        text = self.text().strip()
        if text.startswith("["):
            return rawjson.elements(text)
        top = rawjson.members(text)
        return rawjson.elements(top["batch"]) if "batch" in top else [text]


def requests():
    with gzip.open(os.path.join(DATA, "sdk-requests.jsonl.gz"), "rt") as lines:
        return [Request(line) for line in lines]


def runs():
    """What each driver said that it captured: {(sdk, scenario, mode): driver's line}."""
    out = {}
    for line in open(os.path.join(DATA, "sdk-runs.jsonl")):
        r = json.loads(line)
        out[("%s-%s" % (r["sdk"], r["version"]), r["scenario"], r["server_mode"])] = r["driver"]
    return out
