"""kill -9 at random moments under load: nothing acknowledged is lost, nothing is applied by halves.

ZABRA_TEST_FULL=1 makes it longer; ZABRA_TEST_SEED repeats a run's choices (not its timing)."""
import os
import random
import subprocess
import time

from lib import store
from lib.dirs import DirTest, longer
from lib.load import Load

FULL = bool(os.environ.get("ZABRA_TEST_FULL"))
SEED = int(os.environ.get("ZABRA_TEST_SEED", random.SystemRandom().randrange(10**6)))


class Crash(DirTest):
    def setUp(self):
        self.rng = random.Random(SEED)

    def rounds(self, count, seconds, options, writers=5, **kw):
        """Kills the server count times; every start is on the directory that the last one left."""
        server = self.zabra(options(self.rng))
        server.start()
        load = Load(server.addr, writers, SEED, **kw)
        lost = 0
        for n in range(count):
            goal = load.acknowledged() + self.rng.randrange(1, 60)
            load.start()
            self.wait_for(lambda: load.acknowledged() >= goal, what="progress")
            time.sleep(self.rng.uniform(0, seconds))        # the moment of the crash is the test
            server.kill()
            load.join()
            server.options.update(options(self.rng))
            while self.rng.random() < 0.3:
                self.crash_while_starting(server)
            server.start()
            with self.subTest(seed=SEED, round=n):
                self.assertGreaterEqual(server.zxid(), load.zxid())
                lost += sum(len(w.sent) for w in load.writers)
                lost -= load.settle(server.addr)
                self.assertEqual(server.mntr()["zk_digest_mismatches_count"], "0")
        load.run(50)                                        # and it goes on as before
        load.settle(server.addr)
        server.stop()
        self.check_log(server)
        print("seed %d: %d operations acknowledged, %d not acknowledged and not done"
              % (SEED, load.acknowledged(), lost))

    def crash_while_starting(self, server):
        """What recovery changes, it must be able to find half changed."""
        process = server.spawn()
        try:
            process.wait(self.rng.uniform(0, 0.03))
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()

    def check_log(self, server):
        """Every zxid once, in order, as far as the logs go back."""
        zxids = [e.zxid for e in store.log_entries(server.version2)]
        self.assertEqual(zxids, list(range(zxids[0], zxids[0] + len(zxids))))

    def test_kill(self):
        """Many logs and snapshots."""
        longer(600)
        self.rounds(200 if FULL else 50, 0.08, lambda rng: {
            "forceSync": "yes", "snapCount": rng.choice((20, 100, 1000)), "autopurge.purgeInterval": 1,
            "preAllocSize": rng.choice((4, 16, 64, 0)), "txnLogSizeLimitInKb": rng.choice((-1, -1, 8, 40)),
            "snapSizeLimitInKb": rng.choice((-1, -1, 30, 200)),
            "snapshot.compression.method": rng.choice(("", "gz", "snappy"))})

    def test_kill_with_one_log(self):
        """All that was ever written is replayed."""
        longer(300)
        self.rounds(40 if FULL else 10, 0.05, lambda rng: {"forceSync": "yes"}, writers=3, window=30)
