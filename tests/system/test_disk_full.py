"""A small filesystem is filled under load: reads, deletes, pings and sessions go on, growing writes are
refused with -125, and everything is served again when there is space, without a restart."""
import os
import random
import signal

from lib import store, wire
from lib.dirs import DirTest, longer
from lib.load import Load
from lib.space import MB, Space, size_of
from lib.wire import EPHEMERAL, Err

SEED = int(os.environ.get("ZABRA_TEST_SEED", random.SystemRandom().randrange(10**6)))
FULL_TIME = 40.0         # seconds until a filled disk has shown
FREE_TIME = 30.0         # seconds until freed space is used again


class DiskFull(DirTest):
    options = {"forceSync": "yes", "diskReserve": 1 * MB, "preAllocSize": 256, "snapCount": 1000}

    def setUp(self):
        super().setUp()
        longer(240)

    def server_on(self, size, **options):
        server = self.zabra(options)
        space = Space(server.data, size)
        self.addCleanup(space.close)
        if not space.mounted:
            self.skipTest("a tmpfs cannot be mounted here")
        server.prefix = space.prefix
        server.space = space
        self.start(server)
        return server, space

    def start(self, server, ballast=True):
        """Starts it; ballast: and waits until it has reserved the space for bad times, if it can."""
        server.start()
        reserve = int(server.options["diskReserve"])
        if ballast and server.space.free() > 4 * reserve:
            self.wait_for(lambda: server.space.reserve() == reserve, what="ballast")

    def refused(self, conn, path="/refused"):
        """Are growing writes refused at the moment?"""
        reply = conn.request(wire.create(path))
        if reply.err == 0:
            conn.request(wire.delete(path))
        else:
            self.assertEqual(reply.err, Err.QUOTA_EXCEEDED)
        return reply.err != 0

    def check_refused(self, conn, used):
        """What is and what is not possible now."""
        self.fails(conn, wire.create("/x", bytes(100)))
        self.fails(conn, wire.set_data("/keep", bytes(100)))
        self.fails(conn, wire.create("/e", flags=EPHEMERAL))
        self.fails(conn, wire.multi(wire.check("/keep"), wire.create("/x")))
        zxid = conn.request(wire.ping()).zxid
        self.assertEqual(conn.get_data("/keep")[0], b"kept")
        self.assertEqual(conn.request(wire.ping()).zxid, zxid, "a refused write used a zxid")
        conn.delete(used.pop())
        conn.multi(wire.check("/keep"), wire.delete(used.pop()))
        conn.sync("/")
        self.assertNotIn("refused", conn.get_children("/"))

    def fails(self, conn, request):
        self.assertEqual(conn.request(request).err, Err.QUOTA_EXCEEDED)

    def test_filled_by_others(self):
        """Somebody else's file takes the space, and gives it back."""
        server, space = self.server_on(24 * MB)
        conn = self.connect(server, timeout=60000)
        conn.create("/keep", b"kept")
        used = ["/d%d" % n for n in range(20)]
        for path in used:
            conn.create(path, bytes(1000))
        conn.create("/own", flags=EPHEMERAL)
        other = self.connect(server, timeout=60000)
        other.create("/other", flags=EPHEMERAL)
        space.fill(server)
        self.wait_for(lambda: self.refused(conn), FULL_TIME, "refusal")
        self.check_refused(conn, used)
        # Sessions: new ones, their end, renewal, and the ephemerals of one that ends.
        other.end_session()
        self.assertEqual(conn.get_children("/").count("other"), 0)
        third = self.connect(server, timeout=60000)
        third.ping()
        again = self.connect(server, sid=third.sid, passwd=third.passwd, timeout=60000)
        self.assertEqual(again.sid, third.sid)
        again.end_session()
        self.assertIn("the log's disk", server.log())
        self.assertEqual(server.mntr()["zk_zabra_growth_refused"], "1")
        # A crash now loses nothing, and a start on the full disk serves what it can.
        before = store.read_tree(conn)
        server.kill()
        self.start(server)
        conn = self.connect(server, sid=conn.sid, passwd=conn.passwd, timeout=60000)
        self.assertEqual(conn.get_ephemerals("/"), ["/own"])
        self.assert_same_tree(before, store.read_tree(conn), "after a crash on the full disk")
        self.wait_for(lambda: self.refused(conn), FULL_TIME, "refusal after the restart")
        self.check_refused(conn, used)
        # And space returns.
        space.release()
        self.wait_for(lambda: not self.refused(conn), FREE_TIME, "writes again")
        conn.create("/x", bytes(100))
        conn.set_data("/keep", b"changed")
        self.assertEqual(server.mntr()["zk_zabra_growth_refused"], "0")
        server.kill()
        self.start(server)
        conn = self.connect(server, sid=conn.sid, passwd=conn.passwd, timeout=60000)
        self.assertEqual(conn.get_data("/keep")[0], b"changed")
        conn.end_session()
        server.stop()

    def test_filled_by_writes(self):
        """The log itself takes the space, under load, until the volume grows."""
        server, space = self.server_on(40 * MB, **{"autopurge.purgeInterval": 1})
        load = Load(server.addr, 2, SEED, refused=(Err.QUOTA_EXCEEDED,), closes=0)
        load.start()
        big = self.connect(server, timeout=60000)
        big.create("/big")
        paths = []
        def full():
            """For all of them: until the tree is large, a snapshot may help for a while."""
            path = "/big/%d" % len(paths)
            err = big.request(wire.create(path, bytes(200000))).err
            if err == 0:
                paths.append(path)
                self.assertLess(len(paths), 300, "the disk does not get full")
            else:
                self.assertEqual(err, Err.QUOTA_EXCEEDED)
            return err and all(w.refusals for w in load.writers)
        self.wait_for(full, 3 * FULL_TIME, "refusal of all")
        self.assertEqual(big.get_data(paths[-1])[1].dataLength, 200000)
        load.stop()
        server.kill()
        self.start(server)
        load.settle(server.addr)
        self.assertGreaterEqual(server.zxid(), load.zxid())
        big = self.connect(server, sid=big.sid, passwd=big.passwd, timeout=60000)
        self.assertEqual(big.get_children2("/big")[1].numChildren, len(paths))
        for path in paths[:50]:
            big.delete(path)
        load.start()
        space.resize(200 * MB)
        self.wait_for(lambda: not self.refused(big, "/big/r"), FREE_TIME, "writes again")
        goal = load.acknowledged() + 100
        self.wait_for(lambda: load.acknowledged() > goal, FULL_TIME, "progress")
        load.stop()
        server.kill()
        self.start(server)
        load.settle(server.addr)
        server.stop()

    def overwrite(self, conn, total):
        """Writes much into few nodes: so many bytes of log, a small tree.  What is refused is soon taken again."""
        done = 0
        while done < total:
            reply = conn.request(wire.set_data("/over/%d" % (done // 100000 % 10), os.urandom(100000)))
            if reply.err:
                self.assertEqual(reply.err, Err.QUOTA_EXCEEDED)
                self.wait_for(lambda: not self.refused(conn, "/over/r"), FULL_TIME, "writes again, by itself")
            else:
                done += 100000

    def check_rescued(self, server, space):
        self.assertRegex(server.log(), "the disk (is still|will soon be) full: a new log and a snapshot")
        self.assertRegex(server.log(), r"removed log\.")
        logs = store.named(space.path("version-2"), "log")
        snapshots = store.named(space.path("version-2"), "snapshot")
        self.assertLess(sum(map(size_of, logs)), 30 * MB)
        self.assertGreaterEqual(len(snapshots), 1)

    def test_filled_by_its_own_logs(self):
        """With retention on, a server whose logs fill the disk takes a snapshot, lets older logs go, and
        takes writes again: again and again, by itself.  It has had no other snapshot than the empty one."""
        server, space = self.server_on(24 * MB, **{"autopurge.purgeInterval": 1, "snapCount": 10**6})
        conn = self.connect(server, timeout=60000)
        conn.create("/over")
        for n in range(10):
            conn.create("/over/%d" % n)
        self.overwrite(conn, 60 * MB)
        self.check_rescued(server, space)
        tree = store.read_tree(conn)
        server.kill()
        self.start(server)
        conn = self.connect(server, sid=conn.sid, passwd=conn.passwd, timeout=60000)
        self.assert_same_tree(tree, store.read_tree(conn), "after a crash")
        self.overwrite(conn, 30 * MB)
        tree = store.read_tree(conn)
        server.stop()
        self.start(server)
        self.assert_same_tree(tree, store.read_all(server.addr), "after a stop")
        server.stop()

    def test_filled_by_its_own_logs_under_load(self):
        """The same with a stream of other requests, snapshots by count, and a tree larger than the reserve."""
        server, space = self.server_on(32 * MB, **{"autopurge.purgeInterval": 1, "snapCount": 200})
        load = Load(server.addr, 2, SEED, refused=(Err.QUOTA_EXCEEDED,), closes=0)
        load.start()
        conn = self.connect(server, timeout=60000)
        conn.create("/over")
        for n in range(10):
            conn.create("/over/%d" % n)
        for n in range(5):
            conn.multi(*[wire.create("/over/%d/%d" % (n, i), bytes(1000)) for i in range(700)])
        self.overwrite(conn, 60 * MB)
        goal = load.acknowledged() + 100
        self.wait_for(lambda: load.acknowledged() > goal, FULL_TIME, "progress")
        self.assertRegex(server.log(), r"removed log\.")
        load.stop()
        server.kill()
        self.start(server)
        load.settle(server.addr)
        self.assertGreaterEqual(server.zxid(), load.zxid())
        server.stop()

    def test_without_retention_nothing_goes(self):
        server, space = self.server_on(16 * MB, snapCount=10**6)
        conn = self.connect(server, timeout=60000)
        conn.create("/over")
        while not conn.request(wire.set_data("/over", os.urandom(100000))).err:
            pass
        before = sorted(os.listdir(space.path("version-2")))
        self.wait_for(lambda: self.refused(conn), what="refusal")
        for _ in range(3):
            conn.end_session()
            conn = self.connect(server, timeout=60000)
        server.kill()
        self.start(server, ballast=False)
        conn = self.connect(server, timeout=60000)
        self.wait_for(lambda: conn.request(wire.set_data("/over", bytes(100000))).err, FULL_TIME, "refusal")
        left = os.listdir(space.path("version-2"))
        self.assertLessEqual({n for n in before if n[:4] in ("log.", "snap")}, set(left))
        self.assertNotIn("removed", server.log())
        server.stop()

    def test_start_on_a_full_disk(self):
        """Killed on a disk without a free block or a ballast: what the log had reserved is enough to go on."""
        server, space = self.server_on(24 * MB)
        conn = self.connect(server, timeout=60000)
        conn.create("/d", bytes(1000))
        conn.create("/e", bytes(1000))
        space.fill(server)
        server.kill()
        space.drop_reserve()
        space.take()
        self.assertEqual(space.free(), 0)
        self.start(server, ballast=False)
        conn = self.connect(server, timeout=60000)
        conn.delete("/d")
        self.fails(conn, wire.create("/x"))
        other = self.connect(server, timeout=60000)
        other.delete("/e")
        other.end_session()
        space.release()
        self.wait_for(lambda: not self.refused(conn), FREE_TIME, "writes again")
        server.stop()

    def test_start_on_a_disk_full_of_logs(self):
        """What retention may remove goes at the start, too."""
        server, space = self.server_on(24 * MB, snapCount=10**6)
        conn = self.connect(server, timeout=60000)
        conn.create("/over")
        conn.set_data("/over", bytes(100000))
        while not conn.request(wire.set_data("/over", os.urandom(100000))).err:
            pass
        before = conn.get_data("/over")[0]
        server.kill()
        space.drop_reserve()
        server.options["autopurge.purgeInterval"] = 1
        self.start(server, ballast=False)
        conn = self.connect(server, timeout=60000)
        self.assertEqual(conn.get_data("/over")[0], before)
        self.wait_for(lambda: "log.1" not in os.listdir(space.path("version-2")), FULL_TIME, "purge")
        self.wait_for(lambda: not conn.request(wire.set_data("/over", bytes(200000))).err, FULL_TIME, "writes again")
        server.stop()

    def test_filled_right_after_the_start(self):
        """There is no moment without the reserve."""
        server, space = self.server_on(24 * MB)
        server.kill()
        space.drop_reserve()
        self.start(server, ballast=False)
        conn = self.connect(server)
        conn.create("/a", bytes(1000))
        space.fill(server)
        for n in range(400):                        # more than the log has reserved
            conn.send(wire.create("/a/%d" % n, bytes(1000)))
            reply = conn.reply()
            if reply.err:
                break
        self.assertEqual(reply.err, Err.QUOTA_EXCEEDED)
        conn.delete("/a/0")
        server.stop()

    def test_more_in_flight_than_reserved(self):
        """Many large writes are on their way when the last byte goes."""
        server, space = self.server_on(24 * MB)
        conns = [self.connect(server, timeout=60000) for _ in range(20)]
        for n, conn in enumerate(conns):
            conn.create("/d%d" % n)
        space.fill(server, 300000)
        server.process.send_signal(signal.SIGSTOP)     # so that they arrive together
        for n, conn in enumerate(conns):
            conn.send(wire.set_data("/d%d" % n, bytes(100000)))
        server.process.send_signal(signal.SIGCONT)
        other = self.connect(server, timeout=60000)
        conns[0].send(wire.delete("/d19"))
        for n, conn in enumerate(conns):
            self.assertIn(conn.reply().err, (0, Err.QUOTA_EXCEEDED))
        other.end_session()
        space.release()
        self.wait_for(lambda: not self.refused(conns[1]), FREE_TIME, "writes again")
        server.stop()

    def test_crashes_on_a_full_disk(self):
        """Filled and freed again and again, killed at any time."""
        rng = random.Random(SEED)
        server, space = self.server_on(16 * MB, **{"autopurge.purgeInterval": 1, "diskReserve": 512 * 1024,
                                                   "snapCount": 200})
        load = Load(server.addr, 3, SEED, refused=(Err.QUOTA_EXCEEDED,))
        for n in range(10):
            load.start()
            goal = load.acknowledged() + 20
            self.wait_for(lambda: load.acknowledged() > goal, FULL_TIME, "progress")
            space.fill(server, rng.choice((0, 5000, 100000, 400000)))
            if rng.random() < 0.5:
                self.wait_for(lambda: server.mntr()["zk_zabra_growth_refused"] == "1", FULL_TIME, "refusal")
            if rng.random() < 0.5:
                space.release()
            server.kill()
            load.join()
            self.start(server)
            # A start without any space can serve only what needs no log; new sessions wait for it.
            if os.path.exists(space.path("filler")):
                space.release()
            with self.subTest(seed=SEED, round=n):
                self.assertGreaterEqual(server.zxid(), load.zxid())
                load.settle(server.addr)
        load.run(20)
        server.stop()


