"""Apache's Java shell, zkCli, does all it can against the server.  One JVM serves all tests."""
import os
import queue
import re
import shutil
import subprocess
import threading
import time
import unittest

from lib import wire
from lib.dirs import longer
from lib.server import _JAVA_JARS, START_TIME, ServerTest

SCRIPT = "/usr/share/zookeeper/bin/zkCli.sh"
NO_JAVA = shutil.which("java") is None or not os.path.exists("/usr/share/java/zookeeper.jar")
FENCE = "printwatches is on"
STAT = "cZxid ctime mZxid mtime pZxid cversion dataVersion aclVersion ephemeralOwner dataLength numChildren".split()


class Shell:
    """A zkCli process.  Commands and their answers alternate; what watches print is kept apart."""

    def __init__(self, port):
        jars = [j for j in ("/usr/share/java/%s.jar" % n for n in _JAVA_JARS) if os.path.exists(j)]
        self.process = subprocess.Popen(
            ["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
             "-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "-Dfile.encoding=UTF-8", "-cp", ":".join(jars),
             "org.apache.zookeeper.ZooKeeperMain", "-server", "127.0.0.1:%d" % port],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8")
        self.lines, self.events = queue.Queue(), []
        threading.Thread(target=self._read, daemon=True).start()
        self.wait_event("SyncConnected", "None", "null", timeout=START_TIME)
        self.command("")                            # the greeting

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def _next(self, deadline):
        """The next line that no watch has printed; None at the end of an event."""
        line = self.lines.get(timeout=max(0.01, deadline - time.monotonic()))
        if line is None:
            raise AssertionError("zkCli has ended")
        event = re.match(r"WatchedEvent state:(\w+) type:(\w+) path:(.*)", line)
        if event:
            self.events.append(event.groups())
            return None
        return None if line in ("", "WATCHER::") else line

    def command(self, text):
        """The lines that it answers."""
        if text:
            self.process.stdin.write(text + "\n")
        self.process.stdin.write("printwatches\n")
        self.process.stdin.flush()
        out, deadline = [], time.monotonic() + wire.DEADLINE
        while True:
            try:
                line = self._next(deadline)
            except queue.Empty:
                raise AssertionError("no answer to %r; so far: %r" % (text, out)) from None
            if line == FENCE:
                return out
            if line is not None:
                out.append(line)

    def wait_event(self, *want, timeout=wire.DEADLINE):
        deadline = time.monotonic() + timeout
        while want not in self.events:
            try:
                self._next(deadline)
            except queue.Empty:
                raise AssertionError("no event %r, only %r" % (want, self.events)) from None
        self.events.remove(want)

    def close(self):
        self.process.stdin.close()
        self.process.wait(wire.DEADLINE)
        self.process.stdout.close()


@unittest.skipIf(NO_JAVA, "Java or Apache ZooKeeper is not installed")
class ZkCli(ServerTest):
    options = {"extendedTypesEnabled": "true", "enforceQuota": "true"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        try:
            cls.shell = Shell(cls.server.port)
        except BaseException:
            super().tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls):
        try:
            cls.shell.close()
        finally:
            super().tearDownClass()

    def setUp(self):
        self.r = self.root
        self.c = self.connect()
        self.shell.events.clear()

    def do(self, text, *want):
        """Runs a command; $ is this test's node.  Compares the answer if one is given."""
        got = self.shell.command(text.replace("$", self.r))
        if want:
            self.assertEqual(got, [w.replace("$", self.r) for w in want], text)
        return got

    def event(self, kind, path):
        self.shell.wait_event("SyncConnected", kind, path.replace("$", self.r))

    def no_more_events(self):
        """Of this test's nodes; what is told of the connection may come late."""
        self.assertEqual([e for e in self.shell.events if e[2].startswith(self.r)], [])

    def check_stat(self, lines, path):
        """Eleven lines that show the Stat of a node."""
        stat = self.c.exists(path.replace("$", self.r))
        shown = dict(line.split(" = ") for line in lines)
        self.assertEqual(list(shown), STAT)
        self.assertEqual(
            (int(shown["cZxid"], 16), int(shown["mZxid"], 16), int(shown["pZxid"], 16),
             int(shown["cversion"]), int(shown["dataVersion"]), int(shown["aclVersion"]),
             int(shown["ephemeralOwner"], 16), int(shown["dataLength"]), int(shown["numChildren"])),
            (stat.czxid, stat.mzxid, stat.pzxid, stat.cversion, stat.version, stat.aversion,
             stat.ephemeralOwner, stat.dataLength, stat.numChildren))

    # -- creating, reading ---------------------------------------------------------------

    def test_create(self):
        self.do('create $/a "two words"', "Created $/a")
        self.assertEqual(self.c.get_data(self.r + "/a")[0], b"two words")
        self.do("create $/null", "Created $/null")
        self.assertEqual(self.c.get_data(self.r + "/null")[0], None)
        self.do("create -s $/s- x", "Created $/s-%010d" % 2)
        self.do("create -e $/e live", "Created $/e")
        self.do("create -e -s $/es- live", "Created $/es-%010d" % 4)
        self.do("create -c $/c", "Created $/c")
        self.do("create -t 100000 $/ttl x", "Created $/ttl")
        self.do("create -t 100000 -s $/ttl- x", "Created $/ttl-%010d" % 7)
        self.do("create $/acl x world:anyone:r,ip:127.0.0.1:cdrwa", "Created $/acl")
        self.assertEqual(self.c.get_acl(self.r + "/acl")[0], [(1, "world", "anyone"), (31, "ip", "127.0.0.1")])
        self.do("create $/\u00e9\u4e2d \u0436", "Created $/\u00e9\u4e2d")
        self.assertEqual(self.c.get_data(self.r + "/\u00e9\u4e2d")[0], "\u0436".encode())
        self.assertNotEqual(self.c.exists(self.r + "/e").ephemeralOwner, 0)
        self.do("create $/a x", "Node already exists: $/a")
        self.do("create $/no/parent x", "Node does not exist: $/no/parent")
        self.do("create $/e/child x", "Ephemerals cannot have children: $/e/child")
        self.assertIn("Path must start with / character", self.do("create bad x")[-1])

    def test_ls(self):
        for path in ("/a", "/a/x", "/a/y", "/b"):
            self.c.create(self.r + path)
        self.do("ls $", "[a, b]")
        self.do("ls -R $", "$", "$/a", "$/b", "$/a/x", "$/a/y")
        lines = self.do("ls -s $")
        self.assertEqual(lines[0], "[a, b]")
        self.check_stat(lines[1:], "$")
        self.do("ls $/none", "Node does not exist: $/none")
        self.do("getAllChildrenNumber $", "4")
        self.do("ls /zookeeper", "[config, quota]")

    def test_get_set_stat(self):
        self.do("create $/a one", "Created $/a")
        self.do("get $/a", "one")
        lines = self.do("get -s $/a")
        self.assertEqual(lines[0], "one")
        self.check_stat(lines[1:], "$/a")
        self.do("set $/a two")
        self.check_stat(self.do("set -s $/a three"), "$/a")
        self.do("set -v 2 $/a four")
        self.do("set -v 2 $/a five", "version No is not valid : $/a")
        self.do("get $/a", "four")
        self.check_stat(self.do("stat $/a"), "$/a")
        self.do("get $/none", "Node does not exist: $/none")
        self.do("set $/none x", "Node does not exist: $/none")
        self.do("stat $/none", "Node does not exist: $/none")

    def test_delete(self):
        for path in ["/a", "/a/x", "/a/x/y", "/b"] + ["/a/n%d" % n for n in range(30)]:
            self.c.create(self.r + path)
        self.do("delete $/a", "Node not empty: $/a")
        self.do("delete -v 7 $/b", "version No is not valid : $/b")
        self.do("delete -v 0 $/b")
        self.do("delete $/b", "Node does not exist: $/b")
        self.do("deleteall -b 7 $/a")
        self.do("ls $", "[]")
        self.do("deleteall $/a", "Node does not exist: $/a")

    def test_sync_and_version(self):
        self.do("sync $", "Sync is OK")
        self.assertIn("ZooKeeper CLI version: 3.", self.do("version")[0])

    def test_config(self):
        self.assertEqual("".join(self.do("config")).strip(), "")
        self.do("reconfig -remove 1", "KeeperErrorCode = Reconfig is disabled")

    def test_history(self):
        self.do("create $/h 1", "Created $/h")
        lines = self.do("history")
        self.assertRegex(lines[-1], r"^\d+ - history$")
        number = [l.split(" - ")[0] for l in lines if l.endswith("create %s/h 1" % self.r)][-1]
        self.c.delete(self.r + "/h")
        self.do("redo " + number, "Created $/h")

    def test_unknown_command(self):
        self.assertIn("Command not found: Command not found nonsense", self.do("nonsense"))

    # -- access, quotas ------------------------------------------------------------------

    def test_acl(self):
        self.do("create $/a x", "Created $/a")
        self.do("getAcl $/a", "'world,'anyone", ": cdrwa")
        self.do("addauth digest bob:secret")
        self.do("setAcl $/a auth:bob:secret:crwa")
        self.do("getAcl $/a", "'digest,'bob:fyVmFCwVbTJYrznoSu1koqYEYF0=", ": crwa")
        lines = self.do("getAcl -s $/a")
        self.assertEqual(lines[1], ": crwa")
        self.c.auth("digest", b"bob:secret")
        self.check_stat(lines[2:], "$/a")
        self.do("setAcl -v 0 $/a world:anyone:r", "version No is not valid : $/a")
        self.do("create $/a/b x", "Created $/a/b")
        self.check_stat(self.do("setAcl -s -v 1 $/a digest:bob:fyVmFCwVbTJYrznoSu1koqYEYF0=:cdrwa"), "$/a")
        self.do("setAcl -R $/a ip:10.0.0.0/8:rw,auth:bob:secret:cdrwa")
        self.do("getAcl $/a/b", "'ip,'10.0.0.0/8", ": rw",
                "'digest,'bob:fyVmFCwVbTJYrznoSu1koqYEYF0=", ": cdrwa")
        self.do("setAcl $/a ip:10.0.0.0/8:a")
        self.do("get $/a", "Insufficient permission : $/a")
        self.do("setAcl $/a world:anyone:r", "Insufficient permission : $/a")

    def test_whoami(self):
        self.do("addauth digest carol:pw")
        lines = self.do("whoami")
        self.assertEqual(lines[0], "Auth scheme: User")
        self.assertIn("ip: 127.0.0.1", lines)
        self.assertIn("digest: carol", lines)

    def test_quota(self):
        self.do("create $/q x", "Created $/q")
        self.do("setquota -n 3 $/q")
        self.do("setquota -b 100 $/q")
        self.do("listquota $/q", "absolute path is /zookeeper/quota$/q/zookeeper_limits",
                "Output quota for $/q count=3,bytes=100=;byteHardLimit=-1;countHardLimit=-1",
                "Output stat for $/q count=1,bytes=1")
        self.do("setquota -N 2 $/q")
        self.do("create $/q/1 12345", "Created $/q/1")
        self.do("create $/q/2 x", "Quota has exceeded : $/q/2")
        self.assertIn("Output stat for %s/q count=2,bytes=6" % self.r, self.do("listquota $/q"))
        self.do("delquota -N $/q")
        self.do("create $/q/2 x", "Created $/q/2")
        self.do("delquota $/q")
        self.assertIn("quota for %s/q does not exist." % self.r, self.do("listquota $/q"))
        # 3.8.0 leaves the limits node without limits; deleteall takes the rest away.
        self.do("deleteall /zookeeper/quota$")

    # -- watches, sessions ---------------------------------------------------------------

    def test_one_time_watches(self):
        self.c.create(self.r + "/w", b"x")
        self.do("get -w $/w", "x")
        self.c.set_data(self.r + "/w", b"y")
        self.event("NodeDataChanged", "$/w")
        self.do("ls -w $/w", "[]")
        self.c.create(self.r + "/w/k")
        self.event("NodeChildrenChanged", "$/w")
        self.do("stat -w $/w")
        self.c.delete(self.r + "/w/k")
        self.c.delete(self.r + "/w")
        self.event("NodeDeleted", "$/w")
        self.no_more_events()

    def test_persistent_watches(self):
        self.c.create(self.r + "/p")
        self.do("addWatch -m PERSISTENT $/p")
        self.do("addWatch -m PERSISTENT_RECURSIVE $/deep")
        for n in range(2):
            self.c.set_data(self.r + "/p", b"%d" % n)
            self.event("NodeDataChanged", "$/p")
        self.c.create(self.r + "/p/k")
        self.event("NodeChildrenChanged", "$/p")
        self.c.create(self.r + "/deep")
        self.c.create(self.r + "/deep/er")
        self.event("NodeCreated", "$/deep")
        self.event("NodeCreated", "$/deep/er")
        self.do("removewatches $/p")
        self.event("PersistentWatchRemoved", "$/p")
        self.c.set_data(self.r + "/p", b"unseen")
        self.c.set_data(self.r + "/deep/er", b"seen")
        self.event("NodeDataChanged", "$/deep/er")
        self.do("removewatches $/deep")
        self.event("PersistentWatchRemoved", "$/deep")
        self.no_more_events()

    def test_ephemerals(self):
        self.do("create -e $/e1 x", "Created $/e1")
        self.do("create -e $/e2 x", "Created $/e2")
        listed = self.do("getEphemerals $")[0]
        self.assertEqual(set(listed.strip("[]").split(", ")), {self.r + "/e1", self.r + "/e2"})
        self.assertIn(self.r + "/e1", self.do("getEphemerals")[0])
        self.do("close")
        self.assertIn("Not connected", self.do("ls $"))
        self.wait_for(lambda: self.c.get_children(self.r) == [], what="ephemerals are gone")
        self.do("connect 127.0.0.1:%d" % self.server.port)
        self.event("None", "null")
        self.do("ls $", "[]")

    def test_restart_of_the_server(self):
        """The shell's session, its ephemeral and its watches live on."""
        self.do("create -e $/e x", "Created $/e")
        self.do("create $/a 1", "Created $/a")
        self.do("get -w $/a", "1")
        self.do("addWatch $/deep")
        self.server.restart(crash=True)
        self.shell.wait_event("Disconnected", "None", "null")
        self.event("None", "null")
        other = self.connect()
        self.assertNotEqual(other.exists(self.r + "/e").ephemeralOwner, 0)
        other.set_data(self.r + "/a", b"2")
        self.event("NodeDataChanged", "$/a")
        other.create(self.r + "/deep")
        self.event("NodeCreated", "$/deep")
        self.do("delete $/e")
        self.do("removewatches $/deep")

    @unittest.skipUnless(os.path.exists(SCRIPT), "no " + SCRIPT)
    def test_script(self):
        """One command from the command line, as Debian packages it."""
        longer(150)
        out = subprocess.run([SCRIPT, "-server", "127.0.0.1:%d" % self.server.port, "ls", "/zookeeper"],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        self.assertIn("[config, quota]", out.stdout)
        self.assertEqual(out.returncode, 0, out.stdout)
