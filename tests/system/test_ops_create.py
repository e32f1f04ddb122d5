"""create, create2, createContainer, createTTL: checks and their order, names, Stat."""
import time
import unittest

from lib import wire
from lib.server import ServerTest
from lib.wire import (ALL, CONTAINER, EPHEMERAL, EPHEMERAL_SEQUENTIAL, OPEN, SEQUENTIAL, TTL,
                      TTL_SEQUENTIAL, Err)

CLOSED = [(ALL & ~wire.CREATE, "world", "anyone")]      # everything but CREATE
CREATES = (wire.create, wire.create2, wire.create_container)
GOOD_EDGES = (0x20, 0x7E, 0xA0, 0xD7FF, 0xF900, 0xFFEF)
BAD_EDGES = (0x00, 0x01, 0x1F, 0x7F, 0x80, 0x9F, 0xD800, 0xDFFF, 0xE000, 0xF8FF, 0xFFF0, 0xFFFD,
             0xFFFF, 0x10000, 0x10FFFF)


def utf8(code):
    return chr(code).encode("utf-8", "surrogatepass")


class Results(ServerTest):
    def test_create_returns_the_path(self):
        c, root = self.connect(), self.root
        self.assertEqual(c.create(root + "/a", b"data"), root + "/a")
        self.assertEqual(c.get_data(root + "/a")[0], b"data")

    def test_create2_and_container_return_path_and_stat(self):
        c, root = self.connect(), self.root
        for name, call in (("a", c.create2), ("b", c.create_container)):
            path, stat = call(root + "/" + name, b"data")
            self.assertEqual(path, root + "/" + name)
            self.assertEqual(stat, c.exists(path))

    def test_stat_of_a_new_node(self):
        c, root = self.connect(), self.root
        before = int(time.time() * 1000)
        reply = c.request(wire.create2(root + "/a", b"12345"))
        after = int(time.time() * 1000)
        stat = c.exists(root + "/a")
        self.assertEqual(stat._replace(ctime=0, mtime=0),
                         (reply.zxid, reply.zxid, 0, 0, 0, 0, 0, 0, 5, 0, reply.zxid))
        self.assertEqual(stat.ctime, stat.mtime)
        self.assertTrue(before - 1 <= stat.ctime <= after + 1, (before, stat.ctime, after))

    def test_effect_on_the_parent(self):
        c, root = self.connect(), self.root
        before = c.exists(root)
        zxid = c.request(wire.create(root + "/a")).zxid
        self.assertEqual(c.exists(root), before._replace(cversion=1, numChildren=1, pzxid=zxid))
        zxid = c.request(wire.create2(root + "/b", flags=EPHEMERAL)).zxid
        self.assertEqual(c.exists(root), before._replace(cversion=2, numChildren=2, pzxid=zxid))

    def test_failed_create_leaves_the_parent_alone(self):
        c, root = self.connect(), self.root
        before = c.exists(root)
        self.fails(Err.INVALID_ACL, c.create, root + "/a", acl=[])
        self.fails(Err.BAD_ARGUMENTS, c.create, root + "/a", flags=8)
        self.assertEqual(c.exists(root), before)

    def test_ephemeral_owner(self):
        c, root = self.connect(), self.root
        for flags, owner in ((0, 0), (EPHEMERAL, c.sid), (SEQUENTIAL, 0), (EPHEMERAL_SEQUENTIAL, c.sid)):
            for create2 in (False, True):
                path = (c.create2(root + "/n%d2" % flags, flags=flags)[0] if create2
                        else c.create(root + "/n%d" % flags, flags=flags))
                self.assertEqual(c.exists(path).ephemeralOwner, owner, flags)

    def test_create_container_is_never_ephemeral(self):
        c, root = self.connect(), self.root
        paths = [c.create_container(root + "/c%d" % flags, flags=flags)[0] for flags in range(5)]
        self.assertEqual([p[len(root):] for p in paths],
                         ["/c0", "/c1", "/c20000000002", "/c30000000003", "/c4"])
        c.end_session()
        d = self.connect()
        self.assertEqual([d.exists(p).ephemeralOwner for p in paths], [0] * 5)
        d.create(paths[1] + "/child")

    def test_create_with_the_container_flag(self):
        c, root = self.connect(), self.root
        self.assertEqual(c.create(root + "/a", flags=CONTAINER), root + "/a")
        path, stat = c.create2(root + "/b", flags=CONTAINER)
        self.assertEqual((path, stat.ephemeralOwner), (root + "/b", 0))

    def test_data_null_and_large(self):
        c, root = self.connect(), self.root
        path, stat = c.create2(root + "/null", None)
        self.assertEqual((c.get_data(path)[0], stat.dataLength), (None, 0))
        path, stat = c.create2(root + "/large", b"x" * 500000)
        self.assertEqual((c.get_data(path)[0], stat.dataLength), (b"x" * 500000, 500000))

    def test_no_limit_on_the_length_of_names(self):
        c, root = self.connect(), self.root
        path = root + "/" + "x" * 100000
        self.assertEqual(c.create(path), path)
        c.delete(path)

    def test_deep_tree(self):
        c, path = self.connect(), self.root
        for _ in range(100):
            path = c.create(path + "/d")
        self.assertEqual(c.get_all_children_number(self.root), 100)

    def test_below_the_system_nodes(self):
        c = self.connect()
        for parent in ("/zookeeper", "/zookeeper/quota"):
            c.create(parent + "/mine")
            c.delete(parent + "/mine")
        self.fails(Err.NO_AUTH, c.create, "/zookeeper/config/mine")


class Checks(ServerTest):
    """One request violating two rules shows which is looked at first."""

    def each(self, code, path, **kw):
        c = self.connect()
        for build in CREATES:
            request = build(path, **kw)
            with self.subTest(op=request[0], path=path, **kw):
                self.fails(code, c.call, request)

    def test_flags(self):
        c, root = self.connect(), self.root
        for flags in (-1, 7, 8, 100, 2 ** 31 - 1, -2 ** 31):
            self.each(Err.BAD_ARGUMENTS, root + "/a", flags=flags)
        self.assertEqual(c.get_children(root), [])

    def test_flags_before_acl(self):
        self.each(Err.BAD_ARGUMENTS, self.root + "/a", flags=7, acl=[])

    def test_ttl_flags_while_extended_types_are_off(self):
        c, root = self.connect(), self.root
        for flags in (TTL, TTL_SEQUENTIAL):
            self.each(Err.UNIMPLEMENTED, root + "/a", flags=flags)
            self.fails(Err.UNIMPLEMENTED, c.create_ttl, root + "/a", 1000, flags=flags)
            self.fails(Err.UNIMPLEMENTED, c.create_ttl, root + "/a", -1, flags=flags)
            self.fails(Err.UNIMPLEMENTED, c.create_ttl, "bad", 0, flags=flags, acl=[])

    def test_slash_before_acl(self):
        for path in ("", "a", "a\0"):
            self.each(Err.BAD_ARGUMENTS, path, acl=[])

    def test_nul_before_acl(self):
        self.each(Err.BAD_ARGUMENTS, self.root + "/a\0b", acl=[])

    def test_acl_before_missing_parent(self):
        self.each(Err.INVALID_ACL, "/none/a", acl=[])
        self.each(Err.INVALID_ACL, "/none/a", acl=None)

    def test_missing_parent_before_path_form(self):
        for path in ("/none//x", self.root + "/./x", "/none/x/", self.root + "//x/y"):
            self.each(Err.NO_NODE, path)

    def test_right_on_the_parent_before_path_form_and_existence(self):
        c, root = self.connect(), self.root
        c.create(root + "/p")
        c.create(root + "/p/a")
        c.set_acl(root + "/p", CLOSED)
        for name in ("a", "b", ".", "..", "\x01", "\ue000"):
            self.each(Err.NO_AUTH, root + "/p/" + name)

    def test_path_form_before_ephemeral_parent(self):
        c, root = self.connect(), self.root
        c.create(root + "/e", flags=EPHEMERAL)
        self.each(Err.BAD_ARGUMENTS, root + "/e/.")
        self.each(Err.NO_CHILDREN_FOR_EPHEMERALS, root + "/e/a")
        self.each(Err.NO_CHILDREN_FOR_EPHEMERALS, root + "/e/a", flags=SEQUENTIAL)

    def test_right_before_ephemeral_parent(self):
        c, root = self.connect(), self.root
        c.create(root + "/e", acl=CLOSED, flags=EPHEMERAL)
        self.each(Err.NO_AUTH, root + "/e/a")

    def test_node_exists(self):
        self.root
        for path in (self.root, "/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"):
            self.each(Err.NODE_EXISTS, path)

    def test_pending_changes_are_seen(self):
        c, root = self.connect(), self.root
        self.assertEqual(
            c.results(wire.create(root + "/a"), wire.create(root + "/a"), wire.create(root + "/a/b"),
                      wire.delete(root + "/a"), wire.delete(root + "/a/b"), wire.delete(root + "/a"),
                      wire.create(root + "/a/b"), wire.create(root + "/e", flags=EPHEMERAL),
                      wire.create(root + "/e/x")),
            [root + "/a", Err.NODE_EXISTS, root + "/a/b", Err.NOT_EMPTY, None, None, Err.NO_NODE,
             root + "/e", Err.NO_CHILDREN_FOR_EPHEMERALS])


class Paths(ServerTest):
    def test_shapes_that_are_refused(self):
        c, root = self.connect(), self.root
        for path in ("//", "//a", "/.", "/..", root + "/", root + "/.", root + "/.."):
            with self.subTest(path):
                self.fails(Err.BAD_ARGUMENTS, c.create, path)

    def test_shapes_that_pass(self):
        c, root = self.connect(), self.root
        for name in ("...", "..a", ".a", "a.", "a..b", " ", "a b", "~", "\\", "*", "zookeeper", ".-"):
            with self.subTest(name):
                self.assertEqual(c.create(root + "/" + name), root + "/" + name)

    def test_edges_of_the_character_ranges(self):
        c, root = self.connect(), self.root.encode()
        for code in GOOD_EDGES:
            for form in (b"/%s", b"/a%s", b"/%sa"):
                with self.subTest(hex(code)):
                    path = root + form % utf8(code)
                    self.assertEqual(c.create(path).encode(), path)
        for code in BAD_EDGES:
            for form in (b"/%s", b"/a%s", b"/%sa"):
                with self.subTest(hex(code)):
                    self.fails(Err.BAD_ARGUMENTS, c.create, root + form % utf8(code))

    def test_every_control_character(self):
        c, root = self.connect(), self.root
        for code in [*range(0x20), *range(0x7F, 0xA0)]:
            with self.subTest(hex(code)):
                self.fails(Err.BAD_ARGUMENTS, c.create, root + "/x" + chr(code))

    def test_set_data_set_acl_and_check_validate(self):
        c, root = self.connect(), self.root
        paths = [p.encode() for p in ("", "a", "//", "//a", root + "/", "/.", "/a/../b", root + "//x")]
        paths += [root.encode() + b"/" + utf8(code) for code in BAD_EDGES]
        for path in paths:
            with self.subTest(path):
                self.fails(Err.BAD_ARGUMENTS, c.set_data, path, b"")
                self.fails(Err.BAD_ARGUMENTS, c.set_acl, path, OPEN)
                self.assertEqual(c.multi(wire.check(path)), [(-1, Err.BAD_ARGUMENTS)])
        for code in GOOD_EDGES:
            path = root.encode() + b"/" + utf8(code)
            self.fails(Err.NO_NODE, c.set_data, path, b"")
            self.fails(Err.NO_NODE, c.set_acl, path, OPEN)
            self.assertEqual(c.multi(wire.check(path)), [(-1, Err.NO_NODE)])

    def test_delete_validates_little(self):
        c, root = self.connect(), self.root
        for path in ("", "a", root + "/a\0", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "/"):
            with self.subTest(path):
                self.fails(Err.BAD_ARGUMENTS, c.delete, path)
        for path in ("//", "//a", root + "/", root + "/.", "/..", root + "//x", root + "/\x01", "x/y"):
            with self.subTest(path):
                self.fails(Err.NO_NODE, c.delete, path)

    def test_reads_do_not_validate(self):
        c, root = self.connect(), self.root
        for path in ("a", "//", root + "/", root + "/.", "/..", root + "/\x01", root + "/\ue000"):
            with self.subTest(path):
                for call in (c.exists, c.get_data, c.get_children, c.get_children2, c.get_acl,
                             c.get_all_children_number):
                    self.fails(Err.NO_NODE, call, path)

    def test_nul_in_reads(self):
        c = self.connect()
        self.fails(Err.BAD_ARGUMENTS, c.exists, "/a\0b")
        for call in (c.get_data, c.get_children, c.get_children2, c.get_acl):
            self.fails(Err.NO_NODE, call, "/a\0b")

    def test_empty_path_reads_the_root(self):
        c = self.connect()
        self.assertEqual(c.exists(""), c.exists("/"))
        self.assertEqual(c.get_data(""), c.get_data("/"))
        self.assertEqual(sorted(c.get_children("")), sorted(c.get_children("/")))
        self.assertEqual(c.get_children2("")[1], c.exists("/"))
        self.assertEqual(c.get_acl(""), c.get_acl("/"))
        for request in (wire.create(""), wire.delete(""), wire.set_data("", b""), wire.set_acl("", OPEN)):
            self.fails(Err.BAD_ARGUMENTS, c.call, request)


class Sequence(ServerTest):
    options = {"extendedTypesEnabled": "true"}

    def next(self, c, parent, prefix="s", flags=SEQUENTIAL):
        path = c.create("%s/%s" % (parent, prefix), flags=flags)
        self.assertTrue(path.startswith(parent + "/" + prefix))
        return path[len(parent + "/" + prefix):]

    def test_ten_digits_counting_from_zero(self):
        c, root = self.connect(), self.root
        self.assertEqual([self.next(c, root) for _ in range(12)], ["%010d" % i for i in range(12)])

    def test_counts_creations_of_every_kind(self):
        c, root = self.connect(), self.root
        for create in (wire.create(root + "/a"), wire.create2(root + "/b", flags=EPHEMERAL),
                       wire.create_container(root + "/c"), wire.create_ttl(root + "/d", 100000)):
            c.call(create)
        self.assertEqual(self.next(c, root), "0000000004")

    def test_one_counter_for_all_names(self):
        c, root = self.connect(), self.root
        got = [self.next(c, root, p, f) for p, f in (("a", 2), ("b", 3), ("a", 3), ("", 2))]
        self.assertEqual(got, ["%010d" % i for i in range(4)])

    def test_deletes_do_not_count(self):
        c, root = self.connect(), self.root
        for n in range(3):
            self.assertEqual(self.next(c, root), "%010d" % n)
            c.delete("%s/s%010d" % (root, n))
        self.assertEqual(c.exists(root).cversion, 6)

    def test_failed_creates_do_not_count(self):
        c, root = self.connect(), self.root
        self.assertEqual(self.next(c, root), "0000000000")
        self.fails(Err.NODE_EXISTS, c.create, root + "/s0000000000")
        self.fails(Err.INVALID_ACL, c.create, root + "/s", acl=[], flags=SEQUENTIAL)
        c.multi(wire.create(root + "/s", flags=SEQUENTIAL), wire.check("/none"))
        self.assertEqual(self.next(c, root), "0000000001")

    def test_stuck_on_a_name_that_is_taken(self):
        c, root = self.connect(), self.root
        c.create(root + "/s0000000001")
        for _ in range(3):
            self.fails(Err.NODE_EXISTS, c.create, root + "/s", flags=SEQUENTIAL)
        c.create(root + "/other")
        self.assertEqual(self.next(c, root), "0000000002")

    def test_grandchildren_do_not_count(self):
        c, root = self.connect(), self.root
        c.create(root + "/a")
        c.create(root + "/a/b")
        self.assertEqual(self.next(c, root), "0000000001")
        self.assertEqual(self.next(c, root + "/a"), "0000000001")

    def test_counter_starts_again_with_a_new_parent(self):
        c, root = self.connect(), self.root
        c.create(root + "/p")
        self.next(c, root + "/p")
        c.delete(root + "/p/s0000000000")
        c.delete(root + "/p")
        c.create(root + "/p")
        self.assertEqual(self.next(c, root + "/p"), "0000000000")

    def test_empty_name(self):
        c, root = self.connect(), self.root
        self.assertEqual(c.create(root + "/", flags=SEQUENTIAL), root + "/0000000000")
        path = c.create("/", flags=SEQUENTIAL)
        self.assertRegex(path, r"^/\d{10}$")
        c.delete(path)

    def test_path_is_validated_with_its_number(self):
        c, root = self.connect(), self.root
        self.assertEqual(self.next(c, root, "."), "0000000000")
        self.assertEqual(self.next(c, root, ".."), "0000000001")
        for path in (root + "/a\x01", "//", root + "//"):
            self.assertIn(c.request(wire.create(path, flags=SEQUENTIAL)).err,
                          (Err.BAD_ARGUMENTS, Err.NO_NODE))
        self.fails(Err.BAD_ARGUMENTS, c.create, root + "/a\x01", flags=SEQUENTIAL)
        self.fails(Err.BAD_ARGUMENTS, c.create, "", flags=SEQUENTIAL)

    def test_every_opcode_appends_it(self):
        c, root = self.connect(), self.root
        self.assertEqual(c.create2(root + "/s", flags=SEQUENTIAL)[0], root + "/s0000000000")
        self.assertEqual(c.create_container(root + "/s", flags=SEQUENTIAL)[0], root + "/s0000000001")
        self.assertEqual(c.create_ttl(root + "/s", 99999, flags=TTL_SEQUENTIAL)[0], root + "/s0000000002")

    def test_pipelined_and_from_several_sessions(self):
        a, b, root = self.connect(), self.connect(), self.root
        for _ in range(50):
            for c in (a, b):
                c.send(wire.create(root + "/s", flags=SEQUENTIAL))
        got = [wire.decode(wire.Op.CREATE, c.reply())[-10:] for c in (a, b) for _ in range(50)]
        self.assertEqual(sorted(got), ["%010d" % i for i in range(100)])
        self.assertEqual(got[:50], sorted(got[:50]))


class SystemNodes(ServerTest):
    """The tree of a server that has never been written to by a client."""

    def test_stats_and_acls(self):
        c = self.connect()
        for path, cversion, aversion, children, perms in (
                ("/", -1, 0, 1, 31), ("/zookeeper", -2, 0, 2, 31), ("/zookeeper/quota", 0, 0, 0, 31),
                ("/zookeeper/config", 0, -1, 0, 1)):
            with self.subTest(path):
                self.assertEqual(c.exists(path), (0, 0, 0, 0, 0, cversion, aversion, 0, 0, children, 0))
                self.assertEqual(c.get_acl(path)[0], [(perms, "world", "anyone")])
                self.assertEqual(c.get_data(path)[0], b"")
        self.assertEqual(c.get_children("/"), ["zookeeper"])
        self.assertEqual(sorted(c.get_children("/zookeeper")), ["config", "quota"])
        self.assertEqual(c.get_all_children_number("/"), 3)

    def test_bytes_of_simple_answers(self):
        c = self.connect()
        self.assertEqual(c.request(wire.get_children("/")).body.hex(),
                         "00000001000000097a6f6f6b6565706572")
        self.assertTrue(c.request(wire.get_acl("/")).body.hex().startswith(
            "000000010000001f00000005776f726c6400000006616e796f6e65"))
        self.assertEqual(c.request(wire.who_am_i()).body.hex(),
                         "0000000100000002697000000009" + b"127.0.0.1".hex())


if __name__ == "__main__":
    unittest.main()
