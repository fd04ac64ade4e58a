"""What so many events need, and whether a cluster of that size bears bad hours: the plan, and its simulation."""
import json
import os
import subprocess
import sys

from harness import BINARY, command

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_a_plan_says_what_it_reckons_with():
    plan = json.loads(command("plan", "--events-per-month", "5e9", "--json").stdout)
    assert 1900 < plan["events_per_second"] < 1903
    assert [part["name"] for part in plan["parts"]] == ["capture", "brokers", "ingest", "PostgreSQL", "load", "ClickHouse"]
    for name, number in plan["numbers"].items():
        source = number["source"]
        assert source.startswith("assumed") or os.path.exists(os.path.join(ROOT, source.split(":")[0].split(",")[0])), (name, source)
    larger = json.loads(command("plan", "--events-per-month", "5e9", "--event-bytes", "2200", "--set", "peak_factor=6", "--json").stdout)
    assert larger["events_per_second_peak"] == 2 * plan["events_per_second_peak"]
    assert larger["parts"][5]["disk_bytes"] == 2 * plan["parts"][5]["disk_bytes"]
    assert larger["numbers"]["row_bytes"]["source"] == "follows from event_bytes"
    text = command("plan", "--events-per-month", "1e12", "--retention-days", "30").stdout
    assert "1,000,000,000,000 events a month: 380,257 a second on average" in text


def test_the_simulation_loses_nothing():
    done = subprocess.run([sys.executable, os.path.join(ROOT, "bench", "simulate.py"), "--check"], capture_output=True, text=True,
                          timeout=500, env=dict(os.environ, PENSTOCK=BINARY))
    assert done.returncode == 0, done.stderr
    assert "conservation, capacity and Little's law hold" in done.stdout
