"""Sizes that only show with real sockets. The load tool checks every reply and every event."""
import os
import resource
import subprocess
import unittest

from lib.dirs import longer
from lib.server import ServerTest, ZabraServer, not_on_java

CLIENTS = 15000
DESCRIPTORS = CLIENTS + 200


class FanOut(ServerTest):
    options = {"maxClientCnxns": 0, "maxSessionTimeout": 120000}

    @not_on_java("it is about our own limits")
    def test_one_event_for_many_connections(self):
        longer(180)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
            self.skipTest("needs %d descriptors, the limit is %d" % (DESCRIPTORS, hard))
        benchmark = os.path.join(os.path.dirname(ZabraServer.binary()), "zabra-benchmark")
        done = subprocess.run(
            [benchmark, "-s", "%s:%d" % self.server.addr, "-q", "-t", "watch", "-c", str(CLIENTS), "-n", "3",
             "--timeout", "120000"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=170, check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, DESCRIPTORS), hard)))
        self.assertEqual(done.returncode, 0, done.stdout.decode(errors="replace"))
        self.assertIn(b"watch:", done.stdout)
        self.assert_usable(self.connect())


if __name__ == "__main__":
    unittest.main()
