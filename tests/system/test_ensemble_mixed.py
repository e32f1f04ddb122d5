"""Ensembles of zabra's and Java's servers: whoever leads, all members have the same tree, and nothing acknowledged is lost.

ZABRA_TEST_FULL=1 makes the runs longer and tries all mixes everywhere."""
import os
import re
import shutil
import threading
import unittest

from kazoo.client import KazooState

from lib import wire
from lib.dirs import longer
from lib.ensemble import FULL, SEED, EnsembleTest
from lib.wire import EPHEMERAL, EPHEMERAL_SEQUENTIAL, SEQUENTIAL, TTL, TTL_SEQUENTIAL, Err

KILLS = 20 if FULL else 2
# Server 3 leads: with equal histories the largest number wins.
JAVA_LEADS, ZABRA_LEADS = ("zjj", "zzj"), ("jjz", "jzz")
MIXES = JAVA_LEADS + ZABRA_LEADS
FIVES = ("zzjjz", "jjzzj") if FULL else ("zzjjz",)
AUTH = [(wire.ALL, "auth", "")]


@unittest.skipUnless(shutil.which("java") and os.path.exists("/usr/share/java/zookeeper.jar"), "no Java server here")
class MixedTest(EnsembleTest):
    def ensemble(self, kinds, options=None):
        """Attempts of two Java servers that are left alone (see Ensemble.outage_time) take five seconds."""
        return super().ensemble(kinds, dict({"initLimit": 10}, **(options or {})))

    def lead_by_3(self, kinds, options=None):
        """Two elect 3, the others join."""
        e = self.ensemble(kinds, options)
        self.assertEqual(e.start(1, 3).id, 3)
        self.assertEqual(e.start().id, 3)
        return e

    def one_by_one(self, mixes, function, *args):
        for kinds in mixes:
            with self.subTest(kinds):
                longer(300 if not FULL else 900)
                before = len(self._ensembles)
                function(kinds, *args)
                while len(self._ensembles) > before:    # before the next one, to save memory
                    self._ensembles.pop().remove()

    def synced_by(self, member, how, since=0):
        """DIFF or SNAP, as the learner tells it."""
        text = member.said(since)
        if member.java:
            self.assertIn({"DIFF": "Getting a diff from the leader", "SNAP": "Getting a snapshot from leader"}[how], text)
        elif how == "SNAP":
            self.assertIn("the leader sends a snapshot", text)
        else:
            self.assertNotIn("the leader sends a snapshot", text)


class Operations(MixedTest):
    def test_all_operations_through_every_member(self):
        self.one_by_one(MIXES, self.operations)

    def operations(self, kinds):
        e = self.lead_by_3(kinds, {"znode.container.checkIntervalMs": 500})
        owners, third = {}, self.connect(e[3])
        for m in e.members:
            conn, top = self.connect(m), "/%d" % m.id
            conn.auth("digest", b"user%d:pw" % m.id)
            conn.create(top, b"top")
            self.assertEqual(conn.create(top + "/s", flags=SEQUENTIAL), top + "/s0000000000")
            self.assertEqual(conn.create(top + "/s", flags=EPHEMERAL_SEQUENTIAL), top + "/s0000000001")
            conn.create2(top + "/two", b"2")
            conn.create(top + "/e", b"e", flags=EPHEMERAL)
            conn.create_container(top + "/kept")
            conn.create(top + "/kept/child")
            conn.create_container(top + "/reaped")
            conn.create(top + "/reaped/child")
            conn.create_ttl(top + "/ttl", 10**9)
            conn.create_ttl(top + "/ttl", 10**9, flags=TTL_SEQUENTIAL)
            conn.create_ttl(top + "/short", 1, flags=TTL)
            conn.create(top + "/mine", b"", AUTH)
            conn.create(top + "/acl")
            conn.set_acl(top + "/acl", [(wire.READ, "world", "anyone"), (wire.ALL, "digest", "x:y")], 0)
            # A Java leader goes by the old ACL until its own tree has the new one, perhaps after a follower has replied.
            self.wait_for(lambda: self.acl_length(third, top + "/acl") == 2, what="the new ACL in the leader's tree")
            self.fails(Err.NO_AUTH, conn.set_data, top + "/acl", b"")
            self.fails(Err.INVALID_ACL, conn.set_acl, top + "/mine", [(31, "nonsense", "x")])
            self.fails(Err.NO_NODE, conn.create, top + "/none/a")
            self.fails(Err.NO_CHILDREN_FOR_EPHEMERALS, conn.create, top + "/e/a")
            self.fails(Err.NOT_EMPTY, conn.delete, top)
            conn.set_data(top, b"changed", 0)
            self.fails(Err.BAD_VERSION, conn.set_data, top, b"", 0)
            conn.multi(wire.create(top + "/m"), wire.set_data(top + "/m", b"1"), wire.check(top, 1),
                       wire.create(top + "/m/e", flags=EPHEMERAL), wire.delete(top + "/two"))
            failed = conn.multi(wire.create(top + "/n"), wire.check(top, 7), wire.delete(top + "/m"))
            self.assertEqual(failed, [(-1, 0), (-1, Err.BAD_VERSION), (-1, Err.RUNTIME_INCONSISTENCY)])
            conn.delete(top + "/reaped/child")
            owners[m] = conn
        watcher = owners[e[1]]

        def reaped():
            watcher.sync("/")
            return not any(watcher.request(wire.exists("/%d/%s" % (m.id, n))).err == 0
                           for m in e.members for n in ("reaped", "short"))
        self.wait_for(reaped, what="the end of the container and the short TTL")
        tree = self.assert_same_trees(e)
        self.assertIn("/1/kept", tree)
        for m, conn in owners.items():
            self.assertEqual(tree["/%d/e" % m.id].stat.ephemeralOwner, conn.sid)
            self.assertEqual(tree["/%d/mine" % m.id].acl[0][1], "digest")
            for other in owners.values():
                if other is not conn:
                    self.fails(Err.NO_AUTH, other.get_data, "/%d/mine" % m.id)
        for m in e.members:                         # sessions end where they are, and where they are not
            owners[m].end_session()
            tree = self.assert_same_trees(e)
            self.assertFalse([p for p, n in tree.items() if n.stat.ephemeralOwner == owners[m].sid])
        leader = e[3]
        leader.kill()
        e.wait()
        leader.start()
        self.assert_same_trees(e)

    @staticmethod
    def acl_length(conn, path):
        reply = conn.request(wire.get_acl(path))
        return 0 if reply.err == Err.NO_NODE else len(wire.decode(wire.Op.GET_ACL, reply)[0])

    def test_quotas(self):
        self.one_by_one(MIXES if FULL else ("zjj", "jjz"), self.quotas)

    def quotas(self, kinds):
        e = self.lead_by_3(kinds)
        conns = [self.connect(m) for m in e.members]
        quota = "/zookeeper/quota"
        conns[0].auth("digest", b"super:super")
        conns[0].create("/q", b"12345")
        conns[0].multi(wire.create(quota + "/q"), wire.create(quota + "/q/zookeeper_limits", b"count=3,bytes=100"),
                       wire.create(quota + "/q/zookeeper_stats", b"count=1,bytes=5"))
        for n, conn in enumerate(conns):
            conn.sync("/")
            conn.create("/q/n%d" % n, b"x" * 10)
            conn.set_data("/q/n%d" % n, b"y" * 40)
            self.assert_same_trees(e)
        conns[1].delete("/q/n0")
        tree = self.assert_same_trees(e)
        self.assertIn(b"count=3,bytes=85", tree[quota + "/q/zookeeper_stats"].data)

    def test_sessions_move_between_the_kinds(self):
        self.one_by_one(("zjj", "jzz"), self.sessions_move)

    def sessions_move(self, kinds):
        e = self.lead_by_3(kinds)
        conn = self.connect(e[1])
        conn.create("/e", flags=EPHEMERAL)
        for n, m in enumerate(e.members + e.members[::-1] + e.members):
            old, conn = conn, self.renew(conn, m, last_zxid=conn.last.zxid)
            self.assertEqual(conn.sid, old.sid)
            conn.set_data("/e", b"%d" % n)
            self.assertEqual(conn.get_data("/e")[1].version, n + 1)
            old.close()
        for m in e.members:
            self.assertEqual(self.connect(m, sid=conn.sid, passwd=bytes(16)).sid, 0, "the wrong password at %r" % m)
        conn = self.renew(conn, e[3])    # the attempt there has closed the connection, as in Java
        self.assert_same_trees(e)
        for n, m in enumerate(e.members):
            each = self.connect(m, timeout=4000)
            each.create("/short%d" % n, flags=EPHEMERAL)
            each.close()

        def expired():
            conn.sync("/")
            return not any(name.startswith("short") for name in conn.get_children("/"))
        self.wait_for(expired, what="the expiry of lost sessions")
        self.assertEqual(conn.request(wire.exists("/e")).err, 0)
        conn.end_session()
        self.assertNotIn("/e", self.assert_same_trees(e))

    def test_reads_after_sync(self):
        # Not on a Java leader: there a sync waits for nothing, not even for what followers have applied already.
        self.one_by_one(("zzj", "jjz"), self.reads_after_sync)

    def reads_after_sync(self, kinds):
        e = self.lead_by_3(kinds)
        conns = [self.connect(m) for m in e.members]
        readers = conns[:2] if e[3].java else conns
        conns[0].create("/n")
        for n in range(150):
            conns[n % 3].set_data("/n", b"%d" % n)
            reader = readers[(n + 1 + n // 3 % 2) % len(readers)]
            reader.sync("/n")
            self.assertEqual(reader.get_data("/n")[0], b"%d" % n)


class Words(MixedTest):
    """What the members say about themselves has the same shape, whoever they are."""

    @staticmethod
    def keys(member):
        """Those of a top-level znode are not there yet, those of a queue of packets that there is not never will be."""
        keys = {re.sub(r"_\d+_", "_N_", key) for key in member.mntr()}
        return {key for key in keys if not key.endswith("_per_namespace") and "_learner_handler_qp_" not in key}

    @staticmethod
    def sessions(member):
        return member.word("dump").partition("ephemeral nodes dump")[0]

    @staticmethod
    def shape(text):
        return re.sub(r"=-?\d+\n", "=N\n", re.sub(r"=/.*\n", "=/\n", text))

    def test_of_learners(self):
        e = self.lead_by_3("zjjZJ")
        for m in e.members:
            self.connect(m).create("/by%d" % m.id, b"x")
        for m in e.members:
            self.connect(m).sync("/")
        java = self.keys(e[3])
        for ours, theirs in ((e[1], e[2]), (e[4], e[5])):
            self.assertEqual(self.keys(theirs) - self.keys(ours), set())
            self.assertEqual(self.shape(ours.word("conf")), self.shape(theirs.word("conf")))
            # Of those that have woken a Java member (see Waking) each ends by itself.
            self.wait_for(lambda: "\nGlobal Sessions(10):\n0x" in self.sessions(ours), what="ten sessions")
            self.wait_for(lambda: self.sessions(ours) == self.sessions(theirs), what="the same sessions")
            self.assertEqual(ours.fields().keys(), theirs.fields().keys())
        e = self.lead_by_3("jjz", {"leader.ackLoggingFrequency": 1})
        self.connect(e[1]).create("/x", b"x")
        self.assertEqual(java - self.keys(e[3]) - {k for k in java if k.endswith("_N_ack_latency")}, set())
        acks = {key for key in self.keys(e[3]) if key.endswith("_N_ack_latency")}
        self.assertEqual(len(acks), 9)
        self.assertIn("Proposal sizes last/min/max", e[3].fields())


class Losses(MixedTest):
    def test_the_leader_is_killed_under_load(self):
        self.one_by_one(MIXES, self.leader_killed)

    def test_the_leader_of_five_is_killed_under_load(self):
        self.one_by_one(FIVES, self.leader_killed)

    def leader_killed(self, kinds):
        e = self.lead_by_3(kinds) if len(kinds) == 3 else self.ensemble(kinds)
        leader = e.start()
        load = self.load(e, 4)
        load.start()
        for _ in range(KILLS):
            load.go_on()
            leader.kill()
            dead, leader = leader, e.wait()
            load.go_on()
            dead.begin()
            leader = e.wait()
        load.go_on()
        load.stop()
        self.assert_same_trees(e, load, shaken=True)

    def test_learners_are_restarted_and_wiped(self):
        """DIFF and SNAP, by leaders of one kind to learners of the other."""
        self.one_by_one(MIXES if FULL else ("zjj", "jzz"), self.learners_away)

    def learners_away(self, kinds):
        # Java sends a snapshot to those that have missed 500 changes and more than its newest log.
        e = self.lead_by_3(kinds, {"snapCount": 10**6})
        leader, learner = e[3], e[1]
        self.assertNotEqual(leader.java, learner.java)
        load = self.under_load(e, 3, members=[leader], count=100)
        for stop in (learner.stop, learner.kill):
            self.wait_until_logged(learner)
            stop()
            load.go_on(50)
            before = len(learner.log())
            learner.start()
            self.synced_by(learner, "DIFF", before)
        learner.kill()
        learner.wipe()
        before = len(learner.log())
        learner.start()
        self.synced_by(learner, "SNAP", before)
        load.go_on()
        load.stop()
        self.assertEqual([w.outages for w in load.writers], [0] * 3)
        self.assert_same_trees(e, load)
        learner.restart(crash=True)
        self.assert_same_trees(e, load)
        for m in e.members:
            m.kill()
        e.start()
        self.assert_same_trees(e, load)

    def test_members_that_were_away_get_the_log_files(self):
        """They have missed more than the leader has in memory."""
        self.one_by_one(("jzz", "zjj"), self.log_files)

    def log_files(self, kinds):
        e = self.lead_by_3(kinds, {"logWindowBytes": 1000})
        leader, learner = e[3], e[1]
        conn = self.connect(leader)
        conn.create("/before")
        self.wait_until_logged(learner)
        for n, stop in enumerate((learner.stop, learner.kill), 1):
            stop()
            self.write_many(conn, "/many%d" % n)
            before = len(learner.log())
            learner.start()
            self.synced_by(learner, "DIFF", before)
            if not leader.java:
                self.assertEqual(leader.mntr()["zk_zabra_log_diff_count"], str(n))
                self.assertEqual(leader.mntr()["zk_snap_count"], "0")
        conn.create("/after")
        self.assert_same_trees(e)
        learner.restart(crash=True)
        self.assert_same_trees(e)

    def test_snapshots_of_a_changing_tree(self):
        """A Java leader sends its tree while sessions with ephemerals come and go: it is that of no one moment."""
        longer(240)
        e = self.lead_by_3("zjj")
        base = self.connect(e[3])
        base.create("/big")
        parents = ["/churn%d" % n for n in range(16)]   # some of them come late in the snapshot
        base.multi(*[wire.create(p) for p in parents])
        for n in range(0, 10000, 500):
            base.multi(*[wire.create("/big/%05d" % i, bytes(100)) for i in range(n, n + 500)])
        stop = []

        def churn():
            while not stop:
                conn = wire.Conn(e[3].addr)
                conn.results(*[wire.create(p + "/e", flags=EPHEMERAL_SEQUENTIAL) for p in parents])
                conn.end_session()
        threads = [threading.Thread(target=churn, daemon=True) for _ in range(4)]
        self.addCleanup(stop.append, True)
        for t in threads:
            t.start()
        for n in range(3 if not FULL else 20):
            e[1].kill()
            e[1].wipe()
            before = len(e[1].log())
            e[1].start()
            self.synced_by(e[1], "SNAP", before)
            if n % 2:
                e[1].restart(crash=True)
        stop.append(True)
        for t in threads:
            t.join()
        self.assert_same_trees(e)
        e[1].restart()
        self.assert_same_trees(e)

    def test_observers(self):
        self.one_by_one(("jjjZ", "zzzJ"), self.observer)

    def observer(self, kinds):
        e = self.ensemble(kinds)
        e.start()
        observer = e[4]
        self.assertEqual(observer.mode(), "observer")
        load = self.load(e, 3, members=[observer])
        load.run(100)
        self.assert_same_trees(e, load)
        rest = self.load(e, 3, SEED + 1, prefix="/x", members=e.members[:3])
        rest.start()
        rest.go_on()
        observer.kill()
        rest.go_on()
        observer.start()
        leader = e.wait()
        leader.kill()
        e.wait()
        rest.go_on()
        observer.kill()
        observer.wipe()
        observer.start()
        leader.start()
        rest.go_on()
        rest.stop()
        self.assert_same_trees(e, rest, shaken=True)

    def test_what_only_the_dead_leader_had(self):
        """Is cut from its log, by a leader of the other kind."""
        self.one_by_one(("jjz", "zzj"), self.dead_leader)

    def dead_leader(self, kinds):
        e = self.lead_by_3(kinds)
        leader = e[3]
        conn = self.connect(leader)
        conn.create("/before")
        for m in e.others(leader):
            m.pause()
        for n in range(20):
            conn.send(wire.create("/never%d" % n))
        self.assertRaises(wire.Timeout, conn.reply, 0.5)
        leader.kill()
        for m in e.members[:2]:
            m.kill()
            m.begin()
        new = e.wait()
        self.connect(new).create("/after")
        leader.start()
        tree = self.assert_same_trees(e)
        self.assertEqual([p for p in tree if p.startswith("/never")], [])
        self.assertIn("/before", tree)
        leader.restart(crash=True)
        self.assert_same_trees(e)


class Reconfigurations(MixedTest):
    """A Java leader carries them out, members of zabra's follow."""

    def reconfigure(self, e, member, **change):
        conn = self.connect(member)
        conn.auth("digest", b"super:super")
        try:
            conn.reconfig(**change)
        except wire.Closed:                         # its member takes another role, which closes connections
            pass

    def test_the_leader_is_removed(self):
        """It names one of the others, and that one leads without an election."""
        e = self.lead_by_3("zzj", {"reconfigEnabled": "true"})
        self.connect(e[1]).create("/before", b"x")
        marks = {m: len(m.log()) for m in e.members[:2]}
        self.reconfigure(e, e[1], leaving="3")
        new = self.wait_for(lambda: next((m for m in marks if m.mode() == "leader"), None), what="another leader")
        other = e[3 - new.id]
        self.wait_for(lambda: other.mode() == "follower", what="its follower")
        for m, mark in marks.items():
            self.assertIn("server %d leads, says the new configuration" % new.id, m.said(mark))
            self.assertNotIn("looking for a leader", m.said(mark))
        conn = self.connect(other)
        self.assertNotIn(b"server.3=", conn.get_data("/zookeeper/config")[0])
        conn.create("/after", b"x")
        self.assertEqual(new.mntr()["zk_quorum_size"], "2")
        self.wait_for(lambda: e[3].mode() == "follower", what="the old leader, without a vote")
        self.assertEqual(new.mntr()["zk_synced_non_voting_followers"], "1")
        self.assert_same_trees(e)

    def test_a_voter_observes_and_votes_again(self):
        """Its role changes, the leader stays: it comes back without an election."""
        e = self.lead_by_3("zjj", {"reconfigEnabled": "true"})
        line = "server.1=" + e[1].line().replace("participant", "%s") + ";127.0.0.1:%d" % e[1].port
        for role, mode in (("observer", "observer"), ("participant", "follower")):
            mark = len(e[1].log())
            self.reconfigure(e, e[2], joining=line % role)
            self.wait_for(lambda: e[1].mode() == mode, what="the new role")
            self.assertIn("server 3 leads, says the new configuration", e[1].said(mark))
            self.assertNotIn("looking for a leader", e[1].said(mark))
            self.connect(e[1]).create("/" + role, b"x")
        self.assert_same_trees(e)


class Migration(MixedTest):
    def test_rolling_migration_and_back(self):
        """One server after the other, the leader last, under load; then the way back."""
        longer(300)
        e = self.ensemble("jjj", {"tickTime": 1000})
        leader = e.start()
        load = self.load(e, 4)
        client = self.kazoo(e)
        states = []
        client.add_listener(states.append)
        client.create("/ephemeral", ephemeral=True)
        load.start()
        for java in (False, True):
            leader = e.wait()
            for m in e.others(leader) + [leader]:
                load.go_on()
                m.stop()
                m.java = java
                m.begin()
                e.wait()
            load.go_on()
            self.assertEqual([m.java for m in e.members], [java] * 3)
            self.assertEqual(client.retry(client.get, "/ephemeral")[1].owner_session_id, client.client_id[0])
        load.go_on()
        load.stop()
        self.assertNotIn(KazooState.LOST, states)
        self.assert_same_trees(e, load, shaken=True)
        self.assertTrue(all(w.outages for w in load.writers))
        e.stop()
        for m in e.members:                         # each of them, alone, opened by the other kind
            m.java = False
        e.start()
        self.assert_same_trees(e, load, shaken=True)
