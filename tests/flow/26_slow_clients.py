"""Slow clients, the short form of `./dev soak slow`: five hundred of each kind, with deadlines of two seconds."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "soak"))
import slow


def test_slow_clients_are_closed_and_harm_nobody():
    config = "capture:\n  header_timeout: 2s\n  body_stall: 2s\n  reply_timeout: 2s\n"
    lines = slow.run(500, config, (("head", 2), ("body", 2), ("read", 2)), lambda deadline: 3, 200, turns=1, seconds=1)
    print("; ".join(lines))
