"""exists, getData, getChildren, getACL, getAllChildrenNumber, getEphemerals, sync, whoAmI."""
import unittest

from lib import wire
from lib.server import ServerTest, not_on_java
from lib.wire import ADMIN, ALL, EPHEMERAL, OPEN, READ, Err


def only(perms):
    return [(perms, "world", "anyone")]


class Reads(ServerTest):
    def test_missing_nodes(self):
        c, root = self.connect(), self.root
        for call in (c.exists, c.get_data, c.get_children, c.get_children2, c.get_acl,
                     c.get_all_children_number):
            self.fails(Err.NO_NODE, call, root + "/none")

    def test_all_show_the_same_stat(self):
        c, root = self.connect(), self.root
        c.set_data(root, b"data")
        c.create(root + "/a")
        stat = c.exists(root)
        self.assertEqual(c.get_data(root), (b"data", stat))
        self.assertEqual(c.get_children2(root), (["a"], stat))
        self.assertEqual(c.get_acl(root), (OPEN, stat))
        self.assertEqual((stat.dataLength, stat.numChildren, stat.cversion), (4, 1, 1))

    def test_children(self):
        c, root = self.connect(), self.root
        self.assertEqual((c.get_children(root), c.get_children2(root)[0]), ([], []))
        names = ["n%d" % i for i in range(100)]
        c.results(*[wire.create(root + "/" + n) for n in names])
        c.create(root + "/n1/grandchild")
        self.assertEqual(sorted(c.get_children(root)), sorted(names))
        self.assertEqual(sorted(c.get_children2(root)[0]), sorted(names))

    def test_seen_cversion_counts_creates_and_deletes(self):
        c, root = self.connect(), self.root
        seen = []
        for request in (wire.create(root + "/a"), wire.create(root + "/b"), wire.delete(root + "/a"),
                        wire.create(root + "/a"), wire.set_data(root + "/a", b""),
                        wire.create(root + "/a/x"), wire.delete(root + "/b")):
            c.call(request)
            seen.append(c.exists(root).cversion)
        self.assertEqual(seen, [1, 2, 3, 4, 4, 4, 5])

    def test_all_children_number(self):
        c, root = self.connect(), self.root
        self.assertEqual(c.get_all_children_number(root), 0)
        for path in ("/a", "/a/b", "/a/b/c", "/d"):
            c.create(root + path)
        self.assertEqual([c.get_all_children_number(root + p) for p in ("", "/a", "/a/b", "/d")],
                         [4, 2, 1, 0])
        before = c.get_all_children_number("/")
        c.create(root + "-sibling")         # a prefix of the text but not of the path
        self.assertEqual(c.get_all_children_number(root), 4)
        self.assertEqual(c.get_all_children_number("/"), before + 1)

    def test_right_to_read(self):
        c, root = self.connect(), self.root
        c.set_acl(root, only(ALL & ~READ))
        for call in (c.get_data, c.get_children, c.get_children2, c.get_all_children_number):
            self.fails(Err.NO_AUTH, call, root)
        c.set_acl(root, only(READ | ADMIN))
        for call in (c.get_data, c.get_children, c.get_children2, c.get_all_children_number):
            call(root)

    @not_on_java("exists asks for no right before 3.8.4")
    def test_exists_needs_the_right_to_read(self):
        c, root = self.connect(), self.root
        c.set_acl(root, only(ALL & ~READ))
        self.fails(Err.NO_AUTH, c.exists, root)
        self.fails(Err.NO_AUTH, c.exists, root, watch=True)
        self.fails(Err.NO_NODE, c.exists, root + "/none")

    def test_get_acl_needs_read_or_admin(self):
        c, root = self.connect(), self.root
        for perms, allowed in ((READ, True), (ADMIN, True), (ALL & ~READ & ~ADMIN, False), (0, False)):
            path = c.create("%s/n%d" % (root, perms), acl=only(perms))
            with self.subTest(perms):
                if allowed:
                    self.assertEqual(c.get_acl(path)[0], only(perms))
                else:
                    self.fails(Err.NO_AUTH, c.get_acl, path)

    def test_parents_need_not_be_readable(self):
        c, root = self.connect(), self.root
        c.create(root + "/a", b"x")
        c.set_acl(root, only(ADMIN))
        self.assertEqual(c.get_data(root + "/a")[0], b"x")

    def test_another_connection_sees_the_same(self):
        a, b, root = self.connect(), self.connect(), self.root
        for n in range(20):
            stat = a.set_data(root, b"%d" % n)
            self.assertEqual(b.get_data(root), (b"%d" % n, stat))


class Ephemerals(ServerTest):
    def test_prefixes(self):
        c, root = self.connect(), self.root
        c.create(root + "/p")
        want = [c.create(root + p, flags=EPHEMERAL) for p in ("/a", "/ab", "/p/a")]
        c.create(root + "/plain")
        for prefix in (None, "", "/", " ", root, root + "/"):
            with self.subTest(prefix):
                self.assertEqual(sorted(c.get_ephemerals(prefix)), want)
        self.assertEqual(sorted(c.get_ephemerals(root + "/a")), want[:2])   # of text, not of path
        self.assertEqual(c.get_ephemerals(root + "/p"), want[2:])
        self.assertEqual(c.get_ephemerals("/none"), [])
        self.assertEqual(c.get_ephemerals("nonsense//"), [])

    def test_only_of_the_own_session(self):
        a, b, root = self.connect(), self.connect(), self.root
        a.create(root + "/a", flags=EPHEMERAL)
        b.create(root + "/b", flags=EPHEMERAL)
        self.assertEqual(a.get_ephemerals("/"), [root + "/a"])
        self.assertEqual(b.get_ephemerals(root), [root + "/b"])
        a.delete(root + "/b")
        self.assertEqual(b.get_ephemerals("/"), [])

    def test_session_without_any(self):
        self.assertEqual(self.connect().get_ephemerals("/"), [])

    def test_unreadable_ones_are_listed(self):
        c, root = self.connect(), self.root
        c.create(root + "/a", acl=only(0), flags=EPHEMERAL)
        self.assertEqual(c.get_ephemerals("/"), [root + "/a"])

    def test_renewed_session_keeps_its_list(self):
        c, root = self.connect(), self.root
        c.create(root + "/a", flags=EPHEMERAL)
        self.assertEqual(self.renew(c).get_ephemerals("/"), [root + "/a"])


class SyncAndWhoAmI(ServerTest):
    def test_sync_echoes_anything(self):
        c = self.connect()
        for text in ("/", "/none", "", "no path", "//", "/a/../b", "\x01", "x" * 10000):
            self.assertEqual(c.sync(text), text)

    def test_sync_is_ordered_behind_writes(self):
        c, root = self.connect(), self.root
        a = c.send(wire.set_data(root, b"x"))
        b = c.send(wire.sync(root))
        self.assertEqual([c.reply().xid, c.reply().xid], [a, b])

    def test_identities(self):
        c = self.connect()
        self.assertEqual(c.who_am_i(), [("ip", "127.0.0.1")])
        c.auth("digest", b"bob:secret")
        c.auth("digest", b"alice:pw")
        self.assertEqual(sorted(c.who_am_i()),
                         [("digest", "alice"), ("digest", "bob"), ("ip", "127.0.0.1")])

    def test_same_identity_twice(self):
        c = self.connect()
        for _ in range(2):
            c.auth("digest", b"bob:secret")
        self.assertEqual(sorted(c.who_am_i()), [("digest", "bob"), ("ip", "127.0.0.1")])

    def test_two_passwords_of_one_user_are_two_identities(self):
        c = self.connect()
        c.auth("digest", b"bob:one")
        c.auth("digest", b"bob:two")
        self.assertEqual(sorted(c.who_am_i()),
                         [("digest", "bob"), ("digest", "bob"), ("ip", "127.0.0.1")])


if __name__ == "__main__":
    unittest.main()
