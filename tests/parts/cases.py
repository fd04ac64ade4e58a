"""The tests of a file of tests/cluster: its functions test_*, one after the other, those with the first argument in their name."""
import sys


def run(names, before=None):
    """names: globals() of the file. before: called ahead of each. 1 when one failed."""
    failed = 0
    for name, test in list(names.items()):
        if not name.startswith("test_") or (len(sys.argv) > 1 and sys.argv[1] not in name):
            continue
        print("[ RUN      ] " + name, flush=True)
        try:
            if before:
                before()
            test()
            print("[       OK ] " + name, flush=True)
        except Exception as error:
            failed += 1
            print("[  FAILED  ] %s: %s: %s" % (name, type(error).__name__, error), flush=True)
    return 1 if failed else 0
