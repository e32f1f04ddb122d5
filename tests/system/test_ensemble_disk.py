"""Members whose disk is full or stands still: the ensemble goes on acknowledging, loses nothing, and they come back by themselves
as soon as the disk does. In every test the members' processes live to the end."""
import os
import time

from lib import shim, wire
from lib.dirs import longer
from lib.ensemble import EnsembleTest
from lib.space import MB, RESERVE, size_of
from lib.wire import Err

SIZE = 24 * MB
LARGE = 1024 * MB
RETURN_TIME = 60.0       # seconds until a member is back when its disk is
OPTIONS = {"forceSync": "yes", "diskReserve": 1 * MB, "preAllocSize": 256, "syncLimit": 12, "initLimit": 8}


class DiskTest(EnsembleTest):
    def ensemble(self, kinds="zzz", options=None):
        longer(150)
        return super().ensemble(kinds, dict(OPTIONS, **(options or {})))

    def came_back(self, e, load):
        """All serve again, with one tree."""
        e.wait(RETURN_TIME)
        load.go_on()
        load.stop()
        return self.assert_same_trees(e, load)


class Stalling(DiskTest):
    def ensemble(self, kinds="zzz", options=None):
        """Each member's disk can be brought to stand still."""
        e = super().ensemble(kinds, options)
        for m in e.members:
            m.stall = os.path.join(m.dir, "stall")
            m.prefix = shim.prefix(m.data, stall=m.stall)
        return e

    def stall(self, member):
        with open(member.stall, "w"):
            pass

    def go_on(self, member):
        os.unlink(member.stall)

    def test_a_follower(self):
        """Is given up when it does not acknowledge for too long; nobody else notices."""
        e = self.ensemble()
        leader = e.start()
        follower = e.others(leader)[0]
        load = self.under_load(e, 3, members=e.others(follower))
        self.stall(follower)
        load.go_on(100)
        self.wait_for(lambda: "it does not acknowledge" in leader.log(), what="the drop")
        self.wait_for(lambda: follower.mode() is None, what="no service there")
        load.go_on(100)
        self.go_on(follower)
        self.came_back(e, load)
        self.assertEqual(e.wait(), leader)
        self.assertEqual([w.outages for w in load.writers], [0] * 3)

    def test_the_leader(self):
        """The two others are enough for every commit; after a while one of them leads."""
        e = self.ensemble()
        old = e.start()
        load = self.under_load(e, 3)
        conn = self.connect(old)
        epoch = int(old.fields()["Zxid"], 16) >> 32
        self.stall(old)
        conn.create("/with two disks", b"x")
        self.assertEqual(conn.last.zxid >> 32, epoch)
        load.go_on(100)
        self.wait_for(lambda: "our disk is too slow" in old.log(), what="its end as the leader")
        new = self.wait_for(lambda: [m for m in e.others(old) if m.mode() == "leader"], what="another leader")[0]
        load.go_on(100)
        self.assertIsNone(old.mode())
        self.go_on(old)
        tree = self.came_back(e, load)
        self.assertIn("/with two disks", tree)
        self.assertEqual(e.wait(), new)

    def test_the_leader_dies_meanwhile(self):
        """What it acknowledged is on the other disks."""
        e = self.ensemble()
        old = e.start()
        load = self.under_load(e, 3)
        self.stall(old)
        load.go_on(100)
        old.kill()
        self.go_on(old)
        e.wait()
        load.go_on()
        old.begin()
        self.came_back(e, load)

    def test_one_that_is_to_lead(self):
        """It cannot note the new epoch: the others do not wait for it longer than for one that is silent."""
        e = self.ensemble()
        e.start(1, 3)
        self.assertEqual(e.start().id, 3)
        load = self.load(e, 3)
        load.run(30)
        self.assert_same_trees(e)
        self.wait_for(lambda: e[3].mntr().get("zk_zabra_learner_2_unacknowledged") == "0", what="a disk with nothing to write")
        self.stall(e[2])
        e[3].kill()
        self.wait_for(lambda: "elected" in e[2].log(), what="the election of one with a stalled disk")
        e[3].begin()
        leader = e.wait_leader(RETURN_TIME)
        self.assertIn(leader, (e[1], e[3]))
        load.start()
        load.go_on(100)
        self.go_on(e[2])
        self.came_back(e, load)

    def test_all(self):
        """Nothing is acknowledged while no disk works."""
        e = self.ensemble(options={"syncLimit": 20})
        e.start()
        load = self.under_load(e, 3)
        conn = self.connect(e[1])
        for m in e.members:
            self.stall(m)
        conn.send(wire.create("/waits"))
        self.assertRaises(wire.Timeout, conn.reply, 1.0)
        for m in e.members:
            self.go_on(m)
        self.assertEqual(conn.reply().err, 0)
        self.came_back(e, load)


class Full(DiskTest):
    def put_on_spaces(self, members):
        for m in members:
            if m.on_space(SIZE) is None:
                self.skipTest("a tmpfs cannot be mounted here")

    def wait_for_reserve(self, *members):
        for m in members:
            self.wait_for(lambda m=m: size_of(m.path(*RESERVE)) == 1 * MB, what="the reserve")

    def led_by_3(self, spaces, options=None):
        """Started so that 3 leads, with small disks for some."""
        e = self.ensemble(options=options)
        self.put_on_spaces([e[n] for n in spaces])
        e.start(1, 3)
        self.assertEqual(e.start().id, 3)
        self.wait_for_reserve(*e.members)
        return e

    def give_room(self, member):
        """More than the load can fill while the member comes back."""
        member.space.release()
        member.space.resize(LARGE)

    def overwrite(self, conn, total, path="/over"):
        """Much log, a small tree. The number of refusals."""
        refused = done = 0
        while done < total:
            reply = conn.request(wire.set_data(path, os.urandom(100000)))
            if reply.err:
                self.assertEqual(reply.err, Err.QUOTA_EXCEEDED)
                refused += 1
                time.sleep(0.05)                    # pause of the polling loop
            else:
                done += 100000
        return refused

    def test_a_follower(self):
        """Nobody is refused anything, not even its own clients; when the reserve is used up it leaves."""
        e = self.led_by_3([1])
        load = self.load(e, 3)
        load.run(30)
        e[1].space.fill(e[1])
        own = self.connect(e[1])     # before the load has used up the reserve
        own.create("/over", bytes(1000))
        load.start()
        self.assertEqual(self.overwrite(self.connect(e[3]), 4 * MB), 0)
        self.wait_for(lambda: e[1].mode() is None, what="no service there")
        load.go_on(100)
        self.assertIn("the log's disk is full", e[1].log())
        self.give_room(e[1])
        self.came_back(e, load)
        self.assertEqual(e.wait(), e[3])

    def test_the_leader(self):
        """Another one leads; writes are refused for a moment at the most."""
        e = self.led_by_3([3])
        load = self.under_load(e, 3, refused=(Err.QUOTA_EXCEEDED,))
        e[3].space.fill(e[3])
        self.wait_for(lambda: "our disk is full" in e[3].log(), what="its end as the leader")
        new = self.wait_for(lambda: [m for m in (e[1], e[2]) if m.mode() == "leader"], what="another leader")[0]
        load.go_on()                                # past what the old leader has answered
        refusals = [w.refusals for w in load.writers]
        load.go_on(100)
        conn = self.connect(new)
        conn.create("/over")
        self.assertEqual(self.overwrite(conn, 4 * MB), 0)
        load.go_on(100)
        self.assertEqual([w.refusals for w in load.writers], refusals)
        self.give_room(e[3])
        self.came_back(e, load)
        self.assertEqual(e.wait(), new)

    def test_all(self):
        """As with a server alone: what grows is refused until there is room, the rest goes on; and no end of elections."""
        e = self.led_by_3([1, 2, 3])
        conn = self.connect(e[1])
        conn.create("/keep", b"kept")
        for n in range(10):
            conn.create("/d%d" % n, bytes(1000))
        for m in e.members:
            m.space.fill(m, 100000)
        self.wait_for(lambda: all("bytes are left" in m.log() or "is full" in m.log() for m in e.members), what="a full disk")
        client = self.kazoo(e)

        def settled():
            """Three elections at the most, then one stays."""
            leader = e.leader()
            if not leader or leader.mntr().get("zk_zabra_growth_refused") != "1":
                return None
            log = leader.log()
            return leader if 0 <= log.rfind("our disk is full") < log.rfind("leading epoch") else None
        leader = self.wait_for(settled, 30, "a leader that stays")
        self.assertLessEqual(sum(m.log().count("our disk is full") for m in e.members), 3)
        conn = self.connect(leader)
        self.assertEqual(conn.request(wire.create("/grows", bytes(100))).err, Err.QUOTA_EXCEEDED)
        for n in range(10):
            conn.delete("/d%d" % n)
        self.assertEqual(client.retry(client.get, "/keep")[0], b"kept")
        for m in e.members:
            m.space.release()
        self.wait_for(lambda: conn.request(wire.create("/grows", bytes(100))).err == 0, RETURN_TIME, "writes again")
        self.assertEqual(e.wait(RETURN_TIME), leader)
        self.assertNotIn("/d0", self.assert_same_trees(e))

    def test_own_logs(self):
        """With retention on, members free a disk that their own logs have filled, and stay."""
        e = self.led_by_3([1, 2, 3], {"autopurge.purgeInterval": 1, "snapCount": 10**6, "syncLimit": 16})
        conn = self.connect(e[3])
        conn.create("/over")

        def logged():
            said = e[3].mntr()
            return all(said.get("zk_zabra_learner_%d_unacknowledged" % n) == "0" for n in (1, 2))
        for _ in range(120):                        # nobody is driven faster than it can free its disk
            self.overwrite(conn, MB // 2)
            self.wait_for(logged, what="logs that have everything")
        self.assertEqual(e.wait(RETURN_TIME), e[3])
        for m in e.members:
            self.assertRegex(m.log(), r"removed log\.")
        self.assert_same_trees(e)
        for m in e.members:
            m.kill()
        e.start()
        self.assert_same_trees(e)

    def test_a_start_on_a_full_disk(self):
        """Without a free block and without a reserve."""
        e = self.led_by_3([1])
        load = self.under_load(e, 3, members=[e[2], e[3]])
        e[1].space.fill(e[1])
        e[1].kill()
        e[1].space.drop_reserve()
        e[1].space.take()
        self.assertEqual(e[1].space.free(), 0)
        e[1].begin()
        load.go_on(200)
        self.assertEqual(self.overwrite_of(e), 0)
        load.go_on(100)
        self.assertTrue(e[1].running())
        self.give_room(e[1])
        self.came_back(e, load)
        self.assertEqual([w.outages for w in load.writers], [0] * 3)

    def overwrite_of(self, e):
        conn = self.connect(e[3])
        conn.create("/over")
        return self.overwrite(conn, 2 * MB)

    def test_a_snapshot_that_does_not_fit(self):
        """A wiped member whose disk is too small for the tree waits until it has grown."""
        e = self.led_by_3([1])
        conn = self.connect(e[3])
        for n in range(40):
            conn.create("/big%d" % n, bytes(500000))
        load = self.load(e, 2, members=[e[2], e[3]])
        e[1].kill()
        e[1].wipe()
        e[1].space.resize(8 * MB)
        e[1].begin()
        load.start()
        self.wait_for(lambda: "snapshot cannot be written" in e[1].log(), what="the snapshot that does not fit")
        load.go_on(100)
        self.assertTrue(e[1].running())
        e[1].space.resize(LARGE)
        self.came_back(e, load)
        self.assertEqual([w.outages for w in load.writers], [0] * 2)
