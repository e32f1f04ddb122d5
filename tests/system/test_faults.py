"""Each call that reaches the disk fails once, and from then on always: the server goes on as it should,
or ends with a status other than 0 and a message that says why; it is never left half dead; and a clean
start on what it leaves has every acknowledged write.

Every call has its turn.  By default each fails in one of the ways of a test, another one in each run;
ZABRA_TEST_FULL=1: in all of them."""
import concurrent.futures
import os
import random

from lib import shim, wire
from lib.dirs import DirTest, longer
from lib.load import Writer

FULL = bool(os.environ.get("ZABRA_TEST_FULL"))
SEED = int(os.environ.get("ZABRA_TEST_SEED", random.SystemRandom().randrange(10**6)))
OPERATIONS = 36          # of the workload
PATIENCE = 20.0          # seconds until a write counts as hanging
SHORT_PATIENCE = 0.6     # the same where it is expected to hang
EXIT_TIME = 40.0         # seconds within which a server that stops must have ended
TEXT = {"EIO": "Input/output error", "ENOSPC": "No space left on device",
        "EMFILE": "Too many open files"}


class Faults(DirTest):
    options = {"forceSync": "yes", "snapCount": 4, "autopurge.purgeInterval": 1, "preAllocSize": 4}

    def server(self, fault=None, **options):
        server = self.zabra(options)
        server.trace = os.path.join(server.dir, "trace")
        server.prefix = shim.prefix(server.data, server.trace, fault)
        return server

    def calls(self, **options):
        """How often each kind of call is made when nothing fails."""
        server = self.server(**options)
        server.start()
        self.work(server).conn.close()
        server.stop()
        counts = {}
        for e in shim.read_trace(server.trace):
            counts[e.kind] = counts.get(e.kind, 0) + 1
        return counts

    def work(self, server, patience=PATIENCE):
        """One writer, until it is through, the connection ends, or nothing more is answered."""
        writer = Writer(server.addr, "/w", 1, window=2, refused=(wire.Err.QUOTA_EXCEEDED,), closes=0)
        writer.limit, writer.patience = OPERATIONS, patience
        writer.hangs = False
        try:
            writer.drive()
        except (wire.Closed, OSError):
            pass
        except wire.Timeout:
            writer.hangs = True
        return writer

    def check_end(self, server, code, fault):
        self.assertGreater(code, 0, "%r: ended with %d, after a fault\n%s" % (fault, code, server.log_tail()))
        errors = [l for l in server.log().splitlines() if " ERROR " in l]
        self.assertTrue(errors, "%r: no error told\n%s" % (fault, server.log_tail()))
        if fault[2] in TEXT:
            self.assertTrue(any(TEXT[e] in l for l in errors for e in (fault[2], "EIO")),
                            "%r: the error is not named\n%s" % (fault, server.log_tail()))

    @staticmethod
    def answers(server):
        """Does it serve?  Pings and words go on while writes wait for space."""
        try:
            raw = wire.Raw(server.addr)
            try:
                raw.send_bytes(b"ruok")
                return raw.rest(5) == b"imok" and "Mode: standalone" in server.word("srvr", timeout=5)
            finally:
                raw.close()
        except (OSError, wire.Timeout, wire.Closed):
            return False

    def ends(self, server, fault):
        """What became of the process; True if it served to the end."""
        # One that does not serve is about to end.
        self.wait_for(lambda: server.process.poll() is not None or self.answers(server), EXIT_TIME,
                      "%r: an answer or the end" % (fault,))
        if server.process.poll() is None:
            server.process.terminate()
        code = server.wait(EXIT_TIME)
        if code != 0:
            self.check_end(server, code, fault)
        return code == 0

    def check_trace(self, server, fault):
        """No reply relied on what failed."""
        checker = shim.Checker(server.data).run(shim.read_trace(server.trace))
        # The rest of a batch after a short write looks like another batch.
        violations = [v for v in checker.violations if fault[2] != "short" or v.what != shim.TWO_BATCHES]
        self.assertEqual(violations, [], "%r\n%s" % (fault, server.log_tail()))

    def one(self, fault, **options):
        """Plays the workload with this fault; returns a word that tells how it ended."""
        server = self.server(fault, **options)
        try:
            writer, outcome = None, "not started"
            try:
                server.start()
            except AssertionError:
                self.assertIsNotNone(server.process, "%r: does not serve\n%s" % (fault, server.log_tail()))
                self.check_end(server, server.wait(), fault)
            else:
                may_hang = fault[2:] == ("ENOSPC", "forever")
                writer = self.work(server, SHORT_PATIENCE if may_hang else PATIENCE)
                if writer.hangs:
                    self.assertTrue(may_hang, "%r: writes hang\n%s" % (fault, server.log_tail()))
                outcome = "served" if self.ends(server, fault) else "ended"
                if writer.hangs:
                    outcome += ", writes waited"
                if writer.refusals:
                    outcome += ", some refused"
            self.check_trace(server, fault)
            server.prefix = ()
            server.start()
            if writer:
                writer.conn = writer.conn and writer.conn.close()
                conn = wire.Conn(server.addr)
                conn.auth("digest", b"super:super")
                self.assertGreaterEqual(server.zxid(), writer.zxid, fault)
                writer.settle(conn)
                conn.close()
                self.assertEqual(server.mntr()["zk_digest_mismatches_count"], "0", fault)
            server.stop()
            return outcome
        finally:
            server.remove()

    def all_of(self, kinds, errors, **options):
        """Fails call after call."""
        longer(600)
        rng = random.Random(SEED)
        counts = self.calls(**options)
        faults = []
        for kind in kinds:
            if kind != "unlink":                    # of old files; there may be none
                self.assertGreater(counts.get(kind, 0), 0, "the workload makes no call of " + kind)
            for n in range(1, counts.get(kind, 0) + 2):
                faults += [(kind, n) + tuple(e.split()) for e in (errors if FULL else [rng.choice(errors)])]
        outcomes = {}
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for fault, run in [(f, pool.submit(self.one, f, **options)) for f in faults]:
                with self.subTest(seed=SEED, fault=fault):
                    outcome = run.result()
                    outcomes.setdefault(outcome, []).append(fault)
        print("seed %d: calls %r; %s" % (SEED, {k: counts.get(k, 0) for k in kinds},
                                        ", ".join("%d %s" % (len(v), k) for k, v in sorted(outcomes.items()))))
        return outcomes

    def none_ended(self, outcomes):
        """Neither before nor after writes that waited or were refused."""
        self.assertEqual({k: v for k, v in outcomes.items() if k.startswith("ended")}, {})

    def test_errors(self):
        self.all_of("open write fdatasync fsync dirsync rename unlink allocate mkdir".split(),
                    ["EIO", "EIO forever"])

    def test_no_space(self):
        """A start may fail; a server that serves goes on, whatever does not fit (S6)."""
        self.none_ended(self.all_of("open write allocate mkdir".split(), ["ENOSPC", "ENOSPC forever"]))

    def test_no_space_for_a_name(self):
        self.none_ended(self.all_of(["rename"], ["ENOSPC"]))

    def test_no_space_told_by_a_sync(self):
        """Whatever a sync says, it is the end: the pages may be gone."""
        outcomes = self.all_of("fdatasync fsync dirsync".split(), ["ENOSPC"])
        self.assertTrue(any(k.startswith(("ended", "not started")) for k in outcomes), outcomes)

    def test_short_writes(self):
        outcomes = self.all_of(["write"], ["short", "short forever"])
        self.assertEqual(list(outcomes), ["served"])

    def test_no_descriptors(self):
        self.all_of(["open"], ["EMFILE"])

    def test_without_preallocation(self):
        """A full disk shows only when an entry is written."""
        self.all_of(["write"], ["ENOSPC", "ENOSPC forever", "EIO"], preAllocSize=0, diskReserve=0)


