"""Members that were away come back: after few writes and many, with nothing at all, while others write; and what a follower of
Java's must survive.

ZABRA_TEST_FULL=1 takes the sizes that a long absence has."""
import os
import shutil
import time
import unittest

from lib import store, wire
from lib.dirs import longer
from lib.ensemble import FULL, EnsembleTest
from lib.wire import EPHEMERAL

WRITES = 100000 if FULL else 10000
EPHEMERALS = 100000 if FULL else 10000
ZNODES = 1000000 if FULL else 50000
SYNC_TIME = 300 if FULL else 90
JAVA = shutil.which("java") and os.path.exists("/usr/share/java/zookeeper.jar")
WINDOW = 2000            # requests on their way


class CatchUp(EnsembleTest):
    def ensemble(self, kinds="zzz", options=None):
        longer(1500 if FULL else 180)
        # A snapshot of a large tree, or a long history and then the load, takes Java longer than the rest of the tests allows for.
        e = super().ensemble(kinds, dict({"initLimit": 240, "syncLimit": 40}, **(options or {})))
        for m in e.members:
            m.java_heap = "2g" if FULL else m.java_heap
        return e

    def lead_by_3(self, kinds, options=None):
        e = self.ensemble(kinds, options)
        self.assertEqual(e.start(1, 3).id, 3)
        self.assertEqual(e.start().id, 3)
        for m in e.members:
            conn = self.connect(m)
            conn.create("/has%d" % m.id)
            conn.end_session()
        self.wait_until_logged(*e.members)
        return e

    def many(self, conn, requests):
        """All of them, in pieces."""
        for n in range(0, len(requests), WINDOW):
            for result in conn.results(*requests[n:n + WINDOW]):
                self.assertFalse(isinstance(result, int) and result, result)

    def make(self, conn, parent, count, data=b"x" * 20):
        """So many znodes below a new one."""
        conn.create(parent)
        multis = [wire.multi(*[wire.create("%s/%07d" % (parent, i), data) for i in range(n, min(n + 500, count))])
                  for n in range(0, count, 500)]
        for n in range(0, len(multis), 8):
            conn.results(*multis[n:n + 8])

    def assert_equal(self, e, load=None, shaken=False):
        """Small trees are compared field by field, others by what each transaction says that their digest is."""
        counts = set()
        last = self.connect(e.leader())
        last.create("/compared", flags=wire.SEQUENTIAL)
        for m in e.members:
            conn = self.connect(m)
            conn.sync("/")
            counts.add(m.mntr()["zk_znode_count"])
            conn.end_session()
        last.end_session()
        self.assertEqual(len(counts), 1, counts)
        if int(counts.pop()) <= 50000:
            self.assert_same_trees(e, load, shaken)
        for m in e.members if not shaken else ():
            self.assertEqual(m.mntr().get("zk_digest_mismatches_count"), "0", repr(m))

    def comes_back(self, e, member):
        """Starts it; returns the leader's first line about how, and the seconds."""
        before, begin = len(e[3].log()), time.monotonic()
        member.begin()
        e.wait(SYNC_TIME)
        took = time.monotonic() - begin
        lines = [line for line in e[3].said(before).splitlines() if "learner %d is at" % member.id in line]
        return (lines or [""])[0].partition("INFO  ")[2], took

    def away(self, kinds, writes):
        e = self.lead_by_3(kinds)
        conn = self.connect(e[3])
        conn.create("/over")
        load = self.load(e, 2, members=[e[3]])
        e[1].kill()
        self.many(conn, [wire.set_data("/over", b"%d" % n) for n in range(writes)])
        load.start()
        load.go_on()
        line, took = self.comes_back(e, e[1])
        load.go_on()
        load.stop()
        self.assertEqual([w.outages for w in load.writers], [0] * 2)
        self.assertEqual(e[3].mode(), "leader")
        print("%s: away for %d writes: %.2f s; %s" % (kinds, writes, took, line))
        self.assert_same_trees(e, load)
        return e, line

    def test_away_for_10_writes(self):
        e, line = self.away("zzz", 10)
        self.assertIn("DIFF", line)

    def test_away_for_many_writes(self):
        e, line = self.away("zzz", WRITES)
        self.assertTrue(line)
        e[1].restart(crash=True)                    # what it has on its disk is complete
        self.assert_same_trees(e)

    @unittest.skipUnless(JAVA, "no Java server here")
    def test_a_follower_of_java_away_for_many_writes(self):
        self.away("jzz", WRITES)

    @unittest.skipUnless(JAVA, "no Java server here")
    def test_away_from_a_leader_of_java_for_many_writes(self):
        self.away("zzj", WRITES)

    def wiped(self, kinds):
        """Gets everything, while others write."""
        e = self.lead_by_3(kinds)
        conn = self.connect(e[3])
        self.make(conn, "/big", ZNODES)
        load = self.load(e, 2, members=[e[3]])
        e[1].kill()
        e[1].wipe()
        load.start()
        load.go_on()
        done = load.acknowledged()
        line, took = self.comes_back(e, e[1])
        written = load.acknowledged() - done
        load.go_on()
        load.stop()
        print("%s: wiped, %d znodes: %.2f s, %d writes meanwhile; %s" % (kinds, ZNODES, took, written, line))
        self.assertEqual([w.outages for w in load.writers], [0] * 2)
        self.assertGreater(written, 0)
        self.assert_equal(e, load)
        e[1].restart(crash=True)
        self.assert_equal(e, load)

    def test_wiped(self):
        self.wiped("zzz")

    @unittest.skipUnless(JAVA, "no Java server here")
    def test_a_follower_of_java_wiped(self):
        self.wiped("jzz")

    def wiped_after_another(self, kinds):
        """The snapshot that was made for the first one serves the second, too; log files have what follows."""
        e = self.lead_by_3(kinds + "Z", {"logWindowBytes": 1000, "snapshotSizeFactor": 0, "snapCount": 10000000})
        conn = self.connect(e[3])
        self.make(conn, "/big", ZNODES)
        conn.create("/over")
        early, late = self.connect(e[3]), self.connect(e[2])
        early.create("/early", flags=EPHEMERAL)
        late.create("/late", flags=EPHEMERAL)
        e[4].kill()
        e[4].wipe()
        line, took = self.comes_back(e, e[4])
        self.assertNotIn("log files", line)
        snapshots = store.named(e[3].path("version-2"), "snapshot")
        load = self.load(e, 2, members=[e[3]])
        load.start()
        self.many(conn, [wire.set_data("/over", b"%d" % n) for n in range(2000)])
        early.end_session()
        early = self.connect(e[2])
        early.create("/early", flags=EPHEMERAL)
        e[1].kill()
        e[1].wipe()
        load.go_on()
        line, took = self.comes_back(e, e[1])
        load.go_on()
        load.stop()
        print("%s: wiped, %d znodes: %.2f s; %s" % (kinds, ZNODES, took, line))
        self.assertRegex(line, "gets the snapshot of 0x%x, then what the log files hold" % store.zxid_of(snapshots[-1]))
        self.assertEqual(store.named(e[3].path("version-2"), "snapshot"), snapshots)
        self.assertEqual(e[3].mntr()["zk_zabra_log_snap_count"], "1")
        self.assertEqual([w.outages for w in load.writers], [0] * 2)
        for m in e.members:
            here = self.connect(m)
            here.sync("/")
            self.assertEqual(here.get_data("/early")[1].ephemeralOwner, early.sid)
            self.assertEqual(here.get_data("/late")[1].ephemeralOwner, late.sid)
            here.end_session()
        self.assert_equal(e, load)
        e[1].restart(crash=True)
        self.assert_equal(e, load)

    def test_wiped_after_another(self):
        self.wiped_after_another("zzz")

    @unittest.skipUnless(JAVA, "no Java server here")
    def test_a_follower_of_java_wiped_after_another(self):
        self.wiped_after_another("jzz")

    @unittest.skipUnless(JAVA, "no Java server here")
    def test_the_end_of_a_large_session_before_a_follower_of_java(self):
        """The list of its ephemerals is one transaction, which Java's servers must be able to read, and read back."""
        e = self.lead_by_3("jzz")
        owner, other = self.connect(e[3]), self.connect(e[1])
        owner.create("/eph")
        self.many(owner, [wire.create("/eph/%07d" % n, b"", flags=EPHEMERAL) for n in range(EPHEMERALS)])
        other.sync("/")
        self.assertEqual(other.get_children2("/eph")[1].numChildren, EPHEMERALS)
        other.create("/mine", flags=EPHEMERAL)
        begin = time.monotonic()
        owner.end_session()
        other.sync("/")
        self.assertEqual(other.get_children("/eph"), [])
        print("the end of a session with %d ephemerals: %.2f s" % (EPHEMERALS, time.monotonic() - begin))
        self.assertEqual([m.mode() for m in e.members], ["follower", "follower", "leader"])
        self.assertEqual(self.connect(e[1]).get_data("/mine")[1].ephemeralOwner, other.sid)
        self.assert_equal(e)
        e[1].restart(crash=True)
        e.wait()
        self.assert_equal(e)
