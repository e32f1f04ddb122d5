"""Ensembles of servers on this machine, zabra's and Java's side by side, and writers that survive the loss of a member.

    e = Ensemble("zzjZ")      servers 1 and 2 are zabra's, 3 is Java's; 4 is an observer of zabra's
    leader = e.start()        all of them, until they serve; the member that leads
"""
import glob
import os
import random
import shutil
import signal
import time
import unittest

from kazoo.client import KazooClient

from lib import kz, store, wire
from lib.cases import Case
from lib.load import Load, Writer
from lib.server import LONG, ON_JAVA, START_TIME, JavaServer, ZabraServer, _free_port
from lib.space import Space
from lib.wire import DEADLINE

FULL = bool(os.environ.get("ZABRA_TEST_FULL"))
SEED = int(os.environ.get("ZABRA_TEST_SEED", "1"))
OUTAGE_TIME = 45.0       # seconds within which a client must find a member that serves
LOOK_TIME = DEADLINE     # seconds that one look at a member may take
WAKE_TIME = 3.0          # seconds after which a Java member that has not answered is woken
WAIT_TIME = 30.0         # seconds until what a test waits for must be so

# A machine that stands still for some seconds is no reason to give anybody up: a test that waits for that has a shorter syncLimit.
OPTIONS = {
    "tickTime": 500, "initLimit": 20, "syncLimit": 16, "minSessionTimeout": 500, "maxSessionTimeout": LONG,
    "extendedTypesEnabled": "true", "preAllocSize": 64, "maxClientCnxns": 0,
    "DigestAuthenticationProvider.superDigest": store.SUPER,
}
# What every server writes for itself.
OWN_NODES = ("/zookeeper/config",)


class Waking(wire.Conn):
    """To a Java server. It sometimes answers nothing until the next request of somebody comes, also among Java servers alone (seen
    with 3.8.0 on a busy machine, once in some thousand trees). So one comes when it takes long. What a leader of ours does not
    answer stays unanswered; what it kept back until the next proposal would come, but so late each time that no test has enough."""

    def __init__(self, addr, **kw):
        self.addr, self.others = addr, []
        super().__init__(addr, **kw)

    def frame(self, timeout=DEADLINE):
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            try:
                return super().frame(min(WAKE_TIME, left))
            except wire.Timeout:
                if left <= WAKE_TIME:
                    raise
            self.others.append(wire.Raw(self.addr))
            self.others[-1].send_frame(wire.connect_request(timeout=4000))

    def close(self):
        super().close()
        for conn in self.others:
            conn.close()


class Member(ZabraServer):
    """A server of an ensemble. java may be changed while it does not run: the directory is the same."""

    java_log_level = "info"                         # elections and syncs are there
    prefix = ()                                     # what stands before the command
    space = None                                    # a Space with its data directory

    def __init__(self, ensemble, number, kind, options, host):
        super().__init__(dict(OPTIONS, clientPortAddress=host, **(options or {})))
        self.ensemble, self.id, self.host = ensemble, number, host
        self.java, self.observer = kind in "jJ", kind in "ZJ"
        self.quorum_port, self._quorum_token = _free_port()
        self.election_port, self._election_token = _free_port()
        if self.observer:
            self.options["peerType"] = "observer"
        self.stopped = False                        # by SIGSTOP

    def __repr__(self):
        return "%s %d" % ("Java" if self.java else "zabra", self.id)

    def line(self):
        return "%s:%d:%d:%s" % (self.host, self.quorum_port, self.election_port,
                                "observer" if self.observer else "participant")

    @property
    def data(self):
        return os.path.join(self.dir, "data")

    def command(self, options):
        return list(self.prefix) + (JavaServer if self.java else ZabraServer).command(self, options)

    def check_exit(self, code):
        (JavaServer if self.java else ZabraServer).check_exit(self, code)

    # -- life ---------------------------------------------------------------------

    def begin(self):
        self.write_myid(self.id)
        if self.java:
            self._remove_empty_logs()
        super().begin()

    def _remove_empty_logs(self):
        """Java does not start with a log without a header, which a kill may leave behind."""
        for path in glob.glob(os.path.join(glob.escape(self.data), "version-2", "log.*")):
            if os.path.getsize(path) < 16:
                os.remove(path)

    def write_myid(self, number):
        os.makedirs(self.path(), exist_ok=True)
        with open(self.path("myid"), "w") as f:
            f.write("%d\n" % number)

    def path(self, *names):
        """Of a file in its data directory."""
        return self.space.path(*names) if self.space else os.path.join(self.data, *names)

    def on_space(self, size):
        """Gives it a small filesystem of its own before its first start; None if none can be had."""
        self.space = Space(self.data, size)
        self.prefix = self.space.prefix
        return self.space if self.space.mounted else None

    def running(self):
        return self.process is not None and self.process.poll() is None

    def pause(self):
        """Stops all its threads where they are."""
        self.process.send_signal(signal.SIGSTOP)
        self.stopped = True
        while any(state != b"T" for state in self._thread_states()):
            time.sleep(0.001)                       # pause of the polling loop

    def _thread_states(self):
        tasks = "/proc/%d/task" % self.process.pid
        for task in os.listdir(tasks):
            try:
                yield store.read(os.path.join(tasks, task, "stat")).rpartition(b")")[2].split()[0]
            except (FileNotFoundError, ProcessLookupError):
                pass                                # it has ended

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)
        self.stopped = False

    def stop(self):
        if self.stopped:
            self.go_on()
        super().stop()

    def kill(self):
        super().kill()
        self.stopped = False

    def wipe(self):
        """All that it knew is gone; its number stays."""
        assert not self.running()
        shutil.rmtree(self.path("version-2"))

    def remove(self):
        super().remove()
        if self.space:
            self.space.close()
        self._quorum_token.close()
        self._election_token.close()

    # -- looking at it ----------------------------------------------------------------

    def fields(self):
        """What srvr says, as a dictionary; empty if it does not answer."""
        try:
            text = self.word("srvr", timeout=LOOK_TIME)
        except (OSError, wire.Timeout, wire.Closed):
            return {}
        return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)

    def mode(self):
        """leader, follower or observer; None if it does not serve."""
        return self.fields().get("Mode")

    def mntr(self):
        """Empty if it does not serve."""
        return dict(line.split("\t", 1) for line in self.word("mntr").splitlines() if "\t" in line)

    def said(self, since=0):
        return self.log()[since:]

    def connect(self, **kw):
        return (Waking if self.java else wire.Conn)(self.addr, **kw)

    def tree(self):
        """Everything that is the same on all members, as of now."""
        conn = self.connect()
        try:
            conn.auth("digest", b"super:super")
            conn.sync("/")
            nodes = store.read_tree(conn)
            conn.end_session()
        finally:
            conn.close()
        return {path: node for path, node in nodes.items() if path not in OWN_NODES}


class Ensemble:
    def __init__(self, kinds, options=None, net=None):
        """net: a Net with a machine for each member; without one they are all on this one"""
        self.members = [Member(self, n, kind, options, net.address(n) if net else "127.0.0.1")
                        for n, kind in enumerate(kinds, 1)]
        for m in self.members if net else ():
            m.prefix = net.prefix(m.id)
        for m in self.members:
            m.options.update(("server.%d" % other.id, other.line()) for other in self.members)

    def __getitem__(self, number):
        return self.members[number - 1]

    def start(self, *numbers):
        """Starts all members, or these; returns the one that leads."""
        for m in [self[n] for n in numbers] or self.members:
            if not m.running():
                m.begin()
        return self.wait()

    def running(self):
        return [m for m in self.members if m.running() and not m.stopped]

    def others(self, *members):
        return [m for m in self.running() if m not in members]

    def voters(self):
        return [m for m in self.running() if not m.observer]

    def leader(self):
        """The member that says that it leads, or None; None, too, if two say so."""
        leaders = [m for m in self.running() if m.mode() == "leader"]
        return leaders[0] if len(leaders) == 1 else None

    @property
    def outage_time(self):
        """Seconds within which a client must find a member that serves.

        Two Java servers that are left alone may take several attempts, each as long as initLimit: a Java learner may acknowledge
        what it logs before NEWLEADER, and a Java leader takes that for another epoch (seen with 3.8.0)."""
        return 100.0 if sum(m.java and not m.observer for m in self.members) > 1 else OUTAGE_TIME

    def wait(self, timeout=None):
        """Until all members that run serve, one of them as the leader; returns it."""
        timeout = timeout or max(START_TIME, self.outage_time)
        deadline = time.monotonic() + timeout
        while True:
            for m in self.members:
                if m.process is not None and m.process.poll() is not None:
                    raise AssertionError("%r ended with %d\n%s" % (m, m.process.returncode, m.log_tail()))
            modes = {m: m.mode() for m in self.running()}
            leaders = [m for m, mode in modes.items() if mode == "leader"]
            if len(leaders) == 1 and None not in modes.values():
                return leaders[0]
            if time.monotonic() > deadline:
                raise AssertionError("no ensemble within %g s: %r" % (timeout, modes))
            time.sleep(0.02)                        # pause of the polling loop

    def wait_leader(self, timeout=START_TIME):
        """Until one of them leads, whatever the others do; returns it."""
        deadline = time.monotonic() + timeout
        while True:
            leader = self.leader()
            if leader:
                return leader
            if time.monotonic() > deadline:
                raise AssertionError("no leader within %g s" % timeout)
            time.sleep(0.02)                        # pause of the polling loop

    def stop(self):
        """The leader last, so that nobody is elected in between."""
        for m in sorted(self.running(), key=lambda m: m.mode() == "leader"):
            m.stop()

    def remove(self):
        for m in self.members:
            m.remove()

    def hosts(self, members=None):
        return ",".join("%s:%d" % m.addr for m in members or self.members)


class Hurried(wire.Conn):
    """Gives a silent server up sooner, to ask another one."""

    def frame(self, timeout=None):
        return super().frame(3.0 if timeout is None else timeout)


class Roamer(Writer):
    """Renews its session at another member when the connection is lost, finds out what has become of the unanswered
    operations, and goes on. It never goes back behind what it has seen.

    patience: seconds that a reply may take before it asks elsewhere. With members of its own there is nobody else to ask."""

    def __init__(self, ensemble, root, seed=0, members=None, patience=None, **kw):
        kw.setdefault("timeout", LONG)
        super().__init__(None, root, seed, closes=0, **kw)
        self.ensemble, self.rng = ensemble, random.Random(seed)
        self.members = members or ensemble.members
        self.patience = patience or (20.0 if members else 6.0)
        self.outages, self.longest = 0, 0.0
        self.at = None

    def connect(self):
        begin = time.monotonic()
        while True:
            self.at = self.rng.choice(self.members)
            conn = None
            try:
                conn = Hurried(self.at.addr, timeout=self.timeout, sid=self.sid or 0, passwd=self.passwd or bytes(16),
                               last_zxid=self.zxid)
                assert conn.sid, "%s: session %#x is gone, says %r" % (self.root, self.sid or 0, self.at)
                conn.sync("/")
                if self.at.java:
                    self.fence(conn)
                self.settle(conn)
                break
            except (wire.Closed, wire.Timeout, OSError):
                if conn:
                    conn.close()
                if time.monotonic() - begin > self.ensemble.outage_time:
                    raise AssertionError("%s finds no member that serves" % self.root) from None
                time.sleep(0.02)                    # pause of the polling loop
            except BaseException:
                if conn:
                    conn.close()
                raise
        self.longest = max(self.longest, time.monotonic() - begin)
        self.conn, self.sid, self.passwd = conn, conn.sid, conn.passwd

    def fence(self, conn):
        """What was sent through another member is in the tree, or never will be: a sync at a leader of Java's waits for nothing,
        but a write is answered behind all that have been proposed before it, even one that fails."""
        assert conn.request(wire.delete(self.root + "/none")).err == wire.Err.NO_NODE

    def body(self):
        try:
            while self._more() or self.sent:
                try:
                    self.drive()
                except (wire.Closed, wire.Timeout, OSError):
                    self.outages += 1
                    self.leave()
        except BaseException as e:                  # shown by Load.check
            self.failure = e
        finally:
            self.leave()

    def leave(self):
        if self.conn is not None:
            self.conn.close()
            self.conn = None


class RoamingLoad(Load):
    def __init__(self, ensemble, writers, seed, prefix="/w", **kw):
        self.writers = [Roamer(ensemble, "%s%d" % (prefix, i), seed * 1000 + i, **kw) for i in range(writers)]
        self.threads, self.patience = [], ensemble.outage_time + 10

    def go_on(self, count=30, timeout=None):
        """Until every writer has had so many more replies."""
        marks = [w.acknowledged + count for w in self.writers]
        deadline = time.monotonic() + (timeout or self.patience)
        while any(w.acknowledged < mark for w, mark in zip(self.writers, marks)):
            self.check()
            assert time.monotonic() < deadline, "no progress: %r of %r" % ([w.acknowledged for w in self.writers], marks)
            time.sleep(0.01)                        # pause of the polling loop

    def join(self, timeout=None):
        super().join(timeout or self.patience)


@unittest.skipIf(ON_JAVA, "chooses its servers itself")
class EnsembleTest(Case):
    def ensemble(self, kinds="zzz", options=None, net=None):
        """Started by the test; removed at its end."""
        e = Ensemble(kinds, options, net)
        self.addCleanup(e.remove)
        self._ensembles.append(e)
        return e

    def run(self, result=None):
        self._ensembles = []
        return super().run(result)

    def doCleanups(self):
        for m in [m for e in self._ensembles for m in e.members if os.path.exists(m.log_path)]:
            self._tails.append("%r\n%s" % (m, "\n".join(line[:300] for line in m.log_tail(60).splitlines())))
        return super().doCleanups()

    def load(self, ensemble, writers, seed=SEED, **kw):
        load = RoamingLoad(ensemble, writers, seed, **kw)
        self.addCleanup(lambda: [setattr(w, "stopping", True) for w in load.writers])
        return load

    def under_load(self, ensemble, writers, count=30, **kw):
        """A load that is under way: each writer has had so many replies."""
        load = self.load(ensemble, writers, **kw)
        load.start()
        load.go_on(count)
        return load

    def connect(self, member, **kw):
        kw.setdefault("timeout", LONG)
        conn = member.connect(**kw)
        self.addCleanup(conn.close)
        return conn

    def renew(self, conn, member, **kw):
        """The session of conn on another member, as soon as that has seen what the client has seen."""
        def attempt():
            try:
                return self.connect(member, sid=conn.sid, passwd=conn.passwd, **kw)
            except wire.Closed:
                return None
        return self.wait_for(attempt, what="the renewal at %r" % member)

    def kazoo(self, ensemble, members=None, **kw):
        kw.setdefault("timeout", 20.0)
        kw.setdefault("connection_retry", dict(kz.RETRY))
        kw.setdefault("command_retry", dict(kz.RETRY))
        client = KazooClient(hosts=ensemble.hosts(members), **kw)
        self.addCleanup(client.close)
        self.addCleanup(client.stop)
        client.start(WAIT_TIME)
        return client

    def wait_for(self, condition, timeout=WAIT_TIME, what="condition"):
        return super().wait_for(condition, timeout, what)

    def wait_until_logged(self, *members):
        """Until each has something in its log: its tree may have that earlier. With nothing it would come back for a snapshot."""
        for m in members:
            self.wait_for(lambda m=m: store.log_entries(m.path("version-2")), what="a log of %r" % m)

    def write_many(self, conn, path, count=3000):
        """So many changes of one node, which is made if need be: more than a short window holds (500)."""
        conn.request(wire.create(path))
        for n in range(0, count, 200):
            self.assertFalse([r for r in conn.results(*[wire.set_data(path, b"%d" % i * 20) for i in range(n, n + 200)])
                              if isinstance(r, int)])

    def assert_same_trees(self, ensemble, load=None, shaken=False):
        """All members that run have the same tree, to the last field, and no wrong digest was seen. Returns it.
        shaken: a leader died under load. A Java follower that is just catching up then applies some transactions twice, counts
        wrong digests and mends itself with what follows; also among Java servers alone."""
        members = ensemble.running()
        trees = [m.tree() for m in members]
        for m, tree in zip(members[1:], trees[1:]):
            lines = store.differences(trees[0], tree)
            self.assertFalse(lines, "%r and %r\n%s" % (members[0], m, "\n".join(lines)))
        for m in [m for m in members if not (m.java and shaken)]:
            self.assertEqual(m.mntr().get("zk_digest_mismatches_count"), "0", repr(m))
        for w in load.writers if load else ():
            own = {p: n for p, n in trees[0].items() if p == w.root or p.startswith(w.root + "/")}
            self.assertEqual(w.model.differences(own), [])
        return trees[0]

    def fails(self, code, call, *args, **kw):
        with self.assertRaises(wire.ZkError) as caught:
            call(*args, **kw)
        self.assertEqual(caught.exception.code, code)
