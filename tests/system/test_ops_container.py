"""Container and TTL nodes and what removes them."""
import time
import unittest

from lib import wire
from lib.server import ServerTest
from lib.wire import CONTAINER, SEQUENTIAL, TTL, TTL_SEQUENTIAL, Err, Ev

INTERVAL = 100          # ms between two runs of the remover


class Reaped(ServerTest):
    """Helpers: a node that certainly goes serves as the clock for those that must stay."""

    def gone(self, c, path):
        self.wait_for(lambda: c.request(wire.exists(path)).err == Err.NO_NODE, what=path + " gone")

    def used(self, c, path):
        """A container that had a child once."""
        c.create_container(path)
        c.create(path + "/child")
        c.delete(path + "/child")

    def after_a_few_runs(self, c, n=3):
        for i in range(n):
            path = c.create_container(self.root + "/clock", flags=SEQUENTIAL)[0]
            c.create(path + "/child")
            c.delete(path + "/child")
            self.gone(c, path)


class Containers(Reaped):
    options = {"znode.container.checkIntervalMs": INTERVAL}

    def test_used_one_goes_unused_one_stays(self):
        c, root = self.connect(), self.root
        c.create_container(root + "/unused")
        c.create_container(root + "/full")
        c.create(root + "/full/child")
        self.used(c, root + "/used")
        self.gone(c, root + "/used")
        self.after_a_few_runs(c)
        c.exists(root + "/unused")
        c.exists(root + "/full/child")
        c.delete(root + "/full/child")
        self.gone(c, root + "/full")

    def test_plain_nodes_stay(self):
        c, root = self.connect(), self.root
        for name, flags in (("/a", 0), ("/b", CONTAINER)):      # flag 4 alone makes no container
            c.create(root + name, flags=flags)
            c.create(root + name + "/child")
            c.delete(root + name + "/child")
        self.after_a_few_runs(c)
        c.exists(root + "/a")
        c.exists(root + "/b")

    def test_made_in_a_multi(self):
        c, root = self.connect(), self.root
        c.multi(wire.create(root + "/a", flags=CONTAINER), wire.create(root + "/a/b"),
                wire.create_container(root + "/c"), wire.create(root + "/c/d"))
        c.multi(wire.delete(root + "/a/b"), wire.delete(root + "/c/d"))
        self.gone(c, root + "/a")
        self.gone(c, root + "/c")

    def test_other_flags_of_create_container(self):
        c, root = self.connect(), self.root
        paths = [c.create_container(root + "/n%d" % f, flags=f)[0] for f in range(5)]
        for path in paths:
            c.create(path + "/child")
            c.delete(path + "/child")
        for path in paths:
            self.gone(c, path)

    def test_ephemeral_child_keeps_it(self):
        c, d, root = self.connect(), self.connect(), self.root
        c.create_container(root + "/a")
        d.create(root + "/a/e", flags=wire.EPHEMERAL)
        self.after_a_few_runs(c)
        c.exists(root + "/a")
        d.end_session()
        self.gone(c, root + "/a")

    def test_nested_ones_go_one_after_the_other(self):
        c, root = self.connect(), self.root
        c.create_container(root + "/a")
        c.create_container(root + "/a/b")
        c.create(root + "/a/b/c")
        c.delete(root + "/a/b/c")
        self.gone(c, root + "/a")

    def test_removal_is_a_delete_like_any_other(self):
        c, root = self.connect(), self.root
        c.create_container(root + "/a", acl=[(wire.ALL, "world", "anyone")])
        c.create(root + "/a/b")
        c.exists(root + "/a", watch=True)
        c.get_children(root, watch=True)
        before = c.exists(root)
        c.delete(root + "/a/b")
        self.assertEqual([(e.type, e.path) for e in (c.event(), c.event())],
                         [(Ev.DELETED, root + "/a"), (Ev.CHILDREN, root)])
        after = c.exists(root)
        self.assertEqual(after, before._replace(cversion=2, numChildren=0, pzxid=after.pzxid))
        self.assertGreater(after.pzxid, before.pzxid)

    def test_protection_by_acl_does_not_help(self):
        c, root = self.connect(), self.root
        self.used(c, root + "/a")
        c.set_acl(root, [(wire.READ, "world", "anyone")])
        self.gone(c, root + "/a")


class NeverUsed(Reaped):
    options = {"znode.container.checkIntervalMs": INTERVAL,
               "znode.container.maxNeverUsedIntervalMs": 400}

    def test_goes_after_the_interval(self):
        c, root = self.connect(), self.root
        start = time.monotonic()
        c.create_container(root + "/a")
        c.create(root + "/plain")
        self.gone(c, root + "/a")
        self.assertGreaterEqual(time.monotonic() - start, 0.39)
        c.exists(root + "/plain")


class Ttl(Reaped):
    options = {"extendedTypesEnabled": "true", "znode.container.checkIntervalMs": INTERVAL}

    def test_stat(self):
        c, root = self.connect(), self.root
        path, stat = c.create_ttl(root + "/a", 100000, b"x")
        self.assertEqual((path, stat), (root + "/a", c.exists(root + "/a")))
        self.assertEqual((stat.ephemeralOwner, stat.dataLength), (0, 1))
        self.assertEqual(c.create_ttl(root + "/s", 100000, flags=TTL_SEQUENTIAL)[0], root + "/s0000000001")

    def test_limits_of_the_ttl(self):
        c, root = self.connect(), self.root
        for flags in (TTL, TTL_SEQUENTIAL):
            for ttl in (0, -1, -2 ** 63, 2 ** 40, 2 ** 63 - 1):
                self.fails(Err.BAD_ARGUMENTS, c.create_ttl, root + "/a", ttl, flags=flags)
        c.create_ttl(root + "/a", 2 ** 40 - 1)
        c.create_ttl(root + "/b", 1)

    def test_ttl_before_acl_and_path(self):
        c = self.connect()
        self.fails(Err.BAD_ARGUMENTS, c.create_ttl, "/none/a", 0, acl=[])
        self.fails(Err.INVALID_ACL, c.create_ttl, "/none/a", 1, acl=[])
        self.fails(Err.NO_NODE, c.create_ttl, "/none/a", 1)

    def test_other_flags(self):
        c, root = self.connect(), self.root
        for flags in (0, 1, 2, 3, 4, 7, -1):
            self.fails(Err.BAD_ARGUMENTS, c.create_ttl, root + "/a", 1000, flags=flags)
        for flags in (TTL, TTL_SEQUENTIAL):             # and the flags with other opcodes
            for build in (wire.create, wire.create2, wire.create_container):
                self.fails(Err.BAD_ARGUMENTS, c.call, build(root + "/a", flags=flags))

    def test_goes_when_its_time_is_over(self):
        c, root = self.connect(), self.root
        start = time.monotonic()
        c.create_ttl(root + "/long", 100000)
        c.create_ttl(root + "/short", 300)
        c.multi(wire.create_ttl(root + "/multi", 300))
        self.gone(c, root + "/short")
        self.assertGreaterEqual(time.monotonic() - start, 0.29)
        self.gone(c, root + "/multi")
        c.exists(root + "/long")

    def test_children_keep_it_but_do_not_renew_it(self):
        c, root = self.connect(), self.root
        c.create_ttl(root + "/a", 1)
        c.multi(wire.create_ttl(root + "/b", 1), wire.create(root + "/b/child"))
        self.gone(c, root + "/a")
        c.exists(root + "/b")
        c.delete(root + "/b/child")
        self.gone(c, root + "/b")

    def test_set_data_renews_it(self):
        c, root = self.connect(), self.root
        last = c.create_ttl(root + "/a", 600)[1].mtime
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            reply = c.request(wire.set_data(root + "/a", b""))
            if reply.err:                           # held up for longer than the ttl
                break
            last = wire.decode(wire.Op.SET_DATA, reply).mtime
            self.after_a_few_runs(c, 1)
        self.gone(c, root + "/a")
        self.assertGreaterEqual(time.time() * 1000 - last, 599)

    def test_watch_fires(self):
        c, root = self.connect(), self.root
        c.add_watch(root + "/a", wire.PERSISTENT_WATCH)         # before the node, which may be gone at once
        c.create_ttl(root + "/a", 1)
        self.assertEqual([c.event()[:2] for _ in range(2)], [(Ev.CREATED, root + "/a"), (Ev.DELETED, root + "/a")])


class SlowRemoval(Reaped):
    options = {"znode.container.checkIntervalMs": INTERVAL, "znode.container.maxPerMinute": 300}

    def test_rate(self):
        c, root = self.connect(), self.root
        c.add_watch(root, wire.RECURSIVE_WATCH)
        c.multi(*[r for n in range(4) for r in (wire.create_container("%s/n%d" % (root, n), flags=CONTAINER),
                                                wire.create("%s/n%d/c" % (root, n)))])
        start = time.monotonic()
        c.multi(*[wire.delete("%s/n%d/c" % (root, n)) for n in range(4)])
        gone = 0
        while gone < 4:
            event = c.event()
            gone += event.type == Ev.DELETED and not event.path.endswith("/c")
        self.assertGreater(time.monotonic() - start, 0.59)         # three pauses of 200 ms


if __name__ == "__main__":
    unittest.main()
