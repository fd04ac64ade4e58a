"""Allocations that fail: nothing crashes, nothing acknowledged is lost. Larger: `./dev soak memory`."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "soak"))
import memory


def test_each_allocation_of_a_request_fails_once():
    print(memory.capture_campaign(5, 1))


def test_capture_begins_or_says_why_not():
    print(memory.starts_campaign(24, (1,)))


def test_roles_go_on_after_allocations_that_failed():
    print(memory.roles_campaign(24, 5, 20, starting=("capture", "ingest")))  # load is careful after a kill, which takes its time
