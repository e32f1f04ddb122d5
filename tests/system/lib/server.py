"""Servers under test and the base class of all test cases.

Environment:
  ZABRA_TEST_TARGET   zabra (default) or java
  ZABRA_SERVER        the zabra-server binary (default: found in a few usual places)
  ZABRA_TEST_KEEP     if set, the server directories are not removed
"""
import atexit
import ctypes
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from lib import wire
from lib.cases import Case

TARGET = os.environ.get("ZABRA_TEST_TARGET", "zabra")
ON_JAVA = TARGET == "java"
START_TIME = 60.0        # seconds a server may take until it serves
LONG = 600000            # ms, of sessions that are not to expire
STOP_TIME = 30.0         # seconds it may take to stop after SIGTERM

_HERE = os.path.dirname(os.path.abspath(__file__))
_REPO = os.path.normpath(os.path.join(_HERE, "../../.."))
_SANITIZER = re.compile(r"runtime error:|(Address|Leak|Thread|Memory|UndefinedBehavior)Sanitizer")

# Options that Java takes only as plain system properties, never from its file.
_RAW_PROPERTIES = re.compile(r"jute\.maxbuffer$|znode\.container\.|readonlymode\.enabled$")

_JAVA_JARS = """zookeeper zookeeper-jute slf4j-api slf4j-simple netty-buffer netty-common
    netty-handler netty-transport netty-transport-native-epoll netty-resolver netty-codec
    netty-transport-native-unix-common snappy-java metrics-core commons-cli commons-io
    jetty9-server jetty9-servlet jetty9-util jetty9-http jetty9-io jetty9-security
    jackson-core jackson-annotations jackson-databind servlet-api javax.servlet-api""".split()


def _free_port():
    """A port nobody uses, and a token that keeps parallel test processes off it while held.
    Taken from below the ephemeral range so that no outgoing connection can grab it."""
    port, tokens = free_ports([0])
    return port, tokens[0]


def free_ports(offsets):
    """The same for all ports that lie so far behind the one that is returned."""
    while True:
        base, tokens = random.SystemRandom().randrange(12000, 30000), []
        try:
            for port in [base + n for n in offsets]:
                tokens.append(socket.socket(socket.AF_UNIX))
                tokens[-1].bind("\0zabra-test-port-%d" % port)
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
            return base, tokens
        except OSError:
            for token in tokens:
                token.close()


_LIBC = ctypes.CDLL(None)                           # found here: between fork and exec no library must be looked for


def _die_with_parent():
    _LIBC.prctl(1, signal.SIGKILL)                  # PR_SET_PDEATHSIG


class Server:
    """One standalone server in a directory of its own."""

    java_log_level = "warn"
    java_heap = "256m"

    defaults = {
        "tickTime": 2000, "maxClientCnxns": 0, "forceSync": "no", "admin.enableServer": "false",
        "4lw.commands.whitelist": "*",
    }

    def __init__(self, options=None):
        self.options = dict(self.defaults, **(options or {}))
        self.dir = tempfile.mkdtemp(prefix="zabra-test-")
        self.log_path = os.path.join(self.dir, "server.log")
        self.process = None
        self.port, self._port_token = _free_port()
        self.addr = (self.options.get("clientPortAddress", "127.0.0.1"), self.port)
        atexit.register(self.remove)

    # -- life ---------------------------------------------------------------

    def start(self):
        self.begin()
        self._wait_until_serving()
        return self

    def begin(self):
        """Starts the process and does not wait."""
        options = dict(self.options, dataDir=os.path.join(self.dir, "data"),
                       clientPort=self.port)
        options.setdefault("clientPortAddress", "127.0.0.1")
        os.makedirs(options["dataDir"], exist_ok=True)
        command = self.command({k: v for k, v in options.items() if v is not None})
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir,
                preexec_fn=_die_with_parent)

    def _wait_until_serving(self):
        deadline = time.monotonic() + START_TIME
        while True:
            if self.process.poll() is not None:
                raise AssertionError("server exited with %d at start\n%s"
                                     % (self.process.returncode, self.log_tail()))
            try:
                if "Mode: " in self.word("srvr", timeout=0.5):
                    return
            except (OSError, wire.Timeout, wire.Closed):
                pass
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError("server does not serve\n" + self.log_tail())
            time.sleep(0.02)                        # pause of the polling loop

    def stop(self):
        """SIGTERM; fails unless the server ends in time, with the right code, without a
        sanitizer report."""
        process, self.process = self.process, None
        if process is None:
            return
        died = process.poll() is not None
        if not died:
            process.terminate()
        try:
            code = process.wait(STOP_TIME)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError("no exit within %g s of SIGTERM\n%s"
                                 % (STOP_TIME, self.log_tail())) from None
        if died:
            raise AssertionError("server died with code %d\n%s" % (code, self.log_tail()))
        self.check_exit(code)
        report = _SANITIZER.search(self.log())
        if report:
            raise AssertionError("sanitizer report\n" + self.log()[report.start():][:8000])

    def check_exit(self, code):
        if code != 0:
            raise AssertionError("exit code %d after SIGTERM\n%s" % (code, self.log_tail()))

    def kill(self):
        """SIGKILL, as a crash."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self, crash=False):
        self.kill() if crash else self.stop()
        self.start()

    def remove(self):
        self.kill()
        self._port_token.close()
        if not os.environ.get("ZABRA_TEST_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)
        atexit.unregister(self.remove)

    # -- looking at it ---------------------------------------------------------

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def log_tail(self, lines=40):
        text = "\n".join(self.log().splitlines()[-lines:])
        return "--- end of the server log (%s)\n%s\n---" % (self.log_path, text)

    def word(self, word, extra=b"", timeout=wire.DEADLINE):
        """Answer to a four-letter word."""
        raw = wire.Raw(self.addr)
        try:
            raw.send_bytes(word.encode() + extra)
            return raw.rest(timeout).decode()
        finally:
            raw.close()

    def write_config(self, options):
        path = os.path.join(self.dir, "zoo.cfg")
        with open(path, "w") as f:
            f.writelines("%s=%s\n" % item for item in options.items())
        return path

    def command(self, options):
        raise NotImplementedError


class ZabraServer(Server):
    def command(self, options):
        return [self.binary(), self.write_config(options)]

    @staticmethod
    def binary():
        named = os.environ.get("ZABRA_SERVER")
        places = [named] if named else [os.path.join(_REPO, d, "zabra-server")
                                        for d in ("build", "../build", ".", "bin")]
        for path in places:
            if os.access(path, os.X_OK):
                return os.path.abspath(path)
        raise AssertionError("no zabra-server: set ZABRA_SERVER (looked at %s)" % ", ".join(places))


class JavaServer(Server):
    """Apache ZooKeeper as packaged by Debian."""

    def command(self, options):
        raw = {k: v for k, v in options.items() if _RAW_PROPERTIES.match(k)}
        config = self.write_config({k: v for k, v in options.items() if k not in raw})
        jars = [j for j in ("/usr/share/java/%s.jar" % n for n in _JAVA_JARS) if os.path.exists(j)]
        return (["java", "-Xmx" + self.java_heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
                 "-XX:-UsePerfData", "-Dzookeeper.jmx.log4j.disable=true", "-Dfile.encoding=UTF-8",
                 "-Dorg.slf4j.simpleLogger.showDateTime=true",
                 "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
                 "-Dorg.slf4j.simpleLogger.defaultLogLevel=" + self.java_log_level]
                + ["-D%s=%s" % item for item in raw.items()]
                + ["-cp", ":".join(jars), "org.apache.zookeeper.server.quorum.QuorumPeerMain", config])

    def check_exit(self, code):
        if code not in (0, 143, -signal.SIGTERM):
            super().check_exit(code)


def new_server(options=None):
    return (JavaServer if ON_JAVA else ZabraServer)(options)


# --- decorators for what the two targets do differently -----------------------

def not_on_java(why):
    """The expectation is that of ZooKeeper 3.9 or of zabra; the Java 3.8 server differs."""
    return unittest.skipIf(ON_JAVA, "Java 3.8 differs: " + why)


def either(zabra, java):
    """The expected value for the target at hand."""
    return java if ON_JAVA else zabra


# --- test cases -----------------------------------------------------------------

class ServerTest(Case):
    """A class of tests sharing one fresh server, started with the class's options.
    Every test gets a node of its own, self.root."""

    options = {}
    server = None
    _count = 0

    @classmethod
    def setUpClass(cls):
        cls.server = new_server(dict({"maxSessionTimeout": LONG}, **cls.options))
        try:
            cls.server.start()
        except BaseException:
            cls.server.remove()
            raise

    @classmethod
    def tearDownClass(cls):
        server, cls.server = cls.server, None
        try:
            server.stop()
        finally:
            server.remove()

    def server_logs(self):
        return [self.server.log_tail()] if self.server else []

    # -- connections --------------------------------------------------------------

    def connect(self, **kw):
        """A connection with a session; closed when the test ends.  The session outlives the class, because the end of one
        that was left behind would take a zxid in the middle of another test."""
        kw.setdefault("timeout", LONG)
        conn = wire.Conn(self.server.addr, **kw)
        self.addCleanup(conn.close)
        return conn

    def raw(self, source=None):
        """A connection on which nothing has been sent."""
        raw = wire.Raw(self.server.addr, source)
        self.addCleanup(raw.close)
        return raw

    def renew(self, conn, **kw):
        """A second connection for the session of conn."""
        return self.connect(sid=conn.sid, passwd=conn.passwd, **kw)

    @property
    def root(self):
        """Path of an empty node that belongs to this test alone."""
        if not hasattr(self, "_root"):
            ServerTest._count += 1
            self._root = "/t%d" % ServerTest._count
            conn = wire.Conn(self.server.addr)
            conn.create(self._root)
            conn.end_session()
        return self._root

    # -- assertions ------------------------------------------------------------------

    def fails(self, code, call, *args, **kw):
        """call(...) must raise ZkError with this code; returns the Reply."""
        with self.assertRaises(wire.ZkError) as caught:
            call(*args, **kw)
        self.assertEqual(caught.exception.code, code)
        self.assertEqual(caught.exception.reply.body, b"", "an error reply with a body")
        return caught.exception.reply

    def answer(self, conn, request):
        """(err, body) of the reply to a request."""
        reply = conn.request(request)
        return reply.err, reply.body

    def assert_usable(self, conn):
        self.assertEqual(conn.sync("/still here"), "/still here")

    def assert_expired(self, raw, read_only_byte=True):
        """The connection gets the answer for an invalid session, and is closed."""
        want = bytes(16) + wire.buf(bytes(16)) + (b"\0" if read_only_byte else b"")
        self.assertEqual(raw.frame(), want)
        raw.expect_close()
