"""Steers tests/shim/allocations.c: which allocations of a role fail."""
import mmap
import os
import struct
import subprocess
import tempfile

from harness import ROOT

SHIM = os.path.join(ROOT, "build", "allocations.so")


def shim():
    """Builds the shim when it is older than its source; gives its path."""
    source = os.path.join(ROOT, "tests", "shim", "allocations.c")
    if not os.path.exists(SHIM) or os.path.getmtime(SHIM) < os.path.getmtime(source):
        os.makedirs(os.path.dirname(SHIM), exist_ok=True)
        made = "%s.%d" % (SHIM, os.getpid())
        subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", source, "-o", made, "-ldl"],
                       check=True)
        os.rename(made, SHIM)
    return SHIM


class Allocations:
    def __init__(self):
        fd, self.path = tempfile.mkstemp(prefix="penstock-allocations-")
        os.ftruncate(fd, 4096)
        self.at = mmap.mmap(fd, 4096)
        self.turn = 0
        os.close(fd)

    def environment(self):
        return {"LD_PRELOAD": shim(), "ALLOCATIONS_CONTROL": self.path}

    def arm(self, role, countdown=0, repeat=1, bytes_min=0):
        self.disarm()
        self.turn += 1
        self.at[4:20] = struct.pack("<4i", countdown, repeat, 0, bytes_min)
        self.at[32:48] = role.encode().ljust(16, b"\0")
        self.at[0:4] = struct.pack("<i", self.turn)

    def disarm(self):
        self.at[0:4] = struct.pack("<i", 0)

    def hits(self):
        return struct.unpack("<i", self.at[12:16])[0]

    def close(self):
        self.at.close()
        os.unlink(self.path)
