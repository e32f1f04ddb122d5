"""Starting, stopping, configuration files, addresses, descriptors: what an operator meets."""
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import unittest

from lib import shim, store, wire
from lib.dirs import DirTest, Zabra
from lib.load import Load
from lib.server import _free_port
from lib.wire import EPHEMERAL

BAD_CONFIG, DATA_DIR = 2, 3      # exit codes
RUN_TIME = 40

# What Debian installs as /etc/zookeeper/conf/zoo.cfg, without most of its comments.
DEBIAN = """\
# The number of milliseconds of each tick
tickTime=2000
# The number of ticks that the initial 
# synchronization phase can take
initLimit=10
syncLimit=5
dataDir=/tmp/zookeeper
# the port at which the clients will connect
clientPort=2181
#maxClientCnxns=60
#autopurge.snapRetainCount=3

## Metrics Providers
#metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider
"""


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


class Lifecycle(DirTest):
    def run_server(self, *args, **kw):
        """Runs it to its end; returns (code, stdout, stderr)."""
        done = subprocess.run([Zabra.binary()] + list(args), text=True, timeout=RUN_TIME,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)
        return done.returncode, done.stdout, done.stderr

    def file(self, server, name, text):
        path = os.path.join(server.dir, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def pid_ends(self, pid):
        """The end of a process that is not our child; it may still wait to be reaped."""
        def ended():
            try:
                return store.read("/proc/%d/stat" % pid).rpartition(b")")[2].split()[0] == b"Z"
            except OSError:
                return True
        self.wait_for(ended, what="end of %d" % pid)


class CommandLine(Lifecycle):
    def test_version(self):
        code, out, _ = self.run_server("--version")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"^zabra-server \d+\.\d+.*ZooKeeper 3\.\d")

    def test_help(self):
        code, out, _ = self.run_server("--help")
        self.assertEqual(code, 0)
        for word in ("CONFIG", "--check-config", "--version", "--name value"):
            self.assertIn(word, out)

    def test_no_arguments(self):
        code, out, err = self.run_server()
        self.assertEqual(code, BAD_CONFIG)
        self.assertIn("zabra-server [CONFIG]", out + err)

    def test_missing_file(self):
        code, _, err = self.run_server("/nonexistent/zoo.cfg")
        self.assertEqual(code, BAD_CONFIG)
        self.assertIn("/nonexistent/zoo.cfg", err)

    def test_unknown_option(self):
        code, _, err = self.run_server("--tickTme", "2000", "--port", "1", "--dir", "/nonexistent")
        self.assertEqual(code, BAD_CONFIG)
        self.assertIn("tickTme", err)

    def test_options_beat_the_file(self):
        server = self.zabra()
        path = self.file(server, "a.cfg", "clientPort=1\ndataDir=/nonexistent\ntickTime=1000\n")
        code, out, _ = self.run_server(path, "--port", "2", "--dir=/other", "--check-config")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"(?m)^port = 2\b")
        self.assertRegex(out, r"(?m)^dir = /other\b")
        self.assertRegex(out, r"(?m)^tickTime = 1000\b")


class Config(Lifecycle):
    def check(self, text, *args):
        path = self.file(self.zabra(), "zoo.cfg", text)
        return (path,) + self.run_server(path, *args)

    def test_bad_values(self):
        path, code, _, err = self.check(
            "clientPort=2181\n\ndataDir=/tmp/x\ntickTime=abc\nforceSync=perhaps\nsnapCount = many\n")
        self.assertEqual(code, BAD_CONFIG)
        for line, name, value in ((4, "tickTime", "abc"), (5, "forceSync", "perhaps"), (6, "snapCount", "many")):
            self.assertRegex(err, r"%s:%d: .*%s.*%s" % (re.escape(path), line, name, value))
        self.assertIn("allowed", err)

    def test_unknown_names(self):
        """A warning with the nearest name; an error when asked to be strict."""
        text = "clientPort=0\nport=%d\ndataDir=%s\ntickTme=2000\nsomethingQuiteDifferent=1\n"
        server = self.zabra()
        port, token = _free_port()
        self.addCleanup(token.close)
        path = self.file(server, "zoo.cfg", text % (port, server.data))
        server.command = lambda options: [Zabra.binary(), path, "--bind", "127.0.0.1"]
        server.addr = ("127.0.0.1", port)
        server.start()
        server.stop()
        self.assertRegex(server.log(), r"WARN .*%s:4: .*tickTme.*tickTime" % re.escape(path))
        self.assertRegex(server.log(), r"WARN .*%s:5: .*somethingQuiteDifferent" % re.escape(path))
        for extra in (["--check-config"], ["--strictConfig", "yes"]):
            code, _, err = self.run_server(path, *extra)
            self.assertEqual(code, BAD_CONFIG, extra)
            self.assertRegex(err, r"%s:4: .*tickTme.*tickTime" % re.escape(path))
            self.assertNotIn("is ignored", err)

    def test_check_config(self):
        path, code, out, err = self.check("clientPort=2181\ndataDir=/nonexistent/zk\n", "--check-config")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"(?m)^snapCount = 100000$")
        self.assertIn("%s:1" % path, out)
        self.assertFalse(os.path.exists("/nonexistent/zk"))

    def test_incomplete(self):
        for text, missing in (("clientPort=2181\n", "dataDir"), ("dataDir=/tmp/x\n", "clientPort")):
            _, code, _, err = self.check(text)
            self.assertEqual(code, BAD_CONFIG)
            self.assertIn(missing, err)

    def test_member_needs_its_id_and_limits(self):
        members = "".join("server.%d=127.0.0.1:%d:%d\n" % (n, 2000 + n, 3000 + n) for n in (1, 2, 3))
        _, code, _, err = self.check("clientPort=2181\ndataDir=/tmp/x\n" + members)
        self.assertEqual(code, BAD_CONFIG)
        self.assertIn("initLimit is not set", err)
        server = self.zabra()
        data = os.path.join(server.dir, "member")
        os.mkdir(data)
        path = self.file(server, "zoo.cfg", "clientPort=2181\ndataDir=%s\ninitLimit=10\nsyncLimit=5\n%s" % (data, members))
        for myid, text in ((None, "myid"), ("x", "is no number"), ("7", "not in the peer list")):
            if myid:
                self.file(server, "member/myid", myid)
            code, _, err = self.run_server(path)
            self.assertEqual(code, BAD_CONFIG)
            self.assertIn(text, err)

    def test_include_and_grammar(self):
        """Both styles, quotes, comments, continued lines, prefixes, and a file beside the first one."""
        server = self.zabra()
        self.file(server, "more.cfg", "tickTime 1234\n! a comment\nzookeeper.snapCount : 77\n")
        path = self.file(server, "zoo.cfg",
                         "# comment\nclientPort = 2181\r\ndataDir=\"/a b\"\ninclude more.cfg\n"
                         "4lw.commands.whitelist = ruok,\\\n   stat\n\n   maxCnxns\t5\n")
        code, out, err = self.run_server(path, "--check-config")
        self.assertEqual((code, err), (0, ""))
        for line in ("port = 2181", "dir = /a b", "tickTime = 1234", "snapCount = 77", "maxCnxns = 5",
                     "4lw.commands.whitelist = ruok,stat"):
            self.assertRegex(out, r"(?m)^%s\b" % re.escape(line))
        self.file(server, "more.cfg", "\ntickTime x\n")
        code, _, err = self.run_server(path, "--check-config")
        self.assertEqual(code, BAD_CONFIG)
        self.assertRegex(err, r"more\.cfg:2: .*tickTime")

    def test_debian_zoo_cfg(self):
        """The file of Debian's package works unchanged; only address, port and directory are ours."""
        server = self.zabra()
        text = DEBIAN
        if os.path.exists("/etc/zookeeper/conf/zoo.cfg"):
            text = store.read("/etc/zookeeper/conf/zoo.cfg").decode()
        path = self.file(server, "debian.cfg", text)
        server.command = lambda options: [Zabra.binary(), path, "--bind", "127.0.0.1", "--port", str(server.port),
                                          "--dir", server.data]
        server.start()
        self.connect(server).create("/a")
        self.assertRegex(server.log(), "initLimit")
        self.assertNotRegex(server.log(), "WARN|ERROR")
        self.assertNotIn("purge", server.log())
        server.stop()


class Process(Lifecycle):
    def test_pid_file(self):
        server = self.zabra()
        path = os.path.join(server.dir, "zabra.pid")
        server.options["pidfile"] = path
        server.start()
        self.assertEqual(store.read(path).decode().strip(), str(server.process.pid))
        server.stop()
        self.assertFalse(os.path.exists(path))

    def test_log_file_and_hup(self):
        server = self.zabra()
        path = os.path.join(server.dir, "zabra.log")
        server.options["logfile"] = path
        server.start()
        conn = self.connect(server)
        conn.create("/a")
        self.assertIn("is ready", store.read(path).decode())
        self.assertEqual(server.log(), "")
        os.rename(path, path + ".1")
        server.process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: os.path.exists(path) and os.path.getsize(path), what="a new log file")
        old = store.read(path + ".1")
        conn.create("/b")
        server.stop()
        self.assertIn(b"stopp", store.read(path))
        self.assertEqual(store.read(path + ".1"), old)

    def test_log_file_that_cannot_be_opened(self):
        server = self.zabra({"logfile": "/nonexistent/zabra.log"})
        code, said = server.start_refused()
        self.assertGreater(code, 0)
        self.assertIn("/nonexistent/zabra.log", said)

    def test_daemon(self):
        server = self.zabra()
        pidfile, log = os.path.join(server.dir, "zabra.pid"), os.path.join(server.dir, "zabra.log")
        config = server.write_config(dict(server.options, dataDir=server.data, clientPort=server.port,
                                          clientPortAddress="127.0.0.1"))
        code, _, _ = self.run_server(config, "--daemonize", "yes", "--pidfile", pidfile, "--logfile", log,
                                     cwd=server.dir)
        self.assertEqual(code, 0)
        pid = int(store.read(pidfile))
        try:
            self.assertIn("Mode: standalone", server.word("srvr"))
            self.assertEqual(os.getsid(pid), pid)
            self.assertEqual(os.readlink("/proc/%d/fd/0" % pid), "/dev/null")
            self.assertEqual(os.readlink("/proc/%d/fd/2" % pid), "/dev/null")
        finally:
            os.kill(pid, signal.SIGTERM)
        self.pid_ends(pid)
        self.assertFalse(os.path.exists(pidfile))

    def test_daemon_with_relative_paths(self):
        """They mean the same as without going to the background."""
        server = self.zabra()
        config = server.write_config({"dataDir": "data", "clientPort": server.port, "clientPortAddress": "127.0.0.1"})
        code, _, _ = self.run_server(config, "--daemonize", "yes", "--pidfile", "zabra.pid", cwd=server.dir)
        self.assertEqual(code, 0)
        pid = int(store.read(os.path.join(server.dir, "zabra.pid")))
        os.kill(pid, signal.SIGTERM)
        self.pid_ends(pid)
        self.assertTrue(os.path.exists(os.path.join(server.version2, "snapshot.0")))

    def daemon(self, server, *args):
        """Arguments for a daemon in the server's directory."""
        config = server.write_config({"dataDir": server.data, "clientPort": server.port,
                                      "clientPortAddress": "127.0.0.1"})
        return [config, "--daemonize", "yes"] + list(args)

    def test_daemon_that_fails(self):
        """The exit code and the reason come from the process that was to go to the background."""
        server = self.zabra()
        log = os.path.join(server.dir, "zabra.log")
        with socket.create_server(server.addr):
            for extra in ([], ["--logfile", log]):
                code, _, err = self.run_server(*self.daemon(server), *extra, cwd=server.dir)
                self.assertEqual(code, 1, err)
                self.assertRegex(err, r"ERROR .*127\.0\.0\.1.*%d" % server.port)
            self.assertIn("ERROR", store.read(log).decode())
        code, _, err = self.run_server(*self.daemon(server, "--pidfile", "/nonexistent/pid"), cwd=server.dir)
        self.assertEqual(code, 1)
        self.assertIn("/nonexistent/pid", err)
        shutil.rmtree(server.data)
        with open(server.data, "w"):
            pass
        code, _, err = self.run_server(*self.daemon(server), cwd=server.dir)
        self.assertEqual(code, DATA_DIR)
        self.assertIn(server.data, err)

    def start_daemon_that_hangs(self, server, *args):
        """Returns (parent, pid of the child, pid file). The pid file is a pipe: who opens it waits for a reader."""
        pidfile = os.path.join(server.dir, "zabra.pid")
        os.mkfifo(pidfile)
        parent = subprocess.Popen([Zabra.binary()] + self.daemon(server, "--pidfile", pidfile, *args), cwd=server.dir,
                                  stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(parent.stderr.close)
        self.addCleanup(parent.kill)
        children = "/proc/%d/task/%d/children" % (parent.pid, parent.pid)
        child = int(self.wait_for(lambda: store.read(children).split(), what="a child")[0])
        self.addCleanup(self.kill_daemon, child, server.dir)
        self.wait_for(lambda: os.path.exists(os.path.join(server.version2, "snapshot.0")), what="a start")
        return parent, child, pidfile

    @staticmethod
    def kill_daemon(pid, directory):
        try:
            if directory.encode() in store.read("/proc/%d/cmdline" % pid):
                os.kill(pid, signal.SIGKILL)
        except OSError:
            pass                                    # it has ended

    def let_daemon_go(self, child, pidfile):
        fd = os.open(pidfile, os.O_RDONLY | os.O_NONBLOCK)
        try:
            self.assertTrue(select.select([fd], [], [], RUN_TIME)[0], "nothing is written to the pid file")
            self.assertEqual(int(os.read(fd, 100)), child)
        finally:
            os.close(fd)

    def test_parent_waits_for_the_daemon(self):
        server = self.zabra()
        parent, child, pidfile = self.start_daemon_that_hangs(server)
        self.assertIsNone(parent.poll())
        self.let_daemon_go(child, pidfile)
        self.assertEqual(parent.wait(RUN_TIME), 0)
        self.assertIn("Mode: standalone", server.word("srvr"))
        os.kill(child, signal.SIGTERM)
        self.pid_ends(child)

    def test_signals_during_the_start(self):
        """A log rotated meanwhile is opened again, and a stop follows in order."""
        server = self.zabra()
        log = os.path.join(server.dir, "zabra.log")
        parent, child, pidfile = self.start_daemon_that_hangs(server, "--logfile", log)
        os.rename(log, log + ".1")
        os.kill(child, signal.SIGHUP)
        self.let_daemon_go(child, pidfile)
        self.assertEqual(parent.wait(RUN_TIME), 0)
        self.wait_for(lambda: os.path.exists(log) and b"opened again" in store.read(log), what="a new log file")
        os.kill(child, signal.SIGTERM)
        self.pid_ends(child)
        self.assertIn(b"has stopped\n", store.read(log))

    def test_signals_during_the_end(self):
        """Once it stops, nothing cuts that short: the log's end is noted, the exit status is 0."""
        server = self.zabra({"forceSync": "yes"})
        pidfile, stall = os.path.join(server.dir, "zabra.pid"), os.path.join(server.dir, "stall")
        server.options["pidfile"] = pidfile
        server.prefix = shim.prefix(server.data, stall=stall)
        server.start()
        self.connect(server).create("/a")
        with open(stall, "w"):
            server.process.terminate()
            self.wait_for(lambda: not os.path.exists(pidfile), what="the end of the loop")
        for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            server.process.send_signal(sig)
        os.unlink(stall)
        self.assertEqual(server.wait(), 0, server.log_tail())
        self.assertIn("has stopped\n", server.log())

    def test_end_of_a_stop_that_takes_too_long(self):
        """Whom nobody waits for any more is cut; a snapshot on a disk that stands still is waited for, and given up."""
        server = self.zabra({"snapCount": 5})
        stall = os.path.join(server.dir, "stall")
        server.prefix = shim.prefix(server.data, stall=stall)
        server.start()
        conn = self.connect(server)
        conn.create("/a")
        with open(stall, "w"):
            for _ in range(20):
                conn.send(wire.set_data("/a", b"x"))
        self.wait_for(lambda: server.mntr()["zk_zabra_snapshot_running"] == "1", what="a snapshot")
        server.process.terminate()
        self.wait_for(lambda: "stopping takes too long" in server.log(), 30, "the end of patience")
        os.unlink(stall)
        self.assertEqual(server.wait(), 0, server.log_tail())
        self.assertRegex(server.log(), r"snapshot 0x\w+ is given up")
        self.assertIn("has stopped\n", server.log())
        answered = 0
        try:
            while conn.reply().err == 0:
                answered += 1
        except wire.Closed:
            pass
        server.start()
        self.assertGreaterEqual(self.connect(server).exists("/a").version, answered)
        server.stop()

    def test_daemon_that_is_killed(self):
        parent, child, _ = self.start_daemon_that_hangs(self.zabra())
        os.kill(child, signal.SIGKILL)
        self.assertEqual(parent.wait(RUN_TIME), 1)
        self.assertIn(b"signal 9", parent.stderr.read())

    def test_closed_standard_descriptors(self):
        """No file of the server gets their numbers."""
        server = self.zabra()
        pidfile = os.path.join(server.dir, "zabra.pid")
        done = subprocess.run(["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', Zabra.binary()] +
                              self.daemon(server, "--pidfile", pidfile), cwd=server.dir, timeout=RUN_TIME)
        self.assertEqual(done.returncode, 0)
        pid = int(store.read(pidfile))
        try:
            self.connect(server).create("/a")
            for fd in range(3):
                self.assertEqual(os.readlink("/proc/%d/fd/%d" % (pid, fd)), "/dev/null")
        finally:
            os.kill(pid, signal.SIGTERM)
        self.pid_ends(pid)

    def stop_under_load(self, sig):
        """Exit status 0, and nothing that was answered is missing."""
        server = self.zabra({"forceSync": "yes", "snapCount": 200})
        server.start()
        load = Load(server.addr, 5, 3)
        for _ in range(3):
            goal = load.acknowledged() + 200
            load.start()
            self.wait_for(lambda: load.acknowledged() > goal, what="progress")
            server.process.send_signal(sig)
            self.assertEqual(server.wait(), 0, server.log_tail())
            load.join()
            server.start()
            self.assertGreaterEqual(server.zxid(), load.zxid())
            load.settle(server.addr)
        server.stop()

    def test_sigterm_under_load(self):
        self.stop_under_load(signal.SIGTERM)

    def test_sigint_under_load(self):
        self.stop_under_load(signal.SIGINT)

    def test_sigterm_during_the_start(self):
        """Whenever it comes, the process ends in order or by the signal, and the directory is good."""
        server = self.zabra({"snapCount": 10**6})
        server.start()
        conn = self.connect(server)
        conn.create("/a")
        for n in range(0, 20000, 1000):
            conn.multi(*[wire.create("/a/%d" % i, bytes(100)) for i in range(n, n + 1000)])
        server.stop()
        for delay in (0, 0.002, 0.005, 0.01, 0.02, 0.05):
            process = server.spawn()
            try:
                process.wait(delay)                 # the moment is the test
            except subprocess.TimeoutExpired:
                process.terminate()
            self.assertIn(process.wait(RUN_TIME), (0, -signal.SIGTERM))
        server.start()
        self.assertEqual(self.connect(server).exists("/a").numChildren, 20000)
        server.stop()


class Directories(Lifecycle):
    def test_in_use(self):
        """Two servers in one directory would destroy it."""
        first, second = self.zabra(), self.zabra()
        first.start()
        conn = self.connect(first)
        conn.create("/a")
        os.rmdir(second.data) if os.path.exists(second.data) else None
        os.symlink(first.data, second.data)
        try:
            code, said = second.start_refused()
        finally:
            second.kill()
            os.unlink(second.data)
        self.assertGreater(code, 0)
        self.assertIn(os.path.basename(first.data), said)
        self.assertRegex(said, r"(?i)in use|another|locked")
        conn.create("/b")
        # The lock is gone with its holder, however that ends.
        first.restart(crash=True)
        self.assertEqual(self.connect(first).get_children("/").count("b"), 1)
        first.stop()

    def test_log_directory_in_use(self):
        first, second = self.zabra(), self.zabra()
        first.options["dataLogDir"] = second.options["dataLogDir"] = os.path.join(first.dir, "log")
        first.start()
        try:
            code, said = second.start_refused()
        finally:
            second.kill()
        self.assertGreater(code, 0)
        self.assertRegex(said, r"(?i)in use|another|locked")
        first.stop()

    def test_missing_without_autocreate(self):
        server = self.zabra({"datadir.autocreate": "false"})
        code, said = server.start_refused()
        self.assertEqual(code, DATA_DIR)
        self.assertIn(server.data, said)
        self.assertEqual(os.listdir(server.data), [])

    def test_missing_is_created(self):
        server = self.zabra()
        server.options["dataLogDir"] = os.path.join(server.dir, "deep", "er", "log")
        server.start()
        self.connect(server).create("/a")
        server.stop()
        self.assertEqual(len(store.named(server.options["dataLogDir"] + "/version-2", "log")), 1)

    def test_not_a_directory(self):
        server = self.zabra()
        server.options["dataLogDir"] = self.file(server, "file", "")
        code, said = server.start_refused()
        self.assertEqual(code, DATA_DIR)
        self.assertIn(server.options["dataLogDir"], said)

    @unittest.skipUnless(os.getuid() != 0 or shutil.which("setpriv"), "root may write everywhere, and there is no setpriv")
    def test_read_only(self):
        server = self.zabra()
        os.makedirs(server.version2)
        if os.getuid() == 0:
            server.prefix = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
        os.chmod(server.version2, 0o555)
        try:
            code, said = server.start_refused()
        finally:
            os.chmod(server.version2, 0o755)
        self.assertEqual(code, DATA_DIR)
        self.assertIn(server.data, said)
        self.assertIn("Permission denied", said)

    def test_mixed_up(self):
        """Logs and snapshots in each other's directories."""
        server = self.zabra()
        server.start()
        self.connect(server).create("/a")
        server.stop()
        server.options["dataLogDir"] = os.path.join(server.dir, "log")
        code, said = server.start_refused()
        self.assertGreater(code, 0)
        self.assertIn("Snapshot directory has log files", said)


class Network(Lifecycle):
    def test_port_in_use(self):
        first, second = self.zabra(), self.zabra()
        first.start()
        second.options["port"] = None
        second.port = first.port
        second.addr = ("127.0.0.9", first.port)
        code, said = second.start_refused()
        self.assertGreater(code, 0)
        self.assertRegex(said, r"127\.0\.0\.1.*%d.*Address already in use" % first.port)
        self.assertIn("Mode", first.word("srvr"))
        first.stop()

    def test_several_addresses(self):
        addresses = ["127.0.0.1", "127.0.0.3"] + ["::1"] * has_ipv6()
        server = self.zabra({"clientPortAddress": " ".join(addresses) + " -192.0.2.77"})
        server.addr = ("127.0.0.1", server.port)
        server.start()
        for address in addresses:
            conn = wire.Conn((address, server.port))
            self.addCleanup(conn.close)
            conn.ping()
        with self.assertRaises(OSError):
            socket.create_connection(("127.0.0.4", server.port), 1)
        server.stop()

    @unittest.skipUnless(has_ipv6(), "no IPv6 here")
    def test_ipv6(self):
        server = self.zabra({"clientPortAddress": "::1"})
        server.start()
        conn = self.connect(server)
        conn.create("/a", b"", [(31, "ip", "::1")])
        conn.set_data("/a", b"x")
        self.assertIn("[0:0:0:0:0:0:0:1]", server.word("cons"))
        server.stop()

    def test_unknown_address(self):
        server = self.zabra({"clientPortAddress": "192.0.2.77"})
        server.addr = ("127.0.0.1", server.port)
        code, said = server.start_refused()
        self.assertGreater(code, 0)
        self.assertIn("192.0.2.77", said)

    def test_connections_per_address(self):
        server = self.zabra({"maxClientCnxns": 3})
        server.start()
        conns = [self.connect(server) for _ in range(3)]
        with self.assertRaises(wire.Closed):
            wire.Conn(server.addr)
        other = wire.Conn(server.addr, source="127.0.0.7")
        self.addCleanup(other.close)
        conns.pop().close()
        self.wait_for(lambda: self.connects(server), what="a free place")
        server.kill()

    @staticmethod
    def connects(server):
        try:
            wire.Conn(server.addr).close()
            return True
        except wire.Closed:
            return False


class Descriptors(Lifecycle):
    """When all descriptors are used up by clients, those that are in are served, and the files that
    the server needs can still be opened."""
    LIMIT = 40

    def full_server(self, **options):
        server = self.zabra(options)
        server.prefix = ["prlimit", "--nofile=%d:%d" % (self.LIMIT, self.LIMIT)]
        server.start()
        first = self.connect(server, timeout=60000)
        first.create("/e", flags=EPHEMERAL)
        waiting = []
        for _ in range(self.LIMIT + 30):
            sock = socket.create_connection(server.addr, 5)
            self.addCleanup(sock.close)
            sock.send(b"\0")  # a silent one is accepted later
            waiting.append(sock)
        first.ping()
        return server, first, waiting

    def test_clients_are_served(self):
        server, first, waiting = self.full_server()
        first.create("/a")
        self.assertEqual(set(first.get_children("/")), {"a", "e", "zookeeper"})
        # Those who could not be accepted come in when others go.
        for sock in waiting:
            sock.close()
        later = self.connect(server)
        later.create("/b")
        first.set_data("/a", b"x")
        self.assertRegex(server.log(), r"(?i)descriptors|too many open files")
        self.assertLess(server.log().count("\n"), 60, "a line for each attempt")
        server.stop()

    def test_the_last_one_hangs_up_at_once(self):
        """Its descriptor is free again, so nobody need wait for another one to leave."""
        server = self.zabra({})
        server.prefix = ["prlimit", "--nofile=%d:%d" % (self.LIMIT, self.LIMIT)]
        server.start()
        sessions = []
        while "no descriptors are left" not in server.log():
            sessions.append(self.connect(server))
        sessions.pop().end_session()
        for _ in range(20):
            socket.create_connection(server.addr, 5).close()
        self.connect(server).create("/a")
        server.stop()

    def test_logs_and_snapshots_go_on(self):
        """A roll or a snapshot needs a descriptor, whatever clients do."""
        server, first, waiting = self.full_server(snapCount=5)
        def write():
            first.set_data("/a", b"x")
            return min(len(store.named(server.version2, kind)) for kind in ("snapshot", "log")) > 3
        first.create("/a")
        self.wait_for(write, what="logs and snapshots")
        server.stop()
