"""utils/create-cluster and utils/gen-config: what they write, start and refuse."""
import os
import shutil
import subprocess
import tempfile
import time
import unittest

from kazoo.client import KazooClient

from lib.dirs import longer
from lib.server import ON_JAVA, _REPO, free_ports
from lib.wire import DEADLINE

RUN_TIME = 120
SERVERS = 4              # that a test starts at the most
JAVA = shutil.which("java") and os.path.exists("/usr/share/java/zookeeper.jar")


def program_of_zabra():
    return os.environ.get("ZABRA_SERVER") or os.path.join(_REPO, "build", "zabra-server")


class ToolTest(unittest.TestCase):
    TOOL = None

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="zabra-tools-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def run_tool(self, *words):
        return subprocess.run([os.path.join(_REPO, "utils", self.TOOL), *words], stdin=subprocess.DEVNULL, timeout=RUN_TIME,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def succeed(self, *words):
        done = self.run_tool(*words)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def fail_with(self, text, *words):
        done = self.run_tool(*words)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertIn(text, done.stdout)

    def read(self, *path):
        with open(os.path.join(self.dir, *path)) as f:
            return f.read()


@unittest.skipIf(ON_JAVA, "chooses its servers itself")
class CreateClusterTest(ToolTest):
    TOOL = "create-cluster"

    def setUp(self):
        super().setUp()
        longer(3 * RUN_TIME)
        self.cluster = os.path.join(self.dir, "cluster")
        # Of the clients, between the members, and of elections, for each server.
        self.base, tokens = free_ports([kind + number for kind in (0, 100, 200) for number in range(1, SERVERS + 1)])
        for token in tokens:
            self.addCleanup(token.close)
        self.addCleanup(self.run_tool, "stop", "--dir", self.cluster)

    def tool(self, *words):
        return ("--dir", self.cluster, "--server", program_of_zabra()) + words

    def start(self, *words):
        return self.succeed(*self.tool("start", "--base-port", str(self.base), *words))

    def status(self):
        return {line.split()[0]: line for line in self.run_tool(*self.tool("status")).stdout.splitlines()[1:]}

    def status_when_all_answer(self):
        """One that is not given the processor in time stands there without its role."""
        deadline = time.monotonic() + 6 * DEADLINE
        while True:
            table = self.status()
            if time.monotonic() > deadline or not any("no answer" in line or "not serving" in line for line in table.values()):
                return table

    @unittest.skipUnless(JAVA, "no Java server here")
    def test_an_ensemble_of_java_servers(self):
        hosts = ["127.0.0.1:%d" % (self.base + n) for n in (1, 2, 3, 4)]
        self.assertIn(",".join(hosts), self.start("--servers", "3", "--observers", "1", "--mixed", "4"))
        table = self.status_when_all_answer()
        self.assertEqual(sum("leader" in line for line in table.values()), 1, table)
        self.assertEqual(sum("follower" in line for line in table.values()), 2, table)
        self.assertIn("observer", table["4"].split("observer", 1)[1])
        client = KazooClient(hosts=hosts[3])
        client.start(6 * DEADLINE)
        client.create("/written", b"through the observer")
        client.stop()
        client.close()

        self.assertEqual(self.run_tool(*self.tool("--kill", "1", "status")).returncode, 1)
        self.assertIn("down", self.status()["1"])
        self.succeed(*self.tool("--restart", "1"))
        self.fail_with("still runs", *self.tool("clean"))
        self.fail_with("--servers 3", *self.tool("start", "--servers", "5"))
        self.succeed(*self.tool("stop"))
        self.assertTrue(all("down" in line for line in self.status().values()))

        self.succeed(*self.tool("start"))        # as it was
        client = KazooClient(hosts=hosts[0])
        client.start(6 * DEADLINE)
        self.assertEqual(client.get("/written")[0], b"through the observer")
        client.stop()
        client.close()
        self.succeed(*self.tool("stop"))
        self.succeed(*self.tool("clean"))
        self.assertFalse(os.path.exists(self.cluster))

    @unittest.skipUnless(JAVA, "no Java server here")
    def test_a_mixed_ensemble(self):
        self.start("--servers", "3", "--observers", "1", "--mixed", "1")
        table = self.status_when_all_answer()
        self.assertIn("Java", table["1"])
        self.assertIn("zabra", table["2"])
        self.assertEqual(sum("leader" in line for line in table.values()), 1, table)
        for number in range(1, 5):
            client = KazooClient(hosts="127.0.0.1:%d" % (self.base + number))
            client.start(6 * DEADLINE)
            client.create("/by-%d" % number)
            client.sync("/")
            self.assertIn("by-%d" % number, client.get_children("/"))
            client.stop()
            client.close()
        self.succeed(*self.tool("stop"))
        self.succeed(*self.tool("clean"))

    def test_one_zabra_server(self):
        self.start("--servers", "1", "--set", "snapCount=1000")
        self.assertIn("snapCount=1000\n", self.read("cluster", "1", "zoo.cfg"))
        self.assertIn("standalone", self.status_when_all_answer()["1"])
        self.succeed(*self.tool("--restart", "1", "status"))
        self.succeed(*self.tool("stop"))
        self.succeed(*self.tool("clean"))

    def test_what_is_refused(self):
        self.fail_with("there is no cluster", *self.tool("stop"))
        self.fail_with("there is no cluster", *self.tool("--kill", "1"))
        self.fail_with("what is to be done", *self.tool())
        self.fail_with("at least two voting", *self.tool("start", "--servers", "1", "--observers", "1"))
        self.fail_with("there are 3 servers", *self.tool("start", "--mixed", "4"))
        self.fail_with("65535", *self.tool("start", "--base-port", "65400"))
        self.fail_with("NAME=VALUE", *self.tool("start", "--set", "nothing"))
        self.fail_with("build it", "--dir", self.cluster, "--server", "/no/such", "start")
        os.makedirs(self.cluster)
        with open(os.path.join(self.cluster, "precious"), "w"):
            pass
        self.fail_with("not a cluster", *self.tool("start"))
        self.assertEqual(os.listdir(self.cluster), ["precious"])


@unittest.skipIf(ON_JAVA, "starts no server")
class GenConfigTest(ToolTest):
    TOOL = "gen-config"

    def test_an_ensemble(self):
        self.succeed("--hosts", "zk1,zk2.example.org,2001:db8::3", "--observers", "far", "--out", self.dir)
        self.assertEqual(sorted(os.listdir(self.dir)), ["2001:db8::3", "far", "zk1", "zk2.example.org"])
        members = ["server.1=zk1:2888:3888:participant", "server.2=zk2.example.org:2888:3888:participant",
                   "server.3=[2001:db8::3]:2888:3888:participant", "server.4=far:2888:3888:observer"]
        for number, host in enumerate(["zk1", "zk2.example.org", "2001:db8::3", "far"], 1):
            self.assertEqual(self.read(host, "myid"), "%d\n" % number)
            config = self.read(host, "zoo.cfg").splitlines()
            self.assertEqual([line for line in config if line.startswith("server.")], members)
            self.assertEqual("peerType=observer" in config, host == "far")
            self.assertIn("initLimit=10", config)
            self.assertIn("ExecStart=/usr/local/bin/zabra-server /etc/zabra/zoo.cfg --daemonize no\n",
                          self.read(host, "zabra.service"))

    def test_other_directories_may_be_written_by_the_service(self):
        self.succeed("--hosts", "a,b,c", "--data-dir", "/srv/zk", "--data-log-dir", "/var/lib/zabra/log", "--out", self.dir)
        self.assertIn("dataDir=/srv/zk\ndataLogDir=/var/lib/zabra/log\n", self.read("a", "zoo.cfg"))
        self.assertIn("\nReadWritePaths=/srv/zk\n", self.read("a", "zabra.service"))

    def test_one_host_is_a_standalone_server(self):
        self.succeed("--hosts", "alone", "--data-dir", self.dir + "/data", "--out", self.dir + "/out")
        self.assertNotIn("server.", self.read("out", "alone", "zoo.cfg"))
        done = subprocess.run([program_of_zabra(), "--check-config", os.path.join(self.dir, "out", "alone", "zoo.cfg")],
                              capture_output=True, timeout=RUN_TIME, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_what_is_refused(self):
        self.fail_with("--hosts")
        for text, words in (("twice", "a,A"), ("an empty text", "a,,b"), ("ports are given", "a:2888,b,c"),
                            ("neither a host name", "a;b"), ("neither a host name", "../a")):
            self.fail_with(text, "--hosts", words, "--out", self.dir)
        self.fail_with("at least two voting", "--hosts", "a", "--observers", "b", "--out", self.dir)
        self.fail_with("three different ports", "--hosts", "a,b,c", "--client-port", "2888", "--out", self.dir)
        self.fail_with("an absolute path", "--hosts", "a,b,c", "--data-dir", "here", "--out", self.dir)
        self.assertEqual(os.listdir(self.dir), [])
        self.succeed("--hosts", "a,b,c", "--out", self.dir)
        self.fail_with("not empty", "--hosts", "a,b,c", "--out", self.dir)
        self.succeed("--hosts", "a,b,c", "--out", self.dir, "--force")
