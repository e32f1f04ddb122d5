"""A connection that stops in the middle of something costs the server nothing while it waits for the rest."""
import os
import socket
import struct
import time
import unittest

from lib.server import ServerTest, not_on_java

WATCHED_SECONDS = 0.5


class Unfinished(ServerTest):
    options = {"4lw.commands.whitelist": "*"}

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.server.process.pid, encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def check(self, sock, data):
        """Sends data, which leaves something to be desired, and sees what the server does meanwhile."""
        sock.sendall(data)
        self.assert_usable(self.connect())
        shares = []
        # Time that the machine was taken away may be counted as the server's once, not always.
        while not shares or (shares[-1] >= 0.5 and len(shares) < 4):
            before, start = self.cpu_seconds(), time.monotonic()
            # The time is what is measured here, there is nothing to wait for.
            time.sleep(WATCHED_SECONDS)
            used = self.cpu_seconds() - before
            shares.append(used / (time.monotonic() - start))
        self.assertLess(shares[-1], 0.5, shares)

    @not_on_java("it is about our own loop")
    def test_before_the_session(self):
        for data in (b"\0\0", b"stmk", struct.pack(">i", 45) + b"\0" * 20):
            with self.subTest(data=data), socket.create_connection(self.server.addr) as sock:
                self.check(sock, data)

    @not_on_java("it is about our own loop")
    def test_frames(self):
        header = struct.pack(">ii", 1, 1)
        for data in (struct.pack(">i", 5000) + b"x" * 10,         # an ordinary one
                     struct.pack(">i", 2000000) + b"xxx",         # oversize, its header incomplete
                     struct.pack(">i", 2000000) + header + b"x",  # oversize, little more than its header
                     struct.pack(">i", 2000000) + header + b"x" * 1000):
            with self.subTest(data=data[:16]):
                self.check(self.connect().sock, data)


if __name__ == "__main__":
    unittest.main()
