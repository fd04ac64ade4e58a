#!/usr/bin/env python3
"""Runs the flow tests: run.py [--deploy WHERE] [PART-OF-NAME ...]. Each test_* function is one test, in a process of its own, a
few at a time. Prints a line a test and `flow: N passed, N failed`. WHERE is as in deploy.py, `cluster` or `people=postgres`: then the
servers that this needs are started first, once, and tests that a store of a data folder is the subject of are left out and
counted: `# embedded: log people: why` in front of a test function, or in the first lines of its file for all of it."""
import concurrent.futures
import contextlib
import faulthandler
import glob
import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS_MAX = 600
running = set()  # tests, each a session of its own
END_SECONDS_MAX = 60  # of one that was told to end: it stops its servers and says what they said


def load(path):
    spec = importlib.util.spec_from_file_location(os.path.basename(path)[:-3], path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(path):
    """[(test, the stores that must be embedded for it)]"""
    text = open(path).read()
    head = re.search(r"^# embedded: ([\w ]+):", text.split("\ndef ", 1)[0].split("\nimport ", 1)[0], re.M)
    whole = head[1].split() if head else []
    return [(found[2], whole + (found[1] or "").split())
            for found in re.finditer(r"^(?:# embedded: ([\w ]+):.*\n(?:# .*\n)*)?def (test_\w+)\(", text, re.M)]


def run_one(path, name):
    """(whether it passed, seconds, what it said). One that does not end says where it stands, and all that it started ends with it."""
    began, late = time.time(), ""
    with tempfile.TemporaryFile() as said:  # no pipe: whoever is left over would keep it open
        test = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--one", path, name], stdin=subprocess.DEVNULL,
                                stdout=said, stderr=said, start_new_session=True)
        running.add(test)
        try:
            test.wait(SECONDS_MAX)
        except subprocess.TimeoutExpired:
            late = "no end after %d s\n" % SECONDS_MAX
            for number in (signal.SIGUSR1, signal.SIGINT):  # the stacks of all its threads, then its end
                test.send_signal(number)
                time.sleep(1)
            try:
                test.wait(END_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                late += "and %d s after it was told to end\n" % END_SECONDS_MAX
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(test.pid, signal.SIGKILL)
            test.wait()
            running.discard(test)
        said.seek(0)
        text = late + said.read().decode("utf-8", "replace")
    return test.returncode == 0 and not late, time.time() - began, text


def main():
    sys.path.insert(0, HERE)
    if len(sys.argv) == 4 and sys.argv[1] == "--one":
        faulthandler.register(signal.SIGUSR1)
        try:
            getattr(load(sys.argv[2]), sys.argv[3])()
        except (Exception, KeyboardInterrupt):
            traceback.print_exc()
            sys.exit(1)
        return
    wanted = sys.argv[1:]
    if wanted[:1] == ["--deploy"]:
        os.environ["PENSTOCK_DEPLOY"] = wanted[1]
        wanted = wanted[2:]
    import deploy
    tests = [(path, name, stores) for path in sorted(glob.glob(os.path.join(HERE, "[0-9]*.py"))) for name, stores in names(path)
             if not wanted or any(w in os.path.basename(path) + ":" + name for w in wanted)]
    left_out = [test for test in tests if test[2] and not deploy.embedded(*test[2])]
    tests = [(path, name) for path, name, stores in tests if (path, name, stores) not in left_out]
    if deploy.parts() and not all("PENSTOCK_TEST_" + part.upper() in os.environ for part in deploy.parts()):
        sys.path.insert(0, os.path.join(os.path.dirname(HERE), "parts"))
        import parts
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers are stopped then, too
        with parts.running(deploy.parts()) as up:
            os.environ.update(up.env)
            code = run_all(tests)
            if code:
                print(up.logs(), flush=True)
    else:
        code = run_all(tests)
    if left_out:
        print("%d tests are of stores that are embedded alone" % len(left_out))
    sys.exit(code)


def run_all(tests):
    passed = failed = 0
    import deploy
    jobs = os.environ.get("FLOW_JOBS") or ("2" if deploy.embedded() else "4")  # on a cluster they wait more than they work
    with concurrent.futures.ThreadPoolExecutor(int(jobs)) as pool:
        jobs = [(path, name, pool.submit(run_one, path, name)) for path, name in tests]
        try:
            for path, name, job in jobs:
                ok, seconds, text = job.result()
                passed, failed = passed + ok, failed + (not ok)
                print("%s %6.1f s  %s:%s" % ("ok    " if ok else "FAILED", seconds, os.path.basename(path), name), flush=True)
                if not ok:
                    print(text, flush=True)
        except (KeyboardInterrupt, SystemExit):  # a terminal's Ctrl-C does not reach the tests
            pool.shutdown(wait=False, cancel_futures=True)
            for test in list(running):
                test.send_signal(signal.SIGINT)
            raise
    print("flow: %d passed, %d failed" % (passed, failed))
    return 1 if failed or not tests else 0


if __name__ == "__main__":
    main()
