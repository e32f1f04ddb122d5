"""delete, setData, setACL, check, reconfig: checks and their order, effects on Stat."""
import time
import unittest

from lib import wire
from lib.server import ServerTest, not_on_java
from lib.wire import ADMIN, ALL, CREATE, DELETE, EPHEMERAL, OPEN, READ, WRITE, Err


def only(perms):
    return [(perms, "world", "anyone")]


class Delete(ServerTest):
    def test_effects(self):
        c, root = self.connect(), self.root
        c.create(root + "/a")
        before = c.exists(root)
        reply = c.request(wire.delete(root + "/a"))
        self.assertEqual((reply.err, reply.body), (0, b""))
        self.fails(Err.NO_NODE, c.exists, root + "/a")
        self.assertEqual(c.exists(root),
                         before._replace(cversion=2, numChildren=0, pzxid=reply.zxid))

    def test_versions(self):
        c, root = self.connect(), self.root
        c.create(root + "/a")
        c.set_data(root + "/a", b"")
        for version in (0, 2, -2, 2 ** 31 - 1, -2 ** 31):
            self.fails(Err.BAD_VERSION, c.delete, root + "/a", version)
        c.delete(root + "/a", 1)
        c.create(root + "/a")
        c.delete(root + "/a", -1)

    def test_system_nodes_first_of_all(self):
        c = self.connect()
        for path in ("/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"):
            for version in (-1, 99):
                self.fails(Err.BAD_ARGUMENTS, c.delete, path, version)

    def test_missing_parent_and_missing_node(self):
        c, root = self.connect(), self.root
        self.fails(Err.NO_NODE, c.delete, root + "/none/a")
        self.fails(Err.NO_NODE, c.delete, root + "/a", 5)

    def test_right_on_the_parent_before_existence_and_version(self):
        c, root = self.connect(), self.root
        c.create(root + "/p", acl=only(ALL & ~DELETE))
        c.create(root + "/p/a", acl=only(ALL))
        self.fails(Err.NO_AUTH, c.delete, root + "/p/none")
        self.fails(Err.NO_AUTH, c.delete, root + "/p/a", 99)
        self.fails(Err.NO_AUTH, c.delete, root + "/p/a")

    def test_right_on_the_node_is_not_needed(self):
        c, root = self.connect(), self.root
        c.create(root + "/a", acl=only(0))
        c.delete(root + "/a")

    def test_version_before_children(self):
        c, root = self.connect(), self.root
        c.create(root + "/a")
        c.create(root + "/a/b")
        self.fails(Err.BAD_VERSION, c.delete, root + "/a", 9)
        self.fails(Err.NOT_EMPTY, c.delete, root + "/a", 0)
        self.fails(Err.NOT_EMPTY, c.delete, root + "/a")

    def test_ephemeral_of_another_session(self):
        a, b, root = self.connect(), self.connect(), self.root
        a.create(root + "/e", flags=EPHEMERAL)
        b.delete(root + "/e")
        b.create(root + "/e")
        a.end_session()
        self.assertEqual(b.exists(root + "/e").ephemeralOwner, 0)

    def test_node_comes_back_with_a_new_life(self):
        c, root = self.connect(), self.root
        c.create(root + "/a", b"x")
        c.set_data(root + "/a", b"y")
        c.delete(root + "/a")
        zxid = c.request(wire.create(root + "/a")).zxid
        stat = c.exists(root + "/a")
        self.assertEqual((stat.czxid, stat.mzxid, stat.version, stat.cversion), (zxid, zxid, 0, 0))

    def test_below_zookeeper(self):
        c = self.connect()
        c.create("/zookeeper/quota/x")
        c.delete("/zookeeper/quota/x")


class SetData(ServerTest):
    def test_effects(self):
        c, root = self.connect(), self.root
        before = c.exists(root)
        t0 = int(time.time() * 1000)
        reply = c.request(wire.set_data(root, b"12345"))
        stat = wire.decode(wire.Op.SET_DATA, reply)
        self.assertTrue(t0 - 1 <= stat.mtime <= int(time.time() * 1000) + 1)
        self.assertEqual(stat, before._replace(version=1, mzxid=reply.zxid, mtime=stat.mtime,
                                               dataLength=5))
        self.assertEqual(c.get_data(root), (b"12345", stat))

    def test_same_data_counts_as_a_change(self):
        c, root = self.connect(), self.root
        self.assertEqual([c.set_data(root, b"x").version for _ in range(3)], [1, 2, 3])

    def test_versions(self):
        c, root = self.connect(), self.root
        for version in (1, -2, 2 ** 31 - 1, -2 ** 31):
            self.fails(Err.BAD_VERSION, c.set_data, root, b"", version)
        self.assertEqual(c.set_data(root, b"", 0).version, 1)
        self.fails(Err.BAD_VERSION, c.set_data, root, b"", 0)
        self.assertEqual(c.set_data(root, b"", -1).version, 2)

    def test_pending_version_is_seen(self):
        c, root = self.connect(), self.root
        codes = c.results(*[wire.set_data(root, b"x", v) for v in (0, 1, 2, 2, 3)])
        self.assertEqual([getattr(r, "version", r) for r in codes], [1, 2, 3, Err.BAD_VERSION, 4])

    def test_order_of_checks(self):
        c, root = self.connect(), self.root
        self.fails(Err.BAD_ARGUMENTS, c.set_data, "/none/", b"", 9)
        self.fails(Err.NO_NODE, c.set_data, "/none", b"", 9)
        c.set_acl(root, only(ALL & ~WRITE))
        self.fails(Err.NO_AUTH, c.set_data, root, b"", 9)
        c.set_acl(root, only(WRITE))
        self.fails(Err.BAD_VERSION, c.set_data, root, b"", 9)
        self.assertEqual(c.set_data(root, b"").version, 1)

    def test_system_nodes(self):
        c = self.connect()
        for path in ("/", "/zookeeper", "/zookeeper/quota"):
            with self.subTest(path):
                version = c.exists(path).version
                self.assertEqual(c.set_data(path, b"x").version, version + 1)
                self.assertEqual(c.get_data(path)[0], b"x")
                c.set_data(path, b"")
        self.fails(Err.NO_AUTH, c.set_data, "/zookeeper/config", b"")

    def test_ephemeral_of_another_session(self):
        a, b, root = self.connect(), self.connect(), self.root
        a.create(root + "/e", flags=EPHEMERAL)
        self.assertEqual(b.set_data(root + "/e", b"x").ephemeralOwner, a.sid)


class SetAcl(ServerTest):
    def test_effects(self):
        c, root = self.connect(), self.root
        before = c.exists(root)
        self.assertEqual(c.set_acl(root, only(READ | ADMIN)), before._replace(aversion=1))
        self.assertEqual(c.get_acl(root), (only(READ | ADMIN), before._replace(aversion=1)))

    def test_version_means_aversion(self):
        c, root = self.connect(), self.root
        c.set_data(root, b"")
        c.set_data(root, b"")
        for version in (1, 2, -2):
            self.fails(Err.BAD_VERSION, c.set_acl, root, OPEN, version)
        self.assertEqual(c.set_acl(root, OPEN, 0).aversion, 1)
        self.assertEqual(c.set_acl(root, OPEN, 1).aversion, 2)
        self.assertEqual(c.set_acl(root, OPEN, -1).aversion, 3)

    def test_pending_aversion_is_seen(self):
        c, root = self.connect(), self.root
        got = c.results(*[wire.set_acl(root, OPEN, v) for v in (0, 0, 1, 1, 2)])
        self.assertEqual([getattr(r, "aversion", r) for r in got],
                         [1, Err.BAD_VERSION, 2, Err.BAD_VERSION, 3])

    @not_on_java("a pending list shows only from the moment it is applied")
    def test_pending_acl_is_seen(self):
        c, root = self.connect(), self.root
        got = c.results(wire.set_acl(root, only(ADMIN)), wire.set_data(root, b""), wire.create(root + "/a"),
                        wire.set_acl(root, only(ALL)), wire.create(root + "/a"))
        self.assertEqual([getattr(r, "aversion", r) for r in got],
                         [1, Err.NO_AUTH, Err.NO_AUTH, 2, root + "/a"])

    def test_acl_of_a_pending_create_is_seen(self):
        c, root = self.connect(), self.root
        self.assertEqual(c.results(wire.create(root + "/a", acl=only(READ)), wire.set_data(root + "/a", b""),
                                   wire.create(root + "/a/b"), wire.set_acl(root + "/a", OPEN)),
                         [root + "/a"] + [Err.NO_AUTH] * 3)

    def test_order_of_checks(self):
        c, root = self.connect(), self.root
        self.fails(Err.BAD_ARGUMENTS, c.set_acl, "bad", [], 9)
        self.fails(Err.INVALID_ACL, c.set_acl, "/none", [], 9)
        self.fails(Err.NO_NODE, c.set_acl, "/none", OPEN, 9)
        c.set_acl(root, only(ALL & ~ADMIN))
        self.fails(Err.NO_AUTH, c.set_acl, root, OPEN, 9)
        self.fails(Err.NO_AUTH, c.set_acl, root, OPEN)

    def test_admin_is_enough(self):
        c, root = self.connect(), self.root
        c.set_acl(root, only(ADMIN))
        self.fails(Err.BAD_VERSION, c.set_acl, root, OPEN, 9)
        c.set_acl(root, OPEN)

    def test_acls_are_not_inherited(self):
        c, root = self.connect(), self.root
        c.create(root + "/a", acl=only(CREATE | ADMIN))
        c.create(root + "/a/b")
        self.assertEqual(c.get_acl(root + "/a/b")[0], OPEN)
        self.assertEqual(c.get_data(root + "/a/b")[0], b"")
        self.fails(Err.NO_AUTH, c.get_data, root + "/a")

    def test_system_nodes(self):
        c = self.connect()
        aversion = c.exists("/").aversion
        self.assertEqual(c.set_acl("/", OPEN).aversion, aversion + 1)
        self.fails(Err.NO_AUTH, c.set_acl, "/zookeeper/config", OPEN)


class Check(ServerTest):
    """check lives only inside a multi."""

    def outcome(self, c, path, version):
        result, = c.multi(wire.check(path, version))
        return 0 if result == (wire.Op.CHECK, None) else result[1]

    def test_versions(self):
        c, root = self.connect(), self.root
        c.set_data(root, b"")
        self.assertEqual([self.outcome(c, root, v) for v in (1, -1, 0, 2, -2)],
                         [0, 0] + [Err.BAD_VERSION] * 3)

    def test_order_of_checks(self):
        c, root = self.connect(), self.root
        self.assertEqual(self.outcome(c, "/none/", 9), Err.BAD_ARGUMENTS)
        self.assertEqual(self.outcome(c, "/none", 9), Err.NO_NODE)
        c.set_acl(root, only(ALL & ~READ))
        self.assertEqual(self.outcome(c, root, 9), Err.NO_AUTH)
        self.assertEqual(self.outcome(c, root, -1), Err.NO_AUTH)

    def test_changes_nothing(self):
        c, root = self.connect(), self.root
        before = c.exists(root)
        self.assertEqual(self.outcome(c, root, 0), 0)
        self.assertEqual(c.exists(root), before)

    def test_bytes_of_a_refusal(self):
        c, root = self.connect(), self.root
        c.set_acl(root, only(ADMIN))
        self.assertEqual(c.request(wire.multi(wire.check(root))).body.hex(),
                         "ffffffff00ffffff9affffff9a" + "ffffffff01ffffffff")


class Reconfig(ServerTest):
    def test_disabled_by_default(self):
        c = self.connect()
        self.fails(Err.RECONFIG_DISABLED, c.reconfig, members="server.1=127.0.0.1:1:2;3")
        self.fails(Err.RECONFIG_DISABLED, c.reconfig)


class ReconfigEnabled(ServerTest):
    options = {"reconfigEnabled": "true"}

    def test_not_for_a_standalone_server(self):
        c = self.connect()
        self.fails(Err.UNIMPLEMENTED, c.reconfig, members="server.1=127.0.0.1:1:2;3")
        self.fails(Err.UNIMPLEMENTED, c.reconfig, config_id=77)


if __name__ == "__main__":
    unittest.main()
