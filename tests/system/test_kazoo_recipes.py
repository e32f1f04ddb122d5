"""The recipes of kazoo: coordination as applications really use it."""
import datetime
import queue
import re
import threading
import unittest

from kazoo.recipe.cache import TreeCache, TreeEvent
from kazoo.recipe.partitioner import SetPartitioner

from lib.kz import KazooTest
from lib.wire import DEADLINE


class Recipes(KazooTest):
    def clients(self, n):
        return [self.client() for _ in range(n)]

    def finish(self, waiters, timeout=30):
        return [w(timeout) for w in waiters]

    # -- locks -------------------------------------------------------------------

    def test_lock_excludes(self):
        """Each holder reads, then writes a shared number: lost updates would show."""
        root, total = self.root, [0]

        def work(client):
            lock = client.Lock(root + "/lock")
            for _ in range(5):
                with lock:
                    value = total[0]
                    client.sync("/")
                    total[0] = value + 1
        self.finish([self.run_in_thread(work, k) for k in self.clients(4)])
        self.assertEqual(total, [20])

    def test_lock_waits_times_out_and_goes_on(self):
        (a, b), root = self.clients(2), self.root
        first, second = a.Lock(root, "first"), b.Lock(root, "second")
        self.assertTrue(first.acquire())
        self.assertFalse(second.acquire(blocking=False))
        waiting = self.run_in_thread(second.acquire)
        self.wait_for(lambda: first.contenders() == ["first", "second"])
        first.release()
        self.assertTrue(waiting())
        second.release()
        self.assertEqual(b.get_children(root), [])

    def test_lock_of_a_client_that_goes_away(self):
        (a, b), root = self.clients(2), self.root
        a.Lock(root).acquire()
        waiting = self.run_in_thread(b.Lock(root).acquire)
        a.stop()
        self.assertTrue(waiting())

    def test_cancelled_lock(self):
        (a, b), root = self.clients(2), self.root
        a.Lock(root).acquire()
        lock = b.Lock(root)
        waiting = self.run_in_thread(lock.acquire)
        self.wait_for(lambda: len(lock.contenders()) == 2)
        lock.cancel()
        with self.assertRaises(Exception) as caught:
            waiting()
        self.assertEqual(type(caught.exception).__name__, "CancelledError")

    def test_read_and_write_locks(self):
        (a, b, c), root = self.clients(3), self.root
        readers = [k.ReadLock(root) for k in (a, b)]
        for r in readers:
            self.assertTrue(r.acquire(timeout=DEADLINE))
        writer = c.WriteLock(root)
        self.assertFalse(writer.acquire(blocking=False))
        waiting = self.run_in_thread(writer.acquire)
        for r in readers:
            r.release()
        self.assertTrue(waiting())
        self.assertFalse(a.ReadLock(root).acquire(blocking=False))
        writer.release()
        self.assertTrue(a.ReadLock(root).acquire(timeout=DEADLINE))

    def test_semaphore(self):
        root, now, most, mutex = self.root, [0], [0], threading.Lock()

        def work(client):
            for _ in range(3):
                with client.Semaphore(root, max_leases=2):
                    with mutex:
                        now[0] += 1
                        most[0] = max(most[0], now[0])
                    client.sync("/")
                    with mutex:
                        now[0] -= 1
        self.finish([self.run_in_thread(work, k) for k in self.clients(4)])
        self.assertEqual(now, [0])
        self.assertLessEqual(most[0], 2)

    def test_semaphore_holders_and_hand_over(self):
        (a, b, c), root = self.clients(3), self.root
        held = [k.Semaphore(root, "id%d" % n, max_leases=2) for n, k in enumerate((a, b))]
        for s in held:
            self.assertTrue(s.acquire())
        third = c.Semaphore(root, "id2", max_leases=2)
        self.assertFalse(third.acquire(blocking=False))
        self.assertEqual(sorted(third.lease_holders()), ["id0", "id1"])
        waiting = self.run_in_thread(third.acquire)
        a.stop()
        self.assertTrue(waiting())

    # -- elections -----------------------------------------------------------------

    def test_election(self):
        root, leaders, stop = self.root, queue.Queue(), threading.Event()
        clients = self.clients(3)
        elections = [k.Election(root, "e%d" % n) for n, k in enumerate(clients)]

        def lead(n):
            leaders.put(n)
            if n == first[0]:
                stop.wait()
        first = [0]
        self.addCleanup(stop.set)
        runs = [self.run_in_thread(elections[0].run, lead, 0)]
        self.assertEqual(leaders.get(timeout=DEADLINE), 0)
        for n in (1, 2):
            runs.append(self.run_in_thread(elections[n].run, lead, n))
            self.wait_for(lambda: len(elections[0].contenders()) == n + 1)
        self.assertEqual(elections[0].contenders(), ["e0", "e1", "e2"])
        self.assertTrue(leaders.empty())
        stop.set()
        self.assertEqual([leaders.get(timeout=DEADLINE) for _ in (1, 2)], [1, 2])
        self.finish(runs)

    def test_leader_that_goes_away(self):
        (a, b), root, leaders = self.clients(2), self.root, queue.Queue()
        lock = a.Lock(root)                         # what an election is made of
        lock.acquire()
        run = self.run_in_thread(b.Election(root).run, leaders.put, "b")
        a.stop()
        self.assertEqual(leaders.get(timeout=DEADLINE), "b")
        run()

    # -- queues ----------------------------------------------------------------------

    def test_queue(self):
        (a, b), root = self.clients(2), self.root
        put, get = a.Queue(root), b.Queue(root)
        self.assertIsNone(get.get())
        for n in range(10):
            put.put(b"%d" % n)
        put.put(b"urgent", priority=1)
        self.assertEqual(len(get), 11)
        self.assertEqual([get.get() for _ in range(11)], [b"urgent"] + [b"%d" % n for n in range(10)])
        self.assertIsNone(put.get())

    def test_locking_queue(self):
        (a, b, c), root = self.clients(3), self.root
        put = a.LockingQueue(root)
        put.put_all([b"1", b"2", b"3"])
        put.put(b"0", priority=50)
        first, second = b.LockingQueue(root), c.LockingQueue(root)
        self.assertEqual(first.get(DEADLINE), b"0")
        self.assertEqual(second.get(DEADLINE), b"1")
        self.assertTrue(first.holds_lock())
        self.assertTrue(first.consume())
        self.assertTrue(second.release())           # back into the queue
        self.assertEqual(first.get(DEADLINE), b"1")
        self.assertTrue(first.consume())
        self.assertEqual(len(put), 2)

    def test_locking_queue_of_a_client_that_goes_away(self):
        (a, b, c), root = self.clients(3), self.root
        a.LockingQueue(root).put(b"job")
        self.assertEqual(b.LockingQueue(root).get(DEADLINE), b"job")
        waiting = self.run_in_thread(c.LockingQueue(root).get, DEADLINE)
        b.stop()
        self.assertEqual(waiting(), b"job")

    def test_locking_queue_waits(self):
        (a, b), root = self.clients(2), self.root
        waiting = self.run_in_thread(a.LockingQueue(root).get, DEADLINE)
        b.LockingQueue(root).put(b"late")
        self.assertEqual(waiting(), b"late")

    # -- barriers ----------------------------------------------------------------------

    def test_barrier(self):
        (a, b), root = self.clients(2), self.root
        barrier = a.Barrier(root + "/barrier")
        barrier.create()
        waiting = self.run_in_thread(b.Barrier(root + "/barrier").wait, DEADLINE)
        self.assertTrue(barrier.remove())
        self.assertTrue(waiting())
        self.assertFalse(barrier.remove())
        self.assertTrue(b.Barrier(root + "/barrier").wait(DEADLINE))

    def test_barrier_times_out(self):
        a, root = self.client(), self.root
        barrier = a.Barrier(root + "/barrier")
        barrier.create()
        self.assertFalse(barrier.wait(0.05))

    def test_double_barrier(self):
        root, inside = self.root, queue.Queue()

        def work(client, n):
            barrier = client.DoubleBarrier(root + "/barrier", 3, "id%d" % n)
            barrier.enter()
            inside.put(n)
            barrier.leave()
            return barrier.participating
        clients = self.clients(3)
        runs = [self.run_in_thread(work, clients[n], n) for n in range(2)]
        # Both wait for the third: one that had not set its watch yet could miss that the others came and went.
        self.wait_for(lambda: re.search(r"^%s/barrier/ready\n(\t0x[0-9a-f]+\n){2}" % root, self.server.word("wchp"), re.MULTILINE))
        self.assertEqual(len(clients[2].get_children(root + "/barrier")), 2)
        self.assertTrue(inside.empty())
        runs.append(self.run_in_thread(work, clients[2], 2))
        self.assertEqual(self.finish(runs), [False] * 3)
        self.assertEqual(sorted(inside.get(timeout=DEADLINE) for _ in range(3)), [0, 1, 2])

    # -- others ------------------------------------------------------------------------

    def test_party(self):
        (a, b), root = self.clients(2), self.root
        for kind in ("Party", "ShallowParty"):
            one, two = (getattr(k, kind)(root + "/" + kind, name) for k, name in ((a, "one"), (b, "two")))
            one.join()
            two.join()
            self.assertEqual((sorted(one), len(two)), (["one", "two"], 2))
            one.leave()
            self.assertEqual(list(two), ["two"])
        b.stop()
        self.assertEqual(len(a.Party(root + "/Party")), 0)

    def test_counter(self):
        root = self.root

        def work(client):
            counter = client.Counter(root + "/counter")
            for _ in range(10):
                counter += 1
        clients = self.clients(4)
        self.finish([self.run_in_thread(work, k) for k in clients])
        counter = clients[0].Counter(root + "/counter")
        self.assertEqual(counter.value, 40)
        counter -= 2
        self.assertEqual(counter.value, 38)
        real = clients[0].Counter(root + "/float", default=1.5)
        real += 1.0
        self.assertEqual(real.value, 2.5)

    def test_lease(self):
        (a, b), root = self.clients(2), self.root
        minute = datetime.timedelta(minutes=1)
        self.assertTrue(a.NonBlockingLease(root + "/lease", minute, "a"))
        self.assertFalse(b.NonBlockingLease(root + "/lease", minute, "b"))
        self.assertTrue(a.NonBlockingLease(root + "/lease", minute, "a"))
        self.assertTrue(b.MultiNonBlockingLease(2, root + "/multi", minute, "b"))

    def test_tree_cache(self):
        (a, b), root, events = self.clients(2), self.root, queue.Queue()
        a.create(root + "/x", b"1")
        cache = TreeCache(a, root)
        self.addCleanup(cache.close)
        cache.listen(lambda e: events.put((e.event_type, getattr(e.event_data, "path", None))))
        cache.start()

        def until(wanted):
            while events.get(timeout=DEADLINE) != wanted:
                pass
        until((TreeEvent.INITIALIZED, None))
        self.assertEqual(cache.get_data(root + "/x").data, b"1")
        b.create(root + "/x/y", b"2")
        until((TreeEvent.NODE_ADDED, root + "/x/y"))
        b.set(root + "/x", b"3")
        until((TreeEvent.NODE_UPDATED, root + "/x"))
        self.assertEqual(cache.get_data(root + "/x").data, b"3")
        b.delete(root + "/x/y")
        until((TreeEvent.NODE_REMOVED, root + "/x/y"))
        # It tells first and forgets the node then.
        self.wait_for(lambda: cache.get_children(root + "/x") == frozenset())

    def test_set_partitioner(self):
        root, items, clients = self.root, set(range(6)), self.clients(2)
        parts = [SetPartitioner(k, root + "/p", items, identifier="p%d" % n, time_boundary=0.1)
                 for n, k in enumerate(clients)]

        def settle(part):
            while not part.acquired:
                self.assertFalse(part.failed)
                if part.release:
                    part.release_set()
                part.wait_for_acquire(0.1)
            return set(part)

        def both():
            got = self.finish([self.run_in_thread(settle, p) for p in parts])
            return got if all(p.acquired for p in parts) and not got[0] & got[1] else None
        got = self.wait_for(both, timeout=40)
        self.assertEqual((got[0] | got[1], len(got[0])), (items, 3))
        for part in parts:
            part.finish()


if __name__ == "__main__":
    unittest.main()
