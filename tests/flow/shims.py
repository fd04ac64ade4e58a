"""Builds tests/shim/*.c, and the page of memory by which a test steers one of them while servers run."""
import mmap
import os
import struct
import subprocess
import tempfile

from harness import ROOT


def built(name):
    """The path of shim NAME; made when it is older than its source."""
    source, shim = os.path.join(ROOT, "tests", "shim", name + ".c"), os.path.join(ROOT, "build", name + ".so")
    if not os.path.exists(shim) or os.path.getmtime(shim) < os.path.getmtime(source):
        os.makedirs(os.path.dirname(shim), exist_ok=True)
        made = "%s.%d" % (shim, os.getpid())
        subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", source, "-o", made, "-ldl"], check=True)
        os.rename(made, shim)
    return shim


class Control:
    """4 KiB that a shim maps too; its first four bytes say whether it is armed."""

    NAME = None  # of the shim; it finds the page by NAME_CONTROL

    def __init__(self):
        fd, self.path = tempfile.mkstemp(prefix="penstock-%s-" % self.NAME)
        os.ftruncate(fd, 4096)
        self.at = mmap.mmap(fd, 4096)
        os.close(fd)

    def environment(self):
        return {"LD_PRELOAD": built(self.NAME), self.NAME.upper() + "_CONTROL": self.path}

    def disarm(self):
        self.at[0:4] = struct.pack("<i", 0)

    def close(self):
        self.at.close()
        os.unlink(self.path)
