"""Apache's C client, through the program cclient/zkops.c."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from lib import store
from lib.server import ServerTest
from lib.wire import EPHEMERAL

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(HERE, "cclient", "zkops.c")
CASES = re.findall(r'\{"(\w+)", case_\w+\}', store.read(SOURCE).decode())
TIME = 40                # seconds a case may take


@unittest.skipUnless(shutil.which("cc") and os.path.exists("/usr/include/zookeeper/zookeeper.h"),
                     "no compiler, or libzookeeper-mt-dev is not installed")
class CClient(ServerTest):
    options = {"extendedTypesEnabled": "true"}

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="zabra-test-")
        cls.addClassCleanup(shutil.rmtree, cls.directory, True)
        cls.program = os.path.join(cls.directory, "zkops")
        subprocess.run(["cc", "-O1", "-Wall", "-DTHREADED", "-o", cls.program, SOURCE, "-lzookeeper_mt", "-lpthread"],
                       check=True)
        super().setUpClass()

    def start_case(self, name):
        process = subprocess.Popen(
            [self.program, "127.0.0.1:%d" % self.server.port, name, self.root], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def finish(self, process):
        out, _ = process.communicate(timeout=TIME)
        self.assertEqual((process.returncode, out), (0, "ok\n"))

    def listen(self, address):
        self.server.options["clientPortAddress"] = address
        self.server.addr = (address, self.server.port)

    def check_restart(self, crash):
        """Between the two lives of the server somebody else changes a node that is watched."""
        process = self.start_case("restart")
        self.assertEqual(process.stdout.readline(), "restart\n")
        self.server.kill() if crash else self.server.stop()
        # Meanwhile the server is somewhere else, where the client does not find it.
        self.listen("127.0.0.2")
        self.server.start()
        conn = self.connect()
        conn.set_data(self.root + "/missed", b"2")
        conn.end_session()
        self.server.stop()
        self.listen("127.0.0.1")
        self.server.start()
        process.stdin.write("go on\n")
        process.stdin.flush()
        self.finish(process)

    def test_sessions(self):
        """It takes over a session, with its ephemeral."""
        conn = self.connect()
        conn.create(self.root + "/e", flags=EPHEMERAL)
        process = self.start_case("sessions")
        process.stdin.write("%x %s\n" % (conn.sid, conn.passwd.hex()))
        process.stdin.flush()
        self.finish(process)

    def test_stop_and_start(self):
        self.check_restart(crash=False)

    def test_crash_and_start(self):
        self.check_restart(crash=True)


def _case(name):
    def test(self):
        self.finish(self.start_case(name))
    return test


for _name in CASES:
    if _name not in ("restart", "sessions"):
        setattr(CClient, "test_" + _name, _case(_name))
