"""A week in half a minute, with what is done once a day or after one (tests/soak/days.py)."""
# embedded: log people warehouse catalog: the clock that is set forward is that of Penstock's own processes
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "soak"))
import days  # noqa: E402


def test_a_week():
    town = days.run(8, seed=1)
    assert town.erasures > 0 and town.again > 20
