#!/usr/bin/env python3
# parts: kafka postgres clickhouse alone
"""Machines join and leave a cluster under steady load: nothing is lost or doubled, and each id keeps its order. How long rows take is
told, and held against a bound only that no machine should pass; measured: `./dev soak elasticity`."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "soak"))
import elasticity  # noqa: E402


def main():
    done = elasticity.campaign(5, int(os.environ.get("CLUSTER_SEED", "12")), every=12)
    print("\n".join(done["lines"]))
    print("%s, %d rows; p50/p99/longest %s with no change, %s all; a unit was nobody's: %s" % (
        done["summary"], done["rows"], done["calm"], done["all"], done["gaps"]))
    assert done["all"][0] < 60, done["all"]


if __name__ == "__main__":
    main()
