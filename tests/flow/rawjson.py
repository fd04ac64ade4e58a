"""JSON members with the exact text of their values: an oracle that shares nothing with the C scanner."""
import json

_decoder = json.JSONDecoder()
_SPACE = " \t\r\n"


def _skip(text, at):
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def members(text):
    """{key: raw text of its value} of a JSON object; the last of equal keys wins."""
    out = {}
    at = _skip(text, 0)
    assert text[at] == "{", text[at:at + 40]
    at = _skip(text, at + 1)
    while text[at] != "}":
        key, at = _decoder.raw_decode(text, at)
        at = _skip(text, at)
        assert text[at] == ":"
        at = _skip(text, at + 1)
        _, end = _decoder.raw_decode(text, at)
        out[key] = text[at:end]
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return out


def elements(text):
    """[raw text] of a JSON array."""
    out = []
    at = _skip(text, 0)
    assert text[at] == "["
    at = _skip(text, at + 1)
    while text[at] != "]":
        _, end = _decoder.raw_decode(text, at)
        out.append(text[at:end])
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return out


def repaired(raw):
    """A raw string value after the two documented repairs: unpaired surrogates and U+0000 read U+FFFD."""
    out = []
    i = 0
    while i < len(raw):
        if raw[i] != "\\":
            out.append(raw[i])
            i += 1
            continue
        if raw[i + 1] != "u":
            out.append(raw[i:i + 2])
            i += 2
            continue
        unit = int(raw[i + 2:i + 6], 16)
        low = raw[i + 6:i + 12]
        if 0xD800 <= unit < 0xDC00 and low[:2] == "\\u" and 0xDC00 <= int(low[2:] or "0", 16) < 0xE000:
            out.append(raw[i:i + 12])
            i += 12
        else:
            out.append("\\ufffd" if unit == 0 or 0xD800 <= unit < 0xE000 else raw[i:i + 6])
            i += 6
    return "".join(out)
