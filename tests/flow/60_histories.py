"""Random histories against the reference fold (tests/reference/histories.py): one writer, eight, and with kills between; ingest
with one thread and with several."""
import os
import sys

# The reference reads events one after the other. What units make of ids that belong together depends on who comes first; there
# people/pg_units_cluster_test.c compares.
os.environ["PENSTOCK_DEPLOY_PARTITIONS"] = "1"
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "reference"))
import histories  # noqa: E402


def test_one_writer():
    histories.run(1, 100, 60, threads=1)


def test_eight_writers():
    histories.run(1001, 100, 60, writers=8, threads=4)


def test_killed_while_merging():
    """Vector J07."""
    histories.run(2001, 60, 60, writers=4, kills=6, threads=4)
