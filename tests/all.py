#!/usr/bin/env python3
"""Everything that must be right, one after the other: all.py [PART...]. Parts: checks, release, asan, tsan, clang, flow;
named alone: cluster. With --deploy WHERE (tests/flow/deploy.py: cluster, or some of log=kafka, people=postgres, ...) the parts are
cluster and flow, and the flow tests' servers keep what they keep there.

A part is some test cases, or a build that must give no warning. Output of each part goes to build/test/PART.log; what
failed is shown with the end of what it said, at once and, so that nobody searches a long log for it, again at the end. The last line is
always `N passed, N failed`, the sum over all cases and programs."""
import concurrent.futures
import glob
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "parts"))
import parts  # noqa: E402

LOGS = os.path.join(ROOT, "build", "test")
NODE = os.path.join(ROOT, "build", "deps", "node", "bin")  # of `./dev test`: Debian's is too old for today's SDKs
AGAIN_LINES_MAX = 300  # of what failed, at the end
LOG_LOCK = threading.Lock()  # of two tests that end at once
CHECKS = ("check_layers", "check_docs", "check_style")
# Where threads meet; the other tests are done after one thread.
THREADS = re.compile(r"pthread_create|thrd_create|log_commit_start|capture_|loader_|seen_test_kit")
# Runs the role in forked processes with threads, which ThreadSanitizer cannot follow; load_thread_test is for it. And threads of
# librdkafka, which it does not know as such (they are begun by thrd_create): it ends on them itself.
THREADS_NOT = {"load_test", "log_units_test"}


def run(part, argv, **options):
    """Runs argv, its output into the part's log; (code, output)."""
    path = os.path.join(LOGS, part + ".log")
    with open(path, "ab") as log:
        at = log.tell()
        log.write(("$ %s\n" % " ".join(argv)).encode())
        log.flush()
        code = subprocess.run(argv, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                              **options).returncode
    with open(path, "rb") as log:
        log.seek(at)
        return code, log.read().decode("utf-8", "replace")


def tail(text, lines=60):
    return "\n".join(line[:2000] for line in text.splitlines()[-lines:])


def fails(part, name, text):
    """Says it now, and remembers it for the end."""
    failures.append("FAILED %s: %s\n%s" % (part, name, text))
    print(failures[-1], flush=True)


def again():
    """What failed, once more: of few all that was shown, of many the names and as much as fits."""
    if failures:
        print("\n--- what failed %s" % ("-" * 60))
        for text in failures:
            name, _, said = text.partition("\n")
            print(name + "\n" + tail(said, max(AGAIN_LINES_MAX // len(failures), 4)))
        print("-" * 76, flush=True)


def build(part, preset):
    cmake = ["cmake", "--preset", preset]
    code, text = (0, "") if os.path.exists(os.path.join(ROOT, "build", preset, "build.ninja")) else run(part, cmake)
    if code == 0:
        code, text = run(part, ["ninja", "-C", "build/" + preset])
    if code != 0:
        errors = [line for line in text.splitlines() if "error:" in line or "FAILED:" in line]
        fails(part, "the build " + preset, "\n".join(errors[:30]) or tail(text))
    return code == 0


def count(output, ended_well):
    """(passed, failed) cases of a program's lines: cmocka's where it names them, the program itself otherwise."""
    cases = sum(1 for line in output if line.startswith("[       OK ]"))
    broken = sum(1 for line in output if re.match(r"\[  (FAILED|ERROR)", line) and "test(s)" not in line)
    return (max(cases, 1), 0) if ended_well else (cases, max(broken // 2, 1))


def ctest(part, preset, only=None):
    """(passed, failed): cmocka's cases where a program names them, programs otherwise."""
    if not build(part, preset):
        return 0, 1
    argv = ["ctest", "--test-dir", "build/" + preset, "-V", "-j", "2", "--timeout", "900"]
    # ThreadSanitizer lays its own maps around a program's; where addresses are random, 1 TiB for LMDB finds no place now and then.
    if preset == "tsan" and subprocess.run(["setarch", "-R", "true"], stderr=subprocess.DEVNULL).returncode == 0:
        argv = ["setarch", "-R"] + argv
    code, text = run(part, argv + (["-R", only] if only else []))
    # `Passed`, `***Failed`, `***Timeout`, `Subprocess aborted***Exception:`, ...
    programs = re.findall(r"Test +#(\d+): (\S+) \.*(.*?) +([\d.]+ sec)", text)
    passed = failed = 0
    for number, name, verdict, took in programs:
        output = re.findall(r"^%s: (.*)$" % number, text, re.M)
        good, bad = count(output, verdict.strip() == "Passed")
        passed, failed = passed + good, failed + bad
        if bad:
            fails(part, "%s, %s, after %s" % (name, verdict.strip(" *"), took), tail("\n".join(output)))
    if code != 0 and failed == 0 or not programs:
        fails(part, "ctest", tail(text))
        failed += 1
    return passed, failed


def part_checks():
    if not build("checks", "release"):  # check_docs compares docs/config.md with what the program says
        return 0, 1
    passed = failed = 0
    for check in CHECKS:
        code, text = run("checks", [sys.executable, "ops/" + check])
        passed, failed = passed + (code == 0), failed + (code != 0)
        if code != 0:
            fails("checks", check, text[:20000])
    return passed, failed


def part_release():
    return ctest("release", "release")


def part_asan():
    return ctest("asan", "asan")


def part_tsan():
    names = [os.path.basename(path)[:-2] for path in glob.glob(os.path.join(ROOT, "src", "*", "*_test.c"))
             if THREADS.search(open(path).read())]
    names = sorted(name for name in set(names) - THREADS_NOT if not name.endswith("_cluster_test"))
    return ctest("tsan", "tsan", "/(%s)$" % "|".join(names)) if names else (0, 0)


def part_clang():
    return (1, 0) if build("clang", "clang") else (0, 1)


def part_flow():
    if not build("flow", "release"):
        return 0, 1
    code, text = run("flow", [sys.executable, "tests/flow/run.py"] + (["--deploy", deployment] if deployment else []))
    found = re.search(r"flow: (\d+) passed, (\d+) failed", text)
    before = len(failures)
    for name, said in re.findall(r"^FAILED +[\d.]+ s  (\S+)\n(.*?)(?=^ok     |^FAILED |^flow: |\Z)", text, re.M | re.S):
        fails("flow", name, said if len(said) < 12000 else said[:2000] + "\n[...]\n" + said[-10000:])
    if code != 0 and len(failures) == before:
        fails("flow", "tests/flow/run.py", tail(text))
    return (int(found[1]), int(found[2])) if found else (0, 1)


def cluster_tests():
    """What needs real servers: [(name, argv, its parts)]; a program in each preset, a file of tests/cluster as it is."""
    found = []
    for path in sorted(glob.glob(os.path.join(ROOT, "src", "*", "*_cluster_test.c"))):
        folder, stem = os.path.basename(os.path.dirname(path)), os.path.basename(path)[:-2]
        for preset in ("release", "asan"):
            found.append(("%s/%s (%s)" % (folder, stem, preset), ["build/%s/%s" % (preset, stem)], parts.wanted(path)))
    for path in sorted(glob.glob(os.path.join(ROOT, "tests", "cluster", "[0-9]*.py"))):
        found.append((os.path.basename(path), [sys.executable, path], parts.wanted(path)))
    return found


def cluster_run(name, argv, env):
    """One test, its output in one piece into the part's log: (seconds, passed, failed, output)."""
    began = time.time()
    with tempfile.TemporaryFile() as told:  # no pipe: a process that a failed test left behind would keep it open for ever
        process = subprocess.Popen(["timeout", "-k", "10", "900"] + argv, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=told,
                                   stderr=subprocess.STDOUT)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        os.killpg(process.pid, signal.SIGKILL)  # such a process: `timeout` leads their group, and is not reaped yet
        good = process.wait() == 0
        told.seek(0)
        text = told.read().decode("utf-8", "replace")
    seconds = time.time() - began
    with LOG_LOCK, open(os.path.join(LOGS, "cluster.log"), "a") as log:
        log.write("$ %s\n%s%6.1f s  %s\n" % (" ".join(argv), text, seconds, name))
    return (seconds, *count(text.splitlines(), good), text)


def cluster_group(words, members, jobs):
    """Tests on one set of servers, `jobs` at a time; on new ones after one that failed, when they may have done something to these.
    (passed, failed)."""
    passed = failed = 0
    left = list(members)
    while left:
        tried = 0
        try:
            with parts.running(words) as up:
                env = dict(os.environ, PENSTOCK_BINARY_DIR=os.path.join(ROOT, "build", "release"), **up.env)
                with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
                    begun = ((name, pool.submit(cluster_run, name, argv, env)) for name, argv, _ in left)  # each when it is asked for
                    for name, job in list(begun) if jobs > 1 else begun:
                        _, good, bad, text = job.result()
                        passed, failed, tried = passed + good, failed + bad, tried + 1
                        if bad:
                            fails("cluster", name, "%s\n%s" % (tail(text), up.logs()))
                        if bad and jobs == 1:
                            break
        except Exception as wrong:
            fails("cluster", " ".join(words), str(wrong))
            failed += len(left) - tried
            break
        left = left[tried:]
    return passed, failed


def part_cluster():
    """Tests whose sources say `parts: ...` share one set of servers, two at a time; those with the word `alone` among them (they
    kill servers, or change their settings) one after the other, with those that need the same ones. Two such sets at a time."""
    if not build("cluster", "release") or not build("cluster", "asan"):
        return 0, 1
    only = os.environ.get("CLUSTER_ONLY", "")
    tests = [test for test in cluster_tests() if only in test[0]]
    shared = [test for test in tests if test[2] is not None and "alone" not in test[2]]
    # `kafka:3` serves who asks for `kafka`, too: of the same name the largest is started.
    most = {word.partition(":")[0]: word for word in sorted({word for test in shared for word in test[2]})}
    groups = [(sorted(most.values()), shared, 2)] if shared else []
    others = {}
    for test in tests:
        if test not in shared:
            others.setdefault(tuple(word for word in test[2] or [] if word != "alone"), []).append(test)
    groups += [(list(words), members, 1) for words, members in others.items()]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:  # most of them wait most of the time
        results = list(pool.map(lambda group: cluster_group(*group), groups))
    return sum(good for good, _ in results), sum(bad for _, bad in results)


failures = []  # what fails() was told
deployment = ""  # of main: where the flow tests' servers keep what they keep
PARTS = {"checks": part_checks, "release": part_release, "asan": part_asan, "tsan": part_tsan, "clang": part_clang,
         "flow": part_flow, "cluster": part_cluster}
ALONE = ("cluster",)  # only when named: they need Kafka, PostgreSQL and ClickHouse, which most changes do not touch


def main():
    global deployment
    wanted = sys.argv[1:]
    if "--deploy" in wanted[:-1]:
        at = wanted.index("--deploy")
        deployment = wanted[at + 1]
        wanted = wanted[:at] + wanted[at + 2:] or ["cluster", "flow"]
    wanted = wanted or [name for name in PARTS if name not in ALONE]
    for name in wanted:
        if name not in PARTS:
            sys.exit("tests/all.py: there is no part \"%s\"; the parts are %s" % (name, ", ".join(PARTS)))
    os.makedirs(LOGS, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers of the part "cluster" are stopped then, too
    os.environ["PATH"] = NODE + os.pathsep + os.environ["PATH"]
    # That one brings its own list of authorities; what this machine trusts (a company's proxy) counts too.
    if os.path.exists("/etc/ssl/certs/ca-certificates.crt"):
        os.environ.setdefault("NODE_EXTRA_CA_CERTS", "/etc/ssl/certs/ca-certificates.crt")
    os.environ["TSAN_OPTIONS"] = "suppressions=" + os.path.join(ROOT, "tests", "tsan.supp")
    total_passed = total_failed = 0
    for name in wanted:
        open(os.path.join(LOGS, name + ".log"), "w").close()
        began = time.time()
        passed, failed = PARTS[name]()
        total_passed, total_failed = total_passed + passed, total_failed + failed
        print("%-8s %5d passed, %d failed, %.0f s" % (name, passed, failed, time.time() - began), flush=True)
    again()
    print("%d passed, %d failed" % (total_passed, total_failed))
    sys.exit(1 if total_failed else 0)


if __name__ == "__main__":
    main()
