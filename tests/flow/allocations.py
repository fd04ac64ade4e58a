"""Steers tests/shim/allocations.c: which allocations of a role fail."""
import struct

import shims


class Allocations(shims.Control):
    NAME = "allocations"

    def __init__(self):
        super().__init__()
        self.turn = 0

    def arm(self, role, countdown=0, repeat=1, bytes_min=0):
        self.disarm()
        self.turn += 1
        self.at[4:20] = struct.pack("<4i", countdown, repeat, 0, bytes_min)
        self.at[32:48] = role.encode().ljust(16, b"\0")
        self.at[0:4] = struct.pack("<i", self.turn)

    def hits(self):
        return struct.unpack("<i", self.at[12:16])[0]
