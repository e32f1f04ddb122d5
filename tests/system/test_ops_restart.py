"""What a restart or a crash leaves behind."""
import time
import unittest

from lib import wire
from lib.server import ServerTest
from lib.wire import ADMIN, CONTAINER, EPHEMERAL, READ, SEQUENTIAL, Ev


def dump(c, path="/"):
    """{path: (data, stat, acl)} of everything."""
    data, stat = c.get_data(path)
    nodes = {path: (data, stat, c.get_acl(path)[0])}
    for name in c.get_children(path):
        nodes.update(dump(c, path.rstrip("/") + "/" + name))
    return nodes


class Restart(ServerTest):
    options = {"extendedTypesEnabled": "true", "snapCount": 50}

    def fill(self, c, root):
        """Nodes of every kind, and failures in between."""
        c.auth("digest", b"bob:pw")
        c.create(root + "/null", None)
        c.create(root + "/\u00e9\u4e2d", b"\0\1\2")
        c.create(root + "/acl", b"", [(31, "digest", "a:b"), (READ | ADMIN, "world", "anyone")])
        c.set_acl(root + "/acl", [(READ, "world", "anyone"), (31, "auth", "")])
        c.create(root + "/e", b"e", flags=EPHEMERAL)
        c.create_container(root + "/c")
        c.create_ttl(root + "/ttl", 10 ** 9, b"t")
        c.request(wire.create(root + "/none/x"))
        c.multi(wire.create(root + "/m"), wire.set_data(root + "/m", b"x"), wire.create(root + "/m/m"),
                wire.delete(root + "/m/m"))
        c.multi(wire.create(root + "/lost"), wire.check("/none"))
        for n in range(60):                             # across a snapshot or two
            c.create(root + "/m/s", flags=SEQUENTIAL)
            c.set_data(root + "/null", b"%d" % n)
        for n in range(10):
            c.delete("%s/m/s%010d" % (root, n + 1))

    def survives(self, crash):
        c, root = self.connect(timeout=40000), self.root
        self.fill(c, root)
        before = dump(c)
        zxid = c.request(wire.ping()).zxid
        for _ in range(2):
            self.server.restart(crash=crash)
            c = self.renew(c)
            self.assertEqual(c.request(wire.ping()).zxid, zxid)
            c.auth("digest", b"bob:pw")
            self.assertEqual(dump(c), before)
        self.assertEqual(c.get_ephemerals("/"), [root + "/e"])
        self.assertEqual(c.create(root + "/m/s", flags=SEQUENTIAL), root + "/m/s%010d" % 61)
        self.assertEqual(c.request(wire.ping()).zxid, zxid + 1)

    def test_stop(self):
        self.survives(crash=False)

    def test_crash(self):
        self.survives(crash=True)

    def test_deep_history(self):
        """More transactions than one log and one snapshot hold, checked by content."""
        c, root = self.connect(), self.root
        c.results(*[wire.set_data(root, b"%d" % n) for n in range(400)])
        self.server.restart(crash=True)
        data, stat = self.connect().get_data(root)
        self.assertEqual((data, stat.version), (b"399", 400))

    def test_what_was_answered_survives_a_crash_under_load(self):
        c, root = self.connect(), self.root
        for n in range(2000):
            c.send(wire.create("%s/n%d" % (root, n)))
        for _ in range(700):
            self.assertEqual(c.reply().err, 0)
        self.server.restart(crash=True)
        names = self.connect().get_children(root)
        self.assertGreaterEqual(len(names), 700)
        self.assertEqual(set(names), {"n%d" % n for n in range(len(names))}, "a gap in the history")

    def test_closed_session_stays_closed(self):
        c = self.connect()
        c.end_session()
        self.server.restart()
        raw = self.raw()
        raw.send_frame(wire.connect_request(sid=c.sid, passwd=c.passwd))
        self.assert_expired(raw)

    def test_connections_are_closed_without_a_frame(self):
        c = self.connect()
        c.get_data("/", watch=True)
        self.server.restart()
        c.expect_close()

    def test_new_sessions_get_new_ids(self):
        sids = set()
        for _ in range(3):
            sids.add(self.connect().sid)
            sids.add(self.connect().sid)
            self.server.restart()
        self.assertEqual(len(sids), 6)

    def test_last_zxid_seen_of_clients_is_still_known(self):
        c = self.connect()
        zxid = c.request(wire.set_data("/", b"x")).zxid
        self.server.restart(crash=True)
        self.assert_usable(self.renew(c, last_zxid=zxid))


class SessionsStartAnew(ServerTest):
    options = {"tickTime": 200, "maxSessionTimeout": 60000}

    def test_abandoned_session_expires_after_the_restart(self):
        root = self.root
        self.connect(timeout=3000).create(root + "/e", flags=EPHEMERAL)
        self.server.stop()
        before = time.monotonic()
        self.server.start()
        watcher = self.connect()
        if watcher.request(wire.exists(root + "/e", True)).err == 0:        # it got a full timeout again
            self.assertEqual(watcher.event(30)[:2], (Ev.DELETED, root + "/e"))
        self.assertGreater(time.monotonic() - before, 2.99)


class ReapersAfterRestart(ServerTest):
    options = {"extendedTypesEnabled": "true", "znode.container.checkIntervalMs": 100}

    def test_containers_and_ttl_nodes_are_remembered(self):
        c, root = self.connect(), self.root
        c.create_container(root + "/c")
        c.create(root + "/c/child")
        c.multi(wire.create(root + "/m", flags=CONTAINER), wire.create(root + "/m/child"))
        c.multi(wire.create_ttl(root + "/t", 1), wire.create(root + "/t/child"))
        c.create(root + "/plain")
        c.create(root + "/plain/child")
        self.server.restart(crash=True)
        c = self.connect()
        self.assertEqual(len(c.get_children(root)), 4)
        for name in ("c", "m", "t", "plain"):
            c.delete("%s/%s/child" % (root, name))
        self.wait_for(lambda: c.get_children(root) == ["plain"])


class ExtendedTypesSwitchedOff(ServerTest):
    """TTL nodes then look like ephemerals of sessions that do not exist."""

    def restarted_without(self, *requests):
        """A connection to a server that made the nodes with extended types and lost the option."""
        self.server.options["extendedTypesEnabled"] = "true"
        self.server.restart()
        c = self.connect(timeout=40000)
        for request in requests:
            c.call(request)
        self.server.options["extendedTypesEnabled"] = "false"
        self.server.restart()
        return self.renew(c)

    def test_ttl_nodes_go_others_stay(self):
        root = self.root
        c = self.restarted_without(
            wire.create_ttl(root + "/t1", 10 ** 9), wire.create_ttl(root + "/t2", 10 ** 9),
            wire.create_container(root + "/c"), wire.create(root + "/e", flags=EPHEMERAL))
        self.assertEqual(sorted(c.get_children(root)), ["c", "e"])
        self.assertEqual(c.exists(root + "/c").ephemeralOwner, 0)
        c.create(root + "/c/child")

    def test_ttl_node_with_children(self):
        root = self.root
        c = self.restarted_without(wire.create_ttl(root + "/t", 10 ** 9), wire.create(root + "/t/child"))
        self.assertEqual(c.create(root + "/a"), root + "/a")
        self.server.restart()
        c = self.renew(c)
        c.exists(root + "/a")


if __name__ == "__main__":
    unittest.main()
