"""Steers tests/shim/faults.c: what the n-th file call of a role meets."""
import mmap
import os
import struct
import subprocess
import tempfile

from harness import ROOT

KILL_BEFORE, KILL_AFTER, FAIL, WAIT = 1, 2, 3, 4
ENOSPC, EIO, EDQUOT = 28, 5, 122
SHIM = os.path.join(ROOT, "build", "faults.so")


def shim():
    """Builds the shim when it is older than its source; gives its path."""
    source = os.path.join(ROOT, "tests", "shim", "faults.c")
    if not os.path.exists(SHIM) or os.path.getmtime(SHIM) < os.path.getmtime(source):
        os.makedirs(os.path.dirname(SHIM), exist_ok=True)
        made = "%s.%d" % (SHIM, os.getpid())
        subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", source, "-o", made, "-ldl"],
                       check=True)
        os.rename(made, SHIM)
    return SHIM


class Faults:
    def __init__(self):
        fd, self.path = tempfile.mkstemp(prefix="penstock-faults-")
        os.ftruncate(fd, 4096)
        self.at = mmap.mmap(fd, 4096)
        os.close(fd)

    def environment(self):
        return {"LD_PRELOAD": shim(), "FAULTS_CONTROL": self.path}

    def arm(self, mode, role="", call="", path="", countdown=0, repeat=1, error=0, wait_ms=0):
        self.at[0:4] = struct.pack("<i", 0)
        self.at[4:28] = struct.pack("<6i", mode, countdown, repeat, error, wait_ms, 0)
        self.at[32:48] = role.encode().ljust(16, b"\0")
        self.at[48:64] = call.encode().ljust(16, b"\0")
        self.at[64:128] = path.encode().ljust(64, b"\0")
        self.at[0:4] = struct.pack("<i", 1)

    def disarm(self):
        self.at[0:4] = struct.pack("<i", 0)

    def hits(self):
        return struct.unpack("<i", self.at[24:28])[0]

    def close(self):
        self.at.close()
        os.unlink(self.path)
