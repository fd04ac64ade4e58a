#!/usr/bin/env python3
"""filesystems.py [N [SEED]]: what keeps files, on ext4 with a journal, on XFS and on btrfs: the test programs of the log, the stores and
the loader, and N kills of a log's writer, on each.

Each is made in a file of 3 GiB under build/, and mounted where the tests make their folders (/tmp) in a mount namespace of its own:
nobody else sees it. Needs root, a loop device, and mkfs.ext4, mkfs.xfs, mkfs.btrfs."""
import glob
import os
import random
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build", "release")
FOLDER = os.path.join(ROOT, "build", "filesystems")
KINDS = {"ext4": ["mkfs.ext4", "-q"], "xfs": ["mkfs.xfs", "-q"], "btrfs": ["mkfs.btrfs", "-q"]}
KEEPERS = ("log", "people", "catalog", "load", "warehouse")
IMAGE_BYTES, SECONDS_MAX = 3 << 30, 600


def programs():
    names = [os.path.basename(path)[:-2] for keeper in KEEPERS for path in sorted(glob.glob(os.path.join(ROOT, "src", keeper, "*_test.c")))]
    return [name for name in names if not name.endswith("_cluster_test")]


def mount(*words):
    subprocess.run(["mount", *words], check=True)


def inside(image, kills, seed):
    """In a namespace of our own: the checkout stays where it is also when that is below /tmp."""
    here = image + ".mnt"
    os.makedirs(here, exist_ok=True)
    mount("-o", "loop", image, here)
    if ROOT.startswith("/tmp/"):
        os.makedirs(here + ROOT[len("/tmp"):])
        mount("--bind", ROOT, here + ROOT[len("/tmp"):])
    mount("--rbind", here, "/tmp")
    os.chdir(ROOT)
    failed = []
    for words in [[name] for name in programs()] + [["log_kill_test", str(kills), str(seed)]]:
        done = subprocess.run([os.path.join(BUILD, words[0])] + words[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", timeout=SECONDS_MAX)
        if done.returncode != 0:
            failed.append(" ".join(words))
            print("%s: %s\n%s" % (image, failed[-1], "\n".join(done.stdout.splitlines()[-20:])))
    print("failed: %s" % ", ".join(failed) if failed else "all passed")
    sys.exit(1 if failed else 0)


def main():
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1, 1 << 30)
    missing = [words[0] for words in KINDS.values() if shutil.which(words[0]) is None]
    if os.geteuid() != 0 or missing:
        sys.exit("filesystems: needs root%s" % "".join(", " + name for name in missing))
    os.makedirs(FOLDER, exist_ok=True)
    bad = []
    for kind, make in KINDS.items():
        image = os.path.join(FOLDER, kind)
        with open(image, "wb") as out:
            out.truncate(IMAGE_BYTES)
        subprocess.run(make + [image], check=True, stdout=subprocess.DEVNULL)
        done = subprocess.run(["unshare", "--mount", sys.executable, os.path.abspath(__file__), "--inside", image, str(kills), str(seed)])
        if done.returncode != 0:
            bad.append(kind)
        os.unlink(image)
    shutil.rmtree(FOLDER)
    print("result: %d programs and %d kills on each of %s; failed on %s" % (len(programs()), kills, ", ".join(KINDS), ", ".join(bad) or "none"))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    main()
