"""Steers tests/shim/faults.c: what the n-th file call of a role meets."""
import struct

import shims

KILL_BEFORE, KILL_AFTER, FAIL, WAIT = 1, 2, 3, 4
ENOSPC, EIO, EDQUOT = 28, 5, 122


class Faults(shims.Control):
    NAME = "faults"

    def arm(self, mode, role="", call="", path="", countdown=0, repeat=1, error=0, wait_ms=0):
        self.disarm()
        self.at[4:28] = struct.pack("<6i", mode, countdown, repeat, error, wait_ms, 0)
        self.at[32:48] = role.encode().ljust(16, b"\0")
        self.at[48:64] = call.encode().ljust(16, b"\0")
        self.at[64:128] = path.encode().ljust(64, b"\0")
        self.at[0:4] = struct.pack("<i", 1)

    def hits(self):
        return struct.unpack("<i", self.at[24:28])[0]
