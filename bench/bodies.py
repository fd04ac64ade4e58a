#!/usr/bin/env python3
"""Makes request bodies for the load programs.

usage: bodies.py FOLDER [CLICKS]

The same events in each (about 1 KB, what a browser SDK sends for a page view):
  w1.bodies  one event a request             POST /e/
  w2.bodies  100 events a request, plain     POST /batch/
  w3.bodies  the same, gzip level 6          POST /batch/
  mix.bodies 100 events a request, plain, for bench/load.c to make unique: 10 of them change a property of
             their person, one identifies a person that was anonymous until then (a merge)
A .bodies file is a row of (u32 little-endian length, bytes). The same seed gives the same bytes.
"""
import gzip
import json
import os
import random
import struct
import sys

TOKEN = "phc_load000000000000000000000000000000000000"
WORDS = ("amber basin cedar delta ember fjord grove harbor island juniper kelp lagoon meadow "
         "north orchard prairie quarry ridge summit tundra").split()
NAMES = ["$pageview", "$autocapture", "$pageleave", "order paid", "cart opened", "video ended",
         "search used", "invite sent", "$feature_flag_called", "report shared"]
PERSONS = 5000
CLICKS = 40  # percent
LAYOUTS, LEAVES = 40, 80  # a site's pages share what is around their buttons


def hex_digits(rnd, count):
    return "%0*x" % (count, rnd.getrandbits(4 * count))


def uuid7(rnd):
    return "%s-%s-7%s-9%s-%s" % tuple(hex_digits(rnd, n) for n in (8, 4, 3, 3, 12))


def event(rnd):
    person = rnd.randrange(PERSONS)
    path = "/%s/%s/%d" % (rnd.choice(WORDS), rnd.choice(WORDS), rnd.randrange(10000))
    url = "https://store.example.org" + path
    return {
        "uuid": uuid7(rnd),
        "event": rnd.choice(NAMES),
        "distinct_id": "%08x-user-%06d" % (person * 2246822519 % 2**32, person),
        "timestamp": "2026-04-%02dT%02d:%02d:%02d.%03dZ" % (
            rnd.randrange(1, 29), rnd.randrange(24), rnd.randrange(60), rnd.randrange(60), rnd.randrange(1000)),
        "properties": {
            "$os": rnd.choice(["Windows", "Mac OS X", "Linux", "Android", "iOS"]),
            "$os_version": "%d.%d" % (rnd.randrange(10, 16), rnd.randrange(10)),
            "$browser": rnd.choice(["Chrome", "Safari", "Firefox"]),
            "$browser_version": rnd.randrange(100, 150),
            "$device_type": "Desktop",
            "$current_url": url + "?from=" + rnd.choice(WORDS),
            "$host": "store.example.org", "$pathname": path,
            "$screen_width": 2560, "$screen_height": 1440,
            "$viewport_width": rnd.randrange(1000, 2560), "$viewport_height": rnd.randrange(600, 1440),
            "$lib": "web", "$lib_version": "1.449.%d" % rnd.randrange(9),
            "$insert_id": hex_digits(rnd, 16),
            "$time": 1775000000 + rnd.randrange(10**6) + rnd.randrange(1000) / 1000.0,
            "$device_id": uuid7(rnd), "$session_id": uuid7(rnd), "$window_id": uuid7(rnd),
            "$referrer": "$direct", "$referring_domain": "$direct",
            "title": "Caf\u00e9 \u2013 %s %s" % (rnd.choice(WORDS), rnd.choice(WORDS)),
            "plan": rnd.choice(["free", "team", "scale"]),
            "price": rnd.randrange(100, 99999) / 100.0, "quantity": rnd.randrange(1, 9),
            "beta": rnd.random() < 0.5, "coupon": None,
            "tags": [rnd.choice(WORDS) for _ in range(3)],
            "$active_feature_flags": ["new-menu", "fast-" + rnd.choice(WORDS)],
        },
    }


def element(rnd, tag, *more):
    names = sorted(rnd.sample(WORDS, rnd.randrange(1, 4)))
    attributes = [("attr__class", " ".join(names)), *more, ("nth-child", rnd.randrange(1, 9)), ("nth-of-type", rnd.randrange(1, 4))]
    return tag + "".join("." + name for name in names) + ":" + "".join('%s="%s"' % a for a in sorted(attributes))


def chains(rnd):
    """What `$elements_chain` of clicks on one site holds: the clicked element first, then what it stands in."""
    layouts = [[element(rnd, rnd.choice(["div", "section", "main", "ul", "li", "form"])) for _ in range(rnd.randrange(2, 10))] +
               ['body:nth-child="2"nth-of-type="1"'] for _ in range(LAYOUTS)]
    leaves = []
    for _ in range(LEAVES):
        text, target = "%s %s" % (rnd.choice(WORDS), rnd.choice(WORDS)), "/%s/%s" % (rnd.choice(WORDS), rnd.choice(WORDS))
        leaves.append((text, element(rnd, "a", ("attr__data-plan", rnd.choice(WORDS)), ("attr__href", target), ("href", target),
                                     ("text", text))))
    return [(text, ";".join([leaf] + layout)) for layout in layouts for text, leaf in leaves]


def click(rnd, of, all_chains):
    """Makes the event what an SDK sends when somebody clicks."""
    text, chain = rnd.choice(all_chains)
    of["event"] = "$autocapture"
    of["properties"].update({"$event_type": "click", "$ce_version": 1, "$elements_chain": chain, "$el_text": text})


def mixed(rnd, clicking, all_chains, clicks):
    """A batch as it comes from living sites. What bench/load.c overwrites has its final length here."""
    events = [event(rnd) for _ in range(100)]
    for clicked in events[100 - clicks:]:
        click(clicking, clicked, all_chains)
    for changing in events[:10]:
        changing["properties"]["$set"] = {"last_choice": "choice-" + hex_digits(rnd, 8)}
    events[10]["event"] = "$identify"
    events[10]["properties"]["$anon_distinct_id"] = "00000000-user-000000"
    rnd.shuffle(events)
    return events


def text(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def write(folder, name, bodies):
    with open(os.path.join(folder, name + ".bodies"), "wb") as out:
        for body in bodies:
            out.write(struct.pack("<I", len(body)) + body)


def main():
    folder, clicks = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else CLICKS
    rnd, clicking = random.Random(7), random.Random(8)
    all_chains = chains(clicking)
    if not 0 <= clicks <= 85:  # the first 11 are others
        sys.exit("CLICKS is 0 to 85 of 100, not %d" % clicks)
    os.makedirs(folder, exist_ok=True)
    batches = [text({"api_key": TOKEN, "batch": [event(rnd) for _ in range(100)]}) for _ in range(40)]
    write(folder, "w1", [text(dict(event(rnd), api_key=TOKEN)) for _ in range(2000)])
    write(folder, "w2", batches)
    write(folder, "mix", [text({"api_key": TOKEN, "batch": mixed(rnd, clicking, all_chains, clicks)}) for _ in range(40)])
    write(folder, "w3", [gzip.compress(body, 6, mtime=0) for body in batches])


if __name__ == "__main__":
    main()
