"""The power goes under load; each disk that it may leave recovers by itself (tests/soak/power.py)."""
# embedded: log people warehouse catalog: it cuts the power of the data folder's disk
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "soak"))
import power  # noqa: E402


def test_disks_after_a_power_cut_recover():
    done, rows = power.campaign(10, seed=1, seconds=5)
    assert done == 10 and rows > 0
