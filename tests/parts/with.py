#!/usr/bin/env python3
"""Runs a command with real servers up: with.py NAME... -- COMMAND...   (with.py --fetch NAME...: only what they need.)

What the servers are found by is in the command's environment (PENSTOCK_TEST_KAFKA and so on). When the command ends
they are stopped, by process id; when it failed, the ends of their logs are shown. Its exit code is the command's."""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import parts  # noqa: E402


def main():
    words = sys.argv[1:]
    if words[:1] == ["--fetch"]:
        for word in words[1:] or parts.known():
            module = parts.load(word.partition(":")[0])
            if hasattr(module, "fetch"):
                module.fetch()
        return 0
    if "--" not in words[:-1]:
        sys.exit("usage: with.py NAME... -- COMMAND...\nparts: " + " ".join(parts.known()))
    cut = words.index("--")
    # A signal to stop ends the command first, then the parts.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with parts.running(words[:cut]) as up:
            child = subprocess.Popen(words[cut + 1:], env=dict(os.environ, **up.env))
            try:
                code = child.wait()
            except BaseException:
                child.terminate()
                try:
                    child.wait(30)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
                raise
            if code != 0:
                print(up.logs(), file=sys.stderr, flush=True)
            return code if code >= 0 else 128 - code
    except LookupError as wrong:
        sys.exit("with.py: %s" % wrong)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
