"""Which partition of a topic an event is in."""


def murmur2(data):
    """As Java's clients spread keys."""
    m, length = 0x5bd1e995, len(data)
    h = (0x9747b28c ^ length) & 0xffffffff
    at = 0
    while length - at >= 4:
        k = int.from_bytes(data[at:at + 4], "little") * m & 0xffffffff
        k ^= k >> 24
        h = (h * m & 0xffffffff) ^ (k * m & 0xffffffff)
        at += 4
    for i, byte in enumerate(data[at:]):
        h ^= byte << (8 * i)
    if length - at:
        h = h * m & 0xffffffff
    h ^= h >> 13
    h = h * m & 0xffffffff
    return h ^ (h >> 15)


def partition_of(token, who, partitions):
    return (murmur2(("%s:%s" % (token, who)).encode()) & 0x7fffffff) % partitions
