"""Test cases about data directories: servers of both kinds on directories that the test provides."""
import hashlib
import os
import shutil
import signal
import subprocess
import unittest

from lib import store, wire
from lib.cases import Case
from lib.server import ON_JAVA, JavaServer, ZabraServer

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = os.path.normpath(os.path.join(HERE, "../../data/java-3.8.0"))
EXIT_TIME = 40.0         # seconds within which a server that cannot go on must have ended

# Small files, all node kinds, no reaper, and a way to see everything.
OPTIONS = {
    "extendedTypesEnabled": "true", "preAllocSize": 64, "znode.container.checkIntervalMs": 10**9,
    "minSessionTimeout": 1000, "maxSessionTimeout": 600000,
    "DigestAuthenticationProvider.superDigest": store.SUPER,
}


class Directory:
    """What both kinds of server have in common here."""

    @property
    def data(self):
        return os.path.join(self.dir, "data")

    @property
    def version2(self):
        return os.path.join(self.data, "version-2")

    def log(self):
        return super().log() if os.path.exists(self.log_path) else ""

    def log_tail(self, lines=40):
        return "\n".join(line[:500] for line in super().log_tail(lines).splitlines())

    def mntr(self):
        return dict(line.split("\t", 1) for line in self.word("mntr").splitlines())

    def zxid(self):
        return int(self.word("srvr").split("Zxid: ")[1].split()[0], 16)


class Zabra(Directory, ZabraServer):
    """prefix: what stands before the command, such as env NAME=value."""
    prefix = ()

    def command(self, options):
        return list(self.prefix) + super().command(options)

    def spawn(self):
        """A process that nobody waits for to serve."""
        options = dict(self.options, dataDir=self.data, clientPort=self.port)
        options.setdefault("clientPortAddress", "127.0.0.1")
        return subprocess.Popen(self.command({k: v for k, v in options.items() if v is not None}),
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, cwd=self.dir)

    def wait(self, timeout=EXIT_TIME):
        """The exit code, of a server that ends by itself."""
        process, self.process = self.process, None
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError("still running after %g s\n%s" % (timeout, self.log_tail())) from None

    def start_refused(self):
        """Starts a server that must end by itself; returns (exit code, what it said)."""
        before = len(self.log())
        try:
            self.start()
        except AssertionError:
            assert self.process is not None and self.process.poll() is not None, self.log_tail()
            return self.process.returncode, self.log()[before:]
        raise AssertionError("the server started\n" + self.log_tail())


class Java(Directory, JavaServer):
    pass


@unittest.skipIf(ON_JAVA, "about zabra and its directories")
class DirTest(Case):
    options = {}

    def _new(self, kind, options, data):
        server = kind(dict(OPTIONS, **dict(self.options, **(options or {}))))
        self.addCleanup(server.remove)
        self.addCleanup(lambda: os.path.exists(server.log_path) and self._tails.append(server.log_tail()))
        if data is not None:
            shutil.copytree(data, server.data)
            subprocess.check_call(["chmod", "-R", "u+w", server.data])
        return server

    def zabra(self, options=None, data=None):
        """A server, not started yet; data: directory that it gets a copy of."""
        return self._new(Zabra, options, data)

    def java(self, options=None, data=None):
        return self._new(Java, options, data)

    def connect(self, server, **kw):
        conn = wire.Conn(server.addr, **kw)
        self.addCleanup(conn.close)
        return conn

    def assert_same_tree(self, a, b, what=""):
        lines = store.differences(a, b)
        self.assertFalse(lines, what + "\n" + "\n".join(lines))


def contents(directory):
    """{name: digest} of the files of a directory."""
    return {name: hashlib.sha256(store.read(os.path.join(directory, name))).hexdigest()
            for name in os.listdir(directory)}


def longer(seconds):
    """Gives the running test another time limit than the runner's."""
    signal.alarm(int(seconds))
