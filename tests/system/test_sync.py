"""Nothing is answered before it is safe on the disk, and a power loss at any moment loses nothing that
was answered.  (kill -9 cannot show that: the page cache survives it.)

The server runs under a preload library that records what it writes, syncs, renames and sends."""
import os
import random
import shutil
import struct
import tempfile

from lib import shim, store, wire
from lib.dirs import DirTest, Zabra, longer
from lib.load import Done, Load, Model

FULL = bool(os.environ.get("ZABRA_TEST_FULL"))
SEED = int(os.environ.get("ZABRA_TEST_SEED", random.SystemRandom().randrange(10**6)))
PASSWORD = b"super:super"


class Traced(DirTest):
    options = {"forceSync": "yes", "snapCount": 60, "autopurge.purgeInterval": 1, "preAllocSize": 16}

    def traced(self, skip=(), data=None, **options):
        """A server under the shim."""
        server = self.zabra(options, data)
        server.trace = os.path.join(server.dir, "trace")
        server.prefix = shim.prefix(server.data, server.trace, skip=skip)
        return server

    def record(self, server, count=120, writers=4):
        """A run under load; returns (load, trace)."""
        server.start()
        load = Load(server.addr, writers, SEED, window=6, most=12)
        for w in load.writers:
            w.keep = True
        load.run(count)
        server.stop()
        return load, shim.read_trace(server.trace)

    def violations(self, **kw):
        server = self.traced(**kw)
        load, events = self.record(server)
        checker = shim.Checker(server.data).run(events)
        self.assertGreaterEqual(checker.replies, load.acknowledged())
        return checker


class Order(Traced):
    def setUp(self):
        super().setUp()
        longer(300)

    def test_sync_before_reply(self):
        checker = self.violations()
        self.assertEqual(checker.violations, [])
        self.assertGreater(checker.batches, 10)

    def test_a_server_that_does_not_sync_is_caught(self):
        """Without syncs, by its own option or because the calls do nothing, the check above fails."""
        for kw in ({"forceSync": "no"}, {"skip": ["fdatasync"]}, {"skip": ["dirsync"]}):
            with self.subTest(**kw):
                checker = self.violations(**kw)
                self.assertIn("reply", [v.what for v in checker.violations])

    def test_unsynced_files_with_final_names_are_caught(self):
        checker = self.violations(skip=["fsync"])
        self.assertTrue(any(v.what.startswith("rename to snapshot.") for v in checker.violations))

    def test_every_way_to_the_disk_is_watched(self):
        """The shim stands in for all functions with which this binary could write."""
        called = shim.imports(Zabra.binary())
        self.assertIn("fdatasync", called)
        self.assertLessEqual(called & shim.OTHERS, set())


class LastReply(DirTest):
    """A close() that finds input nobody has read resets the connection.  So the last reply and the end of the stream
    must be on their way before it, even if a client sends more in the very last moment."""

    def setUp(self):
        super().setUp()
        self.server = self.zabra()
        hold = os.path.join(self.server.dir, "hold")
        self.server.prefix = shim.prefix(self.server.data, hold=hold)
        self.server.start()
        open(hold, "x").close()
        self.addCleanup(os.remove, hold)

    def test_of_a_session_is_sent_before_the_close(self):
        c = self.connect(self.server)
        xid = c.send(wire.close_session())
        reply = c.reply()
        self.assertEqual((reply.xid, reply.err), (xid, 0))
        c.expect_close()

    def test_of_a_word_is_sent_before_the_close(self):
        raw = wire.Raw(self.server.addr)
        self.addCleanup(raw.close)
        raw.send_bytes(b"ruok")
        self.assertEqual(raw.rest(), b"imok")


class Kills(DirTest):
    """What a kill leaves between a call and its record."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="zabra-test-")
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.home = os.path.join(self.dir, "data", "version-2")
        self.left = os.path.join(self.dir, "left")
        os.mkdir(self.left)

    def leave(self, name, content):
        with open(os.path.join(self.left, name), "wb") as f:
            f.write(content)

    def made(self, content=b"synced"):
        """A disk with one file that is safe."""
        disk = shim.Disk(os.path.join(self.dir, "data"))
        event, path = shim.Event("", 5, 0, os.O_CREAT, 0, 0, b"", b""), os.path.join(self.home, "old").encode()
        events = [event._replace(kind="mkdir", p1=self.home.encode()),
                  event._replace(kind="open", p1=path), event._replace(kind="write", result=len(content), p1=content),
                  event._replace(kind="fsync"), event._replace(kind="synced"),
                  event._replace(kind="open", fd=6, p1=os.path.dirname(self.home).encode()),
                  event._replace(kind="dirsync", fd=6), event._replace(kind="synced", fd=6),
                  event._replace(kind="open", fd=7, p1=self.home.encode())]
        events += self.sync_names(event)
        for index, each in enumerate(events):
            disk.apply(index, each)
        return disk, event, len(events)

    @staticmethod
    def sync_names(event):
        return [event._replace(kind="dirsync", fd=7), event._replace(kind="synced", fd=7)]

    def image(self, disk):
        target = os.path.join(self.dir, "image")
        disk.write_image(target)
        home = os.path.join(target, "version-2")
        return {name: store.read(os.path.join(home, name)) for name in os.listdir(home)}

    def after(self, disk, event, count):
        """What is safe when the next server has synced the directory and nothing else."""
        disk.restarted(count, self.left)
        again = [event._replace(kind="open", fd=7, p1=self.home.encode())] + self.sync_names(event)
        for index, each in enumerate(again, count + 1):
            disk.apply(index, each)
        return self.image(disk)

    def test_a_rename(self):
        self.leave("new", b"synced")
        self.assertEqual(self.after(*self.made()), {"new": b"synced"})

    def test_a_removal(self):
        self.leave("other", b"not safe")
        self.assertEqual(self.after(*self.made()), {"other": b""})

    def test_a_record(self):
        """The records of the next server are found behind a part of one."""
        path, record = os.path.join(self.dir, "trace"), struct.pack("=IiiIqqII", 2, 5, 3, 0, 0, 0, 3, 0) + b"abc"
        for cut in range(len(record)):
            with open(path, "wb") as f:
                f.write(record * 2 + record[:cut])
            self.assertEqual(len(shim.read_trace(path)), 2)
            self.assertEqual(shim.end_trace(path), 2)
            with open(path, "ab") as f:
                f.write(record)
            self.assertEqual([e.p1 for e in shim.read_trace(path)], [b"abc"] * 3)


class PowerLoss(Traced):
    separate = False         # directories for logs and snapshots

    def model_at(self, load, zxid):
        """What the writers' trees were right after this transaction."""
        nodes = {}
        for w in load.writers:
            model = Model()
            for done in w.done:
                if done.zxid <= zxid:
                    model.apply(done.op, done.sid)
            nodes.update(model.nodes)
        return Model(nodes)

    def points(self, events, rng, count):
        """Events before which to cut the power: some at random, more where names or syncs change."""
        last = max(i for i, e in enumerate(events) if e.kind == "send")
        special = [i for i, e in enumerate(events[:last])
                   if e.kind in ("rename", "unlink", "dirsync", "synced", "mkdir", "fsync")]
        chosen = set(rng.sample(range(last), min(count, last)))
        chosen.update(rng.sample(special, min(count, len(special))))
        return sorted(chosen)

    def recovers(self, load, image, answered, what):
        """Starts a server on what the power loss left."""
        server = self.zabra()
        shutil.move(image, server.data)
        if self.separate:
            server.options["dataLogDir"] = os.path.join(server.data, "logs")
        try:
            server.start()
            zxid = server.zxid()
            self.assertGreaterEqual(zxid, answered, what)
            tree = {p: n for p, n in store.read_all(server.addr, PASSWORD).items() if p.startswith("/w")}
            lines = self.model_at(load, zxid).differences(tree)
            self.assertFalse(lines, "%s, up to zxid %#x\n%s" % (what, zxid, "\n".join(lines[:20])))
            self.assertEqual(server.mntr()["zk_digest_mismatches_count"], "0", what)
            server.kill()
        finally:
            server.remove()

    def cut_everywhere(self, load, server, events, count, restart=None):
        """restart: (event, directory) where a second process went on."""
        rng = random.Random(SEED)
        checker = shim.Checker(server.data)
        points = set(self.points(events, rng, count))
        directory = tempfile.mkdtemp(prefix="zabra-test-")
        self.addCleanup(shutil.rmtree, directory, True)
        for index, event in enumerate(events):
            if restart and index == restart[0]:
                checker.restarted(*restart)
            answered = max([z for _, z in checker.answered], default=0) if index in points else 0
            for source in (None, rng) if index in points else ():
                image = os.path.join(directory, "image")
                checker.disk.write_image(image, source)
                self.recovers(load, image, answered, "seed %d: power lost before event %d (%s)%s" % (
                    SEED, index, event.kind, ", some unsynced sectors kept" if source else ""))
            checker.step(index, event)
        self.assertEqual(checker.violations, [])

    def test_power_loss(self):
        longer(900)
        server = self.traced(snapCount=40)
        load, events = self.record(server, 60)
        self.cut_everywhere(load, server, events, 200 if FULL else 24)

    def note_unanswered(self, load, server, entries):
        """Adds what was carried out and not answered to w.done, with the zxids of the log."""
        conn = self.connect(server)
        conn.auth("digest", PASSWORD)
        for w in load.writers:
            ops, last = list(w.sent), max([d.zxid for d in w.done], default=0)
            zxids = [e.zxid for e in entries
                     if e.session == w.sid and e.zxid > last and e.type != store.CREATE_SESSION]
            carried = w.settle(conn)
            self.assertGreaterEqual(len(zxids), carried)
            w.done += [Done(z, op, w.sid) for z, op in zip(zxids, ops[:carried])]
        conn.end_session()

    def test_power_loss_with_separate_directories(self):
        longer(900)
        self.separate = True
        server = self.traced(snapCount=40)
        server.options["dataLogDir"] = os.path.join(server.data, "logs")
        load, events = self.record(server, 40)
        self.cut_everywhere(load, server, events, 100 if FULL else 8)

    def test_power_loss_after_a_crash(self):
        """What the second start shows of the first run's last batch must be safe as well."""
        longer(900)
        server = self.traced(snapCount=40)
        server.start()
        load = Load(server.addr, 3, SEED, window=6, most=12)
        for w in load.writers:
            w.keep = True
        load.start()
        self.wait_for(lambda: load.acknowledged() > 100)
        server.kill()
        load.join()
        crashed = os.path.join(server.dir, "crashed")
        shutil.copytree(server.version2, crashed)
        at = shim.end_trace(server.trace)
        server.start()
        self.note_unanswered(load, server, store.log_entries(crashed))
        load.run(30)
        server.stop()
        self.cut_everywhere(load, server, shim.read_trace(server.trace), 100 if FULL else 16, (at, crashed))

    def test_lost_without_sync(self):
        """The proof of this proof: without syncs a power loss loses answered writes."""
        server = self.traced(skip=["fdatasync"])
        load, events = self.record(server, 60)
        disk = shim.Disk(server.data)
        for index, event in enumerate(events):
            disk.apply(index, event)
        other = self.zabra({"recovery.cutDamagedLog": "yes"})
        disk.write_image(other.data)
        other.start()
        self.assertLess(other.zxid(), load.zxid())
        other.kill()
