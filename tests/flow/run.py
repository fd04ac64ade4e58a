#!/usr/bin/env python3
"""Runs the flow tests: run.py [PART-OF-NAME ...]. Each test_* function is one test, in a process of its own, a
few at a time. Prints a line a test and `flow: N passed, N failed`."""
import concurrent.futures
import glob
import importlib.util
import os
import re
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS_MAX = 600


def load(path):
    spec = importlib.util.spec_from_file_location(os.path.basename(path)[:-3], path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(path):
    return re.findall(r"^def (test_\w+)\(", open(path).read(), re.M)


def run_one(path, name):
    began = time.time()
    try:
        done = subprocess.run([sys.executable, os.path.abspath(__file__), "--one", path, name], capture_output=True,
                              text=True, timeout=SECONDS_MAX)
        ok, text = done.returncode == 0, done.stdout + done.stderr
    except subprocess.TimeoutExpired as late:
        ok, text = False, "no end after %d s\n%s" % (SECONDS_MAX, late.stdout or "")
    return ok, time.time() - began, text


def main():
    sys.path.insert(0, HERE)
    if len(sys.argv) == 4 and sys.argv[1] == "--one":
        try:
            getattr(load(sys.argv[2]), sys.argv[3])()
        except Exception:
            traceback.print_exc()
            sys.exit(1)
        return
    wanted = sys.argv[1:]
    tests = [(path, name) for path in sorted(glob.glob(os.path.join(HERE, "[0-9]*.py"))) for name in names(path)
             if not wanted or any(w in os.path.basename(path) + ":" + name for w in wanted)]
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("FLOW_JOBS", "2"))) as pool:
        jobs = [(path, name, pool.submit(run_one, path, name)) for path, name in tests]
        for path, name, job in jobs:
            ok, seconds, text = job.result()
            passed, failed = passed + ok, failed + (not ok)
            print("%s %6.1f s  %s:%s" % ("ok    " if ok else "FAILED", seconds, os.path.basename(path), name), flush=True)
            if not ok:
                print(text, flush=True)
    print("flow: %d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed or not tests else 0)


if __name__ == "__main__":
    main()
