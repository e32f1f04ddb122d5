"""Which snapshots and logs are deleted, and which never are."""
import os

from lib import store, wire
from lib.dirs import DirTest, longer


def names(server, prefix):
    return [os.path.basename(p) for p in store.named(server.version2, prefix)]


class Retention(DirTest):
    options = {"snapCount": 10}

    def setUp(self):
        super().setUp()
        longer(240)                                 # a hundred writes one after the other, on a slow disk

    def work(self, server, rounds=10):
        """At least so many snapshots, each finished before the next one begins, and the logs for them."""
        conn = self.connect(server)
        for n in range(rounds * 11):
            path = "/n%d" % (n % 7)
            if conn.request(wire.exists(path)).err:
                conn.create(path)
            else:
                conn.set_data(path, b"%d" % n)
            if n % 11 == 10:
                self.wait_for(lambda: server.mntr()["zk_zabra_snapshot_running"] == "0", what="end of the snapshot")
        conn.end_session()

    def started(self, **options):
        server = self.zabra(options)
        server.start()
        return server

    def check_kept(self, server, keep):
        """The newest snapshots, and exactly the logs that the oldest of them needs."""
        def settled():
            """Looked at once: the end of the last session may have begun one more snapshot."""
            snapshots, logs = names(server, "snapshot"), names(server, "log")
            if len(snapshots) != keep:
                return False
            oldest = store.zxid_of(snapshots[0])
            return sum(store.zxid_of(l) <= oldest for l in logs) == 1
        self.wait_for(settled, what="%d snapshots and their logs; there are %r" % (keep, os.listdir(server.version2)))

    def check_opens_from_each(self, server):
        """Each snapshot that is left can be the start of everything."""
        server.start()
        tree, zxid = store.read_all(server.addr), server.zxid()
        server.stop()
        while len(names(server, "snapshot")) > 1:
            os.unlink(os.path.join(server.version2, names(server, "snapshot")[-1]))
            other = self.zabra(data=server.data)
            other.start()
            self.assertGreaterEqual(other.zxid(), zxid)
            self.assert_same_tree(tree, store.read_all(other.addr))
            other.kill()

    def test_off_by_default(self):
        """A zoo.cfg that does not ask for it: nothing is ever deleted, as in Java."""
        server = self.started()
        self.work(server)
        server.restart()
        self.work(server, 5)
        self.assertIn("snapshot.0", names(server, "snapshot"))
        self.assertIn("log.1", names(server, "log"))
        self.assertGreater(len(names(server, "snapshot")), 6)
        server.stop()
        self.assertNotIn("removed", server.log())

    def test_retain_count_alone_does_nothing(self):
        server = self.started(**{"autopurge.snapRetainCount": 3})
        self.work(server)
        self.assertIn("snapshot.0", names(server, "snapshot"))
        server.stop()

    def test_purge(self):
        server = self.started(**{"autopurge.purgeInterval": 1})
        self.work(server)
        self.check_kept(server, 3)
        server.stop()
        self.check_opens_from_each(server)

    def test_count_is_obeyed(self):
        server = self.started(**{"autopurge.purgeInterval": 1, "autopurge.snapRetainCount": 5})
        self.work(server)
        self.check_kept(server, 5)
        server.stop()
        self.check_opens_from_each(server)

    def test_less_than_three_are_three(self):
        server = self.started(**{"autopurge.purgeInterval": 1, "autopurge.snapRetainCount": 1})
        self.work(server)
        self.check_kept(server, 3)
        self.assertRegex(server.log(), r"WARN.*snapRetainCount.*3")
        server.stop()

    def test_at_the_start(self):
        """What an earlier run left goes without waiting for an hour."""
        server = self.started()
        self.work(server)
        self.assertGreater(len(names(server, "snapshot")), 5)
        server.stop()
        server.options["autopurge.purgeInterval"] = 1
        server.start()
        self.check_kept(server, 3)
        server.stop()
        self.check_opens_from_each(server)

    def test_every_deletion_is_told(self):
        server = self.started()
        self.work(server)
        server.stop()
        before = set(names(server, "snapshot") + names(server, "log"))
        server.options["autopurge.purgeInterval"] = 1
        server.start()
        self.check_kept(server, 3)
        server.stop()
        gone = before - set(names(server, "snapshot") + names(server, "log"))
        self.assertGreater(len(gone), 4)
        for name in gone:
            self.assertRegex(server.log(), r"removed %s\b" % name)

    def test_tails_of_older_logs(self):
        """What recovery cut off a log goes when its time is over, and this is said; without retention it stays."""
        server = self.started()
        self.work(server)
        server.stop()
        tails = ["set-aside.tail.1.1", "set-aside.tail.ffff.1", "set-aside.damaged.1.1", "set-aside.log.1.1"]
        for name in tails:
            with open(os.path.join(server.version2, name), "wb") as f:
                f.write(b"tail")
        server.start()
        server.stop()
        self.assertLessEqual(set(tails), set(os.listdir(server.version2)))
        server.options["autopurge.purgeInterval"] = 1
        server.start()
        self.check_kept(server, 3)
        self.wait_for(lambda: tails[0] not in os.listdir(server.version2), what="removal of the tail")
        server.stop()
        self.assertLessEqual(set(tails[1:]), set(os.listdir(server.version2)))
        self.assertIn("removed set-aside.tail.1.1", server.log())

    def test_what_does_not_parse_stays(self):
        """Java deletes such files; we keep what we do not know, whatever it is called."""
        server = self.started()
        self.work(server)
        server.stop()
        strange = ["log.old", "snapshot.old", "log.", "snapshot.xyz", "log.1.bak", "snapshot.0.bak", "log", "notes.txt",
                   "log.0x1", "snapshot.1.tmp", "LOG.1"]
        for name in strange:
            source = "log.1" if "log" in name.lower() else "snapshot.0"
            with open(os.path.join(server.version2, name), "wb") as f:
                f.write(store.read(os.path.join(server.version2, source)))
        os.makedirs(os.path.join(server.version2, "snapshot.2"))
        server.options["autopurge.purgeInterval"] = 1
        server.start()
        self.work(server, 5)
        self.wait_for(lambda: not os.path.exists(os.path.join(server.version2, "snapshot.0")), what="purge")
        server.stop()
        self.assertEqual(set(strange + ["snapshot.2"]) - set(os.listdir(server.version2)), set())

    def test_damaged_snapshots_do_not_count(self):
        """With the newest ones torn, the last valid one and its logs stay."""
        server = self.started()
        self.work(server)
        server.stop()
        snapshots = names(server, "snapshot")
        for name in snapshots[2:]:
            path = os.path.join(server.version2, name)
            with open(path, "r+b") as f:
                f.truncate(os.path.getsize(path) // 2)
        before = set(os.listdir(server.version2))
        server.options.update({"autopurge.purgeInterval": 1, "snapCount": 10**6})
        server.start()
        tree = store.read_all(server.addr)
        server.stop()                               # the purge at the start is done
        self.assertLessEqual(set(snapshots[:2]), set(names(server, "snapshot")))
        self.assertEqual({n for n in before if n.startswith("log.")} - set(names(server, "log")), set())
        server.start()
        self.assert_same_tree(tree, store.read_all(server.addr))
        server.stop()

    def flip(self, server, name):
        """Damage that only reading all of it shows."""
        path = os.path.join(server.version2, name)
        data = bytearray(store.read(path))
        middle = len(data) // 2
        data[middle:middle + 8] = bytes(b ^ 0xFF for b in data[middle:middle + 8])
        with open(path, "wb") as f:
            f.write(data)

    def damaged_inside(self, **options):
        """The three newest snapshots look well from outside.  The start falls back to the one before,
        which is then the last valid one, whatever it is called."""
        server = self.started(**options)
        self.work(server)
        server.stop()
        snapshots = names(server, "snapshot")
        for name in snapshots[-3:]:
            self.flip(server, name)
        logs = names(server, "log")
        server.options.update({"autopurge.purgeInterval": 1, "snapCount": 10**6})
        server.start()
        tree = store.read_all(server.addr)
        self.assertIn("problem reading snap file %s" % snapshots[-1], server.log())
        self.wait_for(lambda: snapshots[0] not in names(server, "snapshot"), what="purge")
        server.stop()
        self.assertIn(snapshots[-4], names(server, "snapshot"))
        needed = [l for l in logs if store.zxid_of(l) > store.zxid_of(snapshots[-4])]
        self.assertLessEqual(set(needed), set(names(server, "log")))
        server.start()
        self.assert_same_tree(tree, store.read_all(server.addr))
        server.stop()

    def test_damaged_inside(self):
        self.damaged_inside()

    def test_damaged_inside_gz(self):
        self.damaged_inside(**{"snapshot.compression.method": "gz"})

    def test_separate_log_directory(self):
        server = self.zabra({"autopurge.purgeInterval": 1})
        logs = server.options["dataLogDir"] = os.path.join(server.dir, "log")
        server.start()
        self.work(server)
        def settled():
            snapshots = names(server, "snapshot")
            starts = [store.zxid_of(os.path.basename(p)) for p in store.named(logs + "/version-2", "log")]
            return len(snapshots) == 3 and sum(z <= store.zxid_of(snapshots[0]) for z in starts) == 1
        self.wait_for(settled, what="purge of both")
        server.stop()
