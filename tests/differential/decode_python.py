#!/usr/bin/env python3
"""decode_python.py DUMP [SEED] - our gzip, base64 and RFC 3339 beside Python's zlib, base64 and datetime."""
import base64
import binascii
import datetime
import random
import re
import struct
import subprocess
import sys
import zlib

DUMP = sys.argv[1]
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 20260203
CAP = 50_000
failures = []


def ours(decoder, cases):
    """The answer of our side to each case: a word, then what belongs to it."""
    stdin = b"".join(struct.pack("<I", len(case)) + case for case in cases)
    run = subprocess.run([DUMP, decoder, str(CAP)], input=stdin, stdout=subprocess.PIPE, check=True)
    lines = run.stdout.decode().split("\n")[:-1]
    assert len(lines) == len(cases), (decoder, len(lines), len(cases))
    return [line.split(" ") for line in lines]


def compare(decoder, cases, reference, least):
    alike = {}
    for case, answer in zip(cases, ours(decoder, cases)):
        want = reference(case)
        if answer != want:
            failures.append(f"{decoder} {case[:200]!r}: ours {answer[0]} {answer[1:][:1]}, theirs {want[0]} {want[1:][:1]}")
        alike[want[0]] = alike.get(want[0], 0) + 1
    print(f"{decoder}: {len(cases)} cases, seed {SEED}: {alike}")
    if alike.get("ok", 0) < least:
        failures.append(f"{decoder}: too few cases are right")


def plain(chance):
    length = chance.choice([0, 1, 10, 300, 5000, 49_999, 50_000, 50_001, 60_000])
    kind = chance.randrange(3)
    if kind == 0:
        return bytes(length)
    if kind == 1:
        return (b'{"token":"phc_alpha","event":"signup"},' * (length // 30 + 1))[:length]
    return chance.randbytes(length)


def member(chance, data):
    flags = chance.choice([0, 0, 0, 2, 4, 8, 16, 30])
    head = bytes([0x1F, 0x8B, 8, flags]) + chance.randbytes(4) + bytes([0, 3])
    if flags & 4:
        extra = chance.randbytes(chance.randrange(50))
        head += struct.pack("<H", len(extra)) + extra
    if flags & 8:
        head += b"body.json\0"
    if flags & 16:
        head += b"a comment\0"
    if flags & 2:
        head += struct.pack("<H", zlib.crc32(head) & 0xFFFF)
    packer = zlib.compressobj(chance.choice([0, 1, 6, 9]), zlib.DEFLATED, -15)
    return head + packer.compress(data) + packer.flush() + struct.pack("<II", zlib.crc32(data), len(data))


def damage(chance, data):
    if not data:
        return data
    at = chance.randrange(len(data))
    kind = chance.randrange(4)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes([chance.randrange(256)]) + data[at + 1:]
    if kind == 2:
        return data + chance.choice([b"\0", b"{}", b"\x1f\x8b\x08", bytes(30)])
    at = chance.randrange(min(len(data), 12))
    return data[:at] + bytes([chance.randrange(256)]) + data[at + 1:]


def by_zlib(body):
    out = b""
    if not body:
        return ["bad"]
    while body:
        unpacker = zlib.decompressobj(31)
        try:
            out += unpacker.decompress(body, CAP + 1 - len(out))
            if not unpacker.eof:
                out += unpacker.decompress(unpacker.unconsumed_tail, CAP + 1 - len(out) or 1)
        except zlib.error:
            return ["bad"]
        if len(out) > CAP:
            return ["full"]
        if not unpacker.eof:
            return ["bad"]
        body = unpacker.unused_data
    return ["ok", out.hex()]


def gzip_cases(chance):
    for _ in range(400):
        body = b"".join(member(chance, plain(chance)) for _ in range(chance.choice([1, 1, 1, 2, 3])))
        yield body
        yield damage(chance, body)
        small = member(chance, chance.randbytes(chance.randrange(40)))
        yield damage(chance, small)


def compare_gzip(cases):
    """As compare; where a damaged stream also passes the ceiling, which of the two is said first is free."""
    alike = {}
    for case, answer in zip(cases, ours("gzip", cases)):
        want = by_zlib(case)
        if answer != want and not {answer[0], want[0]} <= {"bad", "full"}:
            failures.append(f"gzip {case[:60].hex()}: ours {answer[0]}, theirs {want[0]}")
        alike[want[0]] = alike.get(want[0], 0) + 1
    print(f"gzip: {len(cases)} cases, seed {SEED}: {alike}")
    if alike.get("ok", 0) < 300 or alike.get("full", 0) < 50:
        failures.append("gzip: too few cases are right, or full")


def by_base64(text):
    try:
        out = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return ["bad"]
    return ["ok", out.hex()] if base64.b64encode(out) == text else ["bad"]


def by_base64_lenient(text):
    bare = text.rstrip(b"=")
    pads = len(text) - len(bare)
    if pads > -len(bare) % 4:
        return ["bad"]
    return by_base64(bare.translate(bytes.maketrans(b"-_ ", b"+/+")) + b"=" * (-len(bare) % 4))


def base64_cases(chance):
    for _ in range(3000):
        text = base64.b64encode(chance.randbytes(chance.randrange(40)))
        yield text
        for _ in range(chance.randrange(1, 3)):
            at = chance.randrange(len(text) + 1)
            text = text[:at] + chance.choice([b"", b"=", b"-", b"_", b" ", b"+", b"A", b"B", b"\n", b"\xff"]) + text[at + chance.randrange(2):]
        yield text
        yield text.rstrip(b"=")


STAMP = re.compile(rb"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.A)


def by_datetime(text):
    match = STAMP.fullmatch(text)
    if match is None:
        return ["bad"]
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    zone_hour, zone_minute = (int(match[9] or 0), int(match[10] or 0))
    if zone_hour > 23 or zone_minute > 59 or second > 60:
        return ["bad"]
    shift = 400 if year == 0 else 0  # datetime has no year 0; the calendar repeats every 400 years
    try:
        moment = datetime.datetime(year + shift, month, day, hour, minute, min(second, 59))
    except ValueError:
        return ["bad"]
    since = moment - datetime.datetime(1970, 1, 1)
    us = (since.days - (146097 if shift else 0)) * 86_400_000_000 + since.seconds * 1_000_000
    us += (second == 60) * 1_000_000 + int(((match[7] or b"") + b"000000")[:6])
    zone = (-1 if match[8] == b"-" else 1) * (zone_hour * 60 + zone_minute)
    return ["ok", str(us - zone * 60_000_000), str(zone)]


def stamp_cases(chance):
    for _ in range(6000):
        text = "%04d-%02d-%02d%s%02d:%02d:%02d%s%s" % (
            chance.choice([0, 1, 1900, 1969, 1970, 2000, 2024, 2026, 9999, chance.randrange(10000)]),
            chance.randrange(1, 14), chance.randrange(1, 32), chance.choice("TTt "), chance.randrange(25), chance.randrange(61),
            chance.randrange(62), chance.choice(["", "", ".5", ".123456789", ".000001", "."]),
            chance.choice(["Z", "z", "+00:00", "-05:30", "+23:59", "+24:00", "", "+01", "+0100", "%+03d:%02d" % (chance.randrange(-23, 24), chance.randrange(61))]))
        yield text.encode()
        at = chance.randrange(len(text))
        yield (text[:at] + chance.choice(["", "0", " ", ":", "-", "x"]) + text[at + chance.randrange(2):]).encode()


chance = random.Random(SEED)
compare_gzip(list(gzip_cases(chance)))
texts = list(base64_cases(chance))
compare("base64", texts, by_base64, 2000)
compare("base64_lenient", texts, by_base64_lenient, 3000)
compare("rfc3339", list(stamp_cases(chance)), by_datetime, 2000)
if failures:
    print("\n".join(failures[:10]))
    print(f"{len(failures)} differences")
    sys.exit(1)
