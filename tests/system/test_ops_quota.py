"""Quotas: bookkeeping, soft and hard limits."""
import unittest

from lib import wire
from lib.server import ServerTest
from lib.wire import EPHEMERAL, Err

QUOTA = "/zookeeper/quota"


class QuotaTest(ServerTest):
    def arm(self, c, path, limits):
        """Create the two quota nodes of a path as an administrator does."""
        for end in range(1, path.count("/") + 1):
            parent = QUOTA + "/".join(path.split("/")[:end + 1])
            if c.request(wire.exists(parent)).err:
                c.create(parent)
        c.create(QUOTA + path + "/zookeeper_limits", limits)
        c.create(QUOTA + path + "/zookeeper_stats", b"")

    def usage(self, c, path):
        """(count, bytes) of the stats node."""
        text = c.get_data(QUOTA + path + "/zookeeper_stats")[0].decode()
        self.assertRegex(text, r"^count=-?\d+,bytes=-?\d+$")
        return tuple(int(part.split("=")[1]) for part in text.split(","))


class Bookkeeping(QuotaTest):
    def test_stats_start_with_the_present_usage(self):
        c, root = self.connect(), self.root
        c.set_data(root, b"12345")
        c.create(root + "/a", b"123")
        c.create(root + "/a/b", None)
        self.arm(c, root, b"count=100,bytes=1000")
        self.assertEqual(self.usage(c, root), (3, 8))

    def test_every_kind_of_change(self):
        c, root = self.connect(), self.root
        self.arm(c, root, b"count=100,bytes=1000")
        for request, usage in (
                (wire.create(root + "/a", b"1234"), (2, 4)), (wire.create2(root + "/a/b", b"12"), (3, 6)),
                (wire.set_data(root + "/a", b"1"), (3, 3)), (wire.set_data(root + "/a", None), (3, 2)),
                (wire.create_container(root + "/c", b"123"), (4, 5)),
                (wire.create(root + "/e", b"1", flags=EPHEMERAL), (5, 6)),
                (wire.delete(root + "/a/b"), (4, 4)), (wire.set_data(root, b"1234567"), (4, 11)),
                (wire.multi(wire.create(root + "/x", b"1"), wire.delete(root + "/c")), (4, 9)),
                (wire.multi(wire.create(root + "/y", b"1"), wire.check("/none")), (4, 9)),
                (wire.set_acl(root + "/a", wire.OPEN), (4, 9))):
            with self.subTest(op=request[0]):
                c.call(request)
                self.assertEqual(self.usage(c, root), usage)

    def test_end_of_a_session(self):
        c, d, root = self.connect(), self.connect(), self.root
        self.arm(c, root, b"count=100,bytes=1000")
        for n in range(3):
            d.create("%s/e%d" % (root, n), b"123", flags=EPHEMERAL)
        self.assertEqual(self.usage(c, root), (4, 9))
        d.end_session()
        self.assertEqual(self.usage(c, root), (1, 0))

    def test_no_trace_in_the_stat_and_no_watch(self):
        c, root = self.connect(), self.root
        self.arm(c, root, b"count=100,bytes=1000")
        node = QUOTA + root + "/zookeeper_stats"
        _, before = c.get_data(node, watch=True)
        c.add_watch(QUOTA, wire.RECURSIVE_WATCH)
        c.create(root + "/a", b"12345")
        data, stat = c.get_data(node)
        self.assertEqual(data, b"count=2,bytes=5")
        self.assertEqual(stat._replace(dataLength=0), before._replace(dataLength=0))
        self.assertEqual((stat.dataLength, c.seen()), (len(data), []))

    def test_only_the_deepest_quota_counts(self):
        c, root = self.connect(), self.root
        c.create(root + "/in")
        self.arm(c, root, b"count=100,bytes=1000")
        self.arm(c, root + "/in", b"count=100,bytes=1000")
        c.create(root + "/in/a", b"123")
        c.create(root + "/a", b"1")
        self.assertEqual(self.usage(c, root), (3, 1))       # itself, /in and /a
        self.assertEqual(self.usage(c, root + "/in"), (2, 3))

    def test_neighbours_with_a_common_prefix_do_not_count(self):
        c, root = self.connect(), self.root
        c.create(root + "/a")
        self.arm(c, root + "/a", b"count=100,bytes=1000")
        c.create(root + "/ab", b"123")
        c.set_data(root, b"1")
        self.assertEqual(self.usage(c, root + "/a"), (1, 0))

    def test_deleting_the_limits_disarms(self):
        c, root = self.connect(), self.root
        self.arm(c, root, b"count=100,bytes=1000")
        c.delete(QUOTA + root + "/zookeeper_limits")
        c.create(root + "/a", b"123")
        self.assertEqual(self.usage(c, root), (1, 0))

    def test_soft_limits_only_warn(self):
        c, root = self.connect(), self.root
        self.arm(c, root, b"count=2,bytes=5")
        for n in range(4):
            c.create("%s/n%d" % (root, n), b"12345")
        c.set_data(root, b"x" * 100)
        self.assertEqual(self.usage(c, root), (5, 120))

    def test_hard_limits_without_enforcement(self):
        c, root = self.connect(), self.root
        self.arm(c, root, b"count=-1,bytes=-1=;byteHardLimit=3;countHardLimit=1")
        c.create(root + "/a", b"12345")
        self.assertEqual(self.usage(c, root), (2, 5))

    def test_goes_on_after_a_restart(self):
        c, root = self.connect(), self.root
        c.set_data(root, b"12")
        self.arm(c, root, b"count=100,bytes=1000")
        c.create(root + "/a", b"123")
        c.end_session()
        self.server.restart()
        c = self.connect()
        self.assertEqual(self.usage(c, root), (2, 5))
        c.create(root + "/b", b"1")
        self.assertEqual(self.usage(c, root), (3, 6))

    def test_stats_set_by_hand_are_the_new_base(self):
        c, root = self.connect(), self.root
        self.arm(c, root, b"count=100,bytes=1000")
        c.set_data(QUOTA + root + "/zookeeper_stats", b"count=58,bytes=7")
        c.create(root + "/a", b"12")
        self.assertEqual(self.usage(c, root), (59, 9))
        c.delete(QUOTA + root + "/zookeeper_stats")
        c.create(QUOTA + root + "/zookeeper_stats", b"anything")
        self.assertEqual(self.usage(c, root), (2, 2))

    def test_limits_node_without_stats_node(self):
        c, root = self.connect(), self.root
        c.create(QUOTA + root)
        c.create(QUOTA + root + "/zookeeper_limits", b"count=1,bytes=1")
        c.create(root + "/a", b"123")
        c.create(QUOTA + root + "/zookeeper_stats")
        self.assertEqual(self.usage(c, root), (2, 3))


class Enforced(QuotaTest):
    options = {"enforceQuota": "true", "extendedTypesEnabled": "true"}

    def limited(self, text, data=b""):
        """A connection and a node under the given limits."""
        c, root = self.connect(), self.root
        if data:
            c.set_data(root, data)
        self.arm(c, root, text)
        return c, root

    def test_count_of_every_create(self):
        c, root = self.limited(b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=2")
        c.create(root + "/a")
        for request in (wire.create(root + "/b"), wire.create2(root + "/b"), wire.create_container(root + "/b"),
                        wire.create_ttl(root + "/b", 99999), wire.create(root + "/b", flags=EPHEMERAL)):
            self.fails(Err.QUOTA_EXCEEDED, c.call, request)
        self.assertEqual(c.multi(wire.create(root + "/b")), [(-1, Err.QUOTA_EXCEEDED)])
        c.delete(root + "/a")
        c.create(root + "/b")
        self.assertEqual(self.usage(c, root), (2, 0))

    def test_bytes_of_create_and_set_data(self):
        c, root = self.limited(b"count=-1,bytes=-1=;byteHardLimit=10", b"1234")
        self.fails(Err.QUOTA_EXCEEDED, c.create, root + "/a", b"1234567")
        c.create(root + "/a", b"123456")                   # exactly at the limit
        self.fails(Err.QUOTA_EXCEEDED, c.set_data, root, b"12345")
        c.create(root + "/b")                               # no bytes, no check
        c.set_data(root + "/a", b"12345")
        c.set_data(root, b"12345")
        self.assertEqual(self.usage(c, root), (3, 10))

    def test_shrinking_and_keeping_above_the_limit(self):
        c, root = self.limited(b"count=-1,bytes=-1=;byteHardLimit=10", b"x" * 20)
        self.fails(Err.QUOTA_EXCEEDED, c.set_data, root, b"x" * 15)
        c.set_data(root, b"y" * 20)
        c.set_data(root, b"x" * 10)

    def test_hard_limit_replaces_the_soft_one(self):
        c, root = self.limited(b"count=1,bytes=1=;byteHardLimit=10;countHardLimit=3")
        c.create(root + "/a", b"12345")
        c.create(root + "/b", b"12345")
        self.fails(Err.QUOTA_EXCEEDED, c.create, root + "/c")

    def test_soft_limits_alone_do_not_refuse(self):
        c, root = self.limited(b"count=1,bytes=1")
        c.create(root + "/a", b"12345")

    def test_other_orders_and_separators_of_the_text(self):
        for text in (b"countHardLimit=1", b"bytes=-1,countHardLimit=1;count=5", b"count=-1;countHardLimit=1,"):
            with self.subTest(text):
                self.__dict__.pop("_root", None)
                c, root = self.limited(text)
                self.fails(Err.QUOTA_EXCEEDED, c.create, root + "/a")

    def test_order_of_checks(self):
        c, root = self.limited(b"count=-1,bytes=-1=;byteHardLimit=0;countHardLimit=2")
        c.create(root + "/e", flags=EPHEMERAL)
        self.fails(Err.NODE_EXISTS, c.create, root + "/e")
        self.fails(Err.NO_CHILDREN_FOR_EPHEMERALS, c.create, root + "/e/x")
        self.fails(Err.NO_NODE, c.set_data, root + "/x", b"1")
        self.fails(Err.QUOTA_EXCEEDED, c.set_data, root, b"1", 99)
        c.set_acl(root, [(wire.READ, "world", "anyone")])
        self.fails(Err.NO_AUTH, c.set_data, root, b"1", 99)
        self.fails(Err.NO_AUTH, c.create, root + "/f")

    def test_refused_write_leaves_no_trace(self):
        c, root = self.limited(b"count=-1,bytes=-1=;countHardLimit=1")
        before = c.exists(root)
        zxid = c.request(wire.ping()).zxid
        self.assertEqual(self.fails(Err.QUOTA_EXCEEDED, c.create, root + "/s", flags=2).zxid, zxid + 1)
        self.assertEqual((c.exists(root), self.usage(c, root)), (before, (1, 0)))
        c.set_data(QUOTA + root + "/zookeeper_limits", b"countHardLimit=5")
        self.assertEqual(c.create(root + "/s", flags=2), root + "/s0000000000")

    def test_operations_of_one_multi_do_not_see_each_other(self):
        c, root = self.limited(b"count=-1,bytes=-1=;countHardLimit=2")
        c.create(root + "/a")
        self.assertEqual(c.multi(wire.delete(root + "/a"), wire.create(root + "/b")),
                         [(-1, 0), (-1, Err.QUOTA_EXCEEDED)])
        c.delete(root + "/a")
        self.assertEqual(len(c.multi(*[wire.create("%s/n%d" % (root, n)) for n in range(3)])), 3)
        self.assertEqual(self.usage(c, root), (4, 0))

    def test_only_the_deepest_quota_is_enforced(self):
        c, root = self.limited(b"count=-1,bytes=-1=;countHardLimit=2")
        c.create(root + "/in")
        self.arm(c, root + "/in", b"countHardLimit=4")
        for n in range(3):
            c.create("%s/in/n%d" % (root, n))
        self.fails(Err.QUOTA_EXCEEDED, c.create, root + "/in/n3")
        self.fails(Err.QUOTA_EXCEEDED, c.create, root + "/a")

    def test_deletes_are_always_allowed(self):
        c, root = self.connect(), self.root
        c.create(root + "/a", b"12345")
        c.create(root + "/b", b"12345")
        self.arm(c, root, b"byteHardLimit=1;countHardLimit=1")
        c.delete(root + "/a")
        self.assertEqual(self.usage(c, root), (2, 5))

    def test_no_check_without_the_stats_node(self):
        c, root = self.limited(b"countHardLimit=1")
        c.delete(QUOTA + root + "/zookeeper_stats")
        c.create(root + "/a")


if __name__ == "__main__":
    unittest.main()
