"""The client API of kazoo, every operation it has."""
import queue
import unittest

from kazoo import exceptions
from kazoo.client import KazooState
from kazoo.protocol.states import EventType
from kazoo.recipe.watchers import ChildrenWatch, DataWatch
from kazoo.security import (ACL, CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE, make_acl,
                            make_digest_acl, make_digest_acl_credential)

from lib import wire
from lib.kz import RETRY, KazooTest
from lib.wire import DEADLINE


class Operations(KazooTest):
    def test_create_get_set_delete(self):
        k, root = self.client(), self.root
        self.assertEqual(k.create(root + "/a", b"one"), root + "/a")
        data, stat = k.get(root + "/a")
        self.assertEqual((data, stat.version, stat.data_length), (b"one", 0, 3))
        self.assertEqual(k.set(root + "/a", b"two").version, 1)
        self.assertRaises(exceptions.BadVersionError, k.set, root + "/a", b"x", version=7)
        self.assertRaises(exceptions.BadVersionError, k.delete, root + "/a", version=7)
        self.assertTrue(k.delete(root + "/a", version=1))
        self.assertRaises(exceptions.NoNodeError, k.get, root + "/a")
        self.assertIsNone(k.exists(root + "/a"))

    def test_create_with_stat(self):
        k, root = self.client(), self.root
        path, stat = k.create(root + "/a", b"x", include_data=True)
        self.assertEqual((path, stat), (root + "/a", k.exists(root + "/a")))

    def test_create_variants(self):
        k, root = self.client(), self.root
        self.assertEqual(k.create(root + "/s", sequence=True), root + "/s0000000000")
        self.assertEqual(k.create(root + "/s", sequence=True, ephemeral=True), root + "/s0000000001")
        self.assertEqual(k.exists(root + "/s0000000001").owner_session_id, k.client_id[0])
        self.assertEqual(k.create(root + "/x/y/z", makepath=True), root + "/x/y/z")
        self.assertRaises(exceptions.NoNodeError, k.create, root + "/none/a")
        self.assertRaises(exceptions.NodeExistsError, k.create, root)
        self.assertRaises(exceptions.NoChildrenForEphemeralsError, k.create, root + "/s0000000001/a")
        k.ensure_path(root + "/p/q/r")
        k.ensure_path(root + "/p/q/r")
        self.assertTrue(k.exists(root + "/p/q/r"))

    def test_children(self):
        k, root = self.client(), self.root
        for name in ("a", "b", "\u00e9"):
            k.create("%s/%s" % (root, name))
        self.assertEqual(sorted(k.get_children(root)), ["a", "b", "\u00e9"])
        children, stat = k.get_children(root, include_data=True)
        self.assertEqual((len(children), stat.children_count, stat.cversion), (3, 3, 3))

    def test_delete_recursive(self):
        k, root = self.client(), self.root
        k.ensure_path(root + "/a/b/c")
        k.ensure_path(root + "/a/d")
        self.assertRaises(exceptions.NotEmptyError, k.delete, root + "/a")
        k.delete(root + "/a", recursive=True)
        self.assertEqual(k.get_children(root), [])

    def test_acls(self):
        k, root = self.client(), self.root
        self.assertEqual(k.get_acls("/")[0], OPEN_ACL_UNSAFE)
        acl = make_digest_acl("bob", "pw", all=True)
        k.create(root + "/a", b"x", acl=[acl, make_acl("ip", "127.0.0.1", read=True)])
        self.assertRaises(exceptions.NoAuthError, k.set, root + "/a", b"")
        self.assertRaises(exceptions.NoAuthError, k.set_acls, root + "/a", OPEN_ACL_UNSAFE)
        k.add_auth("digest", "bob:pw")
        self.assertEqual(k.get_acls(root + "/a")[0], [acl, make_acl("ip", "127.0.0.1", read=True)])
        self.assertRaises(exceptions.BadVersionError, k.set_acls, root + "/a", OPEN_ACL_UNSAFE, version=5)
        self.assertEqual(k.set_acls(root + "/a", READ_ACL_UNSAFE, version=0).acl_version, 1)
        self.assertRaises(exceptions.NoAuthError, k.set, root + "/a", b"")
        self.assertRaises(exceptions.InvalidACLError, k.create, root + "/b",
                          acl=[ACL(31, make_acl("nonsense", "x").id)])

    def test_creator_acl(self):
        k, root = self.client(auth_data=[("digest", "al:pw")]), self.root
        k.create(root + "/a", acl=CREATOR_ALL_ACL)
        ident = k.get_acls(root + "/a")[0][0].id
        self.assertEqual((ident.scheme, ident.id), ("digest", make_digest_acl_credential("al", "pw")))
        self.assertRaises(exceptions.NoAuthError, self.client().get, root + "/a")

    def test_failing_authentication(self):
        k = self.client()
        self.assertRaises(exceptions.AuthFailedError, k.add_auth, "nonsense", "x")

    def test_sync(self):
        self.assertEqual(self.client().sync("/"), "/")

    def test_async_calls(self):
        k, root = self.client(), self.root
        created = [k.create_async("%s/n%d" % (root, n), b"%d" % n) for n in range(100)]
        reads = [k.get_async("%s/n%d" % (root, n)) for n in range(100)]
        self.assertEqual([c.get(timeout=DEADLINE) for c in created],
                         ["%s/n%d" % (root, n) for n in range(100)])
        self.assertEqual([r.get(timeout=DEADLINE)[0] for r in reads], [b"%d" % n for n in range(100)])
        self.assertIsNone(k.exists_async(root + "/none").get(timeout=DEADLINE))
        self.assertEqual(k.set_async(root, b"x").get(timeout=DEADLINE).version, 1)
        self.assertEqual(len(k.get_children_async(root).get(timeout=DEADLINE)), 100)
        self.assertEqual(k.get_acls_async(root).get(timeout=DEADLINE)[0], OPEN_ACL_UNSAFE)
        self.assertEqual(k.set_acls_async(root, OPEN_ACL_UNSAFE).get(timeout=DEADLINE).acl_version, 1)
        self.assertEqual(k.sync_async("/").get(timeout=DEADLINE), "/")
        self.assertTrue(k.delete_async(root + "/n1").get(timeout=DEADLINE))
        self.assertRaises(exceptions.NoNodeError, k.get_async(root + "/n1").get, timeout=DEADLINE)
        self.assertTrue(k.ensure_path_async(root + "/p/q").get(timeout=DEADLINE))

    def test_large_data(self):
        k, root = self.client(), self.root
        k.set(root, b"x" * 900000)
        self.assertEqual(k.get(root)[0], b"x" * 900000)

    def test_transaction(self):
        k, root = self.client(), self.root
        t = k.transaction()
        t.create(root + "/a", b"1")
        t.create(root + "/s", sequence=True, ephemeral=True)
        t.set_data(root + "/a", b"2", version=0)
        t.check(root + "/a", version=1)
        t.create(root + "/b")
        t.delete(root + "/b")
        results = t.commit()
        self.assertEqual(results[:2], [root + "/a", root + "/s0000000001"])
        self.assertEqual(results[2].version, 1)
        self.assertEqual(results[3:], [True, root + "/b", True])

    def test_failed_transaction(self):
        k, root = self.client(), self.root
        with k.transaction() as t:
            t.create(root + "/a")
            t.check(root + "/none", version=0)
            t.create(root + "/b")
        self.assertEqual(k.get_children(root), [])
        t = k.transaction()
        t.create(root + "/a")
        t.delete(root + "/none")
        t.create(root + "/b")
        self.assertEqual([type(r) for r in t.commit()],
                         [exceptions.RolledBackError, exceptions.NoNodeError,
                          exceptions.RuntimeInconsistency])

    def test_chroot(self):
        k, root = self.client(), self.root
        inner = self.client(chroot=root)
        self.assertEqual(inner.create("/a", b"x"), "/a")
        self.assertEqual(k.get(root + "/a")[0], b"x")

    def test_words(self):
        k = self.client()
        self.assertEqual(k.command(b"ruok"), "imok")
        self.assertIn("Mode: standalone", k.command(b"srvr"))
        self.assertGreaterEqual(k.server_version()[:2], (3, 8))

    def test_two_clients_see_each_other(self):
        a, b, root = self.client(), self.client(), self.root
        self.assertNotEqual(a.client_id, b.client_id)
        a.create(root + "/a", b"x")
        self.assertEqual(b.get(root + "/a")[0], b"x")


class Reconfig(KazooTest):
    options = {"reconfigEnabled": "true"}           # kazoo does not know the code for "disabled"

    def test_not_for_a_standalone_server(self):
        k = self.client()
        self.assertRaises(exceptions.UnimplementedError, k.reconfig, "server.9=127.0.0.1:1:2;3", None, None)


class Watching(KazooTest):
    def test_one_shot_watches(self):
        k, other, root, events = self.client(), self.client(), self.root, queue.Queue()
        k.get(root, watch=events.put)
        k.get_children(root, watch=events.put)
        k.exists(root + "/a", watch=events.put)
        other.set(root, b"x")
        other.create(root + "/a")
        got = [events.get(timeout=DEADLINE) for _ in range(3)]
        self.assertEqual({(e.type, e.path) for e in got}, {
            (EventType.CHANGED, root), (EventType.CREATED, root + "/a"), (EventType.CHILD, root)})
        k.exists(root + "/a", watch=events.put)
        other.delete(root + "/a")
        self.assertEqual(events.get(timeout=DEADLINE).type, EventType.DELETED)

    def test_data_watch(self):
        k, other, root, seen = self.client(), self.client(), self.root, queue.Queue()
        DataWatch(k, root + "/a", lambda data, stat: seen.put(data))
        self.assertIsNone(seen.get(timeout=DEADLINE))
        other.create(root + "/a", b"0")
        self.assertEqual(seen.get(timeout=DEADLINE), b"0")
        for n in range(1, 5):
            other.set(root + "/a", b"%d" % n)
            self.assertEqual(seen.get(timeout=DEADLINE), b"%d" % n)
        other.delete(root + "/a")
        self.assertIsNone(seen.get(timeout=DEADLINE))

    def test_children_watch(self):
        k, other, root, seen = self.client(), self.client(), self.root, queue.Queue()
        ChildrenWatch(k, root, lambda children: seen.put(sorted(children)))
        self.assertEqual(seen.get(timeout=DEADLINE), [])
        names = []
        for name in "abc":
            other.create(root + "/" + name)
            names.append(name)
            self.assertEqual(seen.get(timeout=DEADLINE), names)

    def test_watch_of_an_ephemeral(self):
        k, other, root, events = self.client(), self.client(), self.root, queue.Queue()
        other.create(root + "/e", ephemeral=True)
        k.exists(root + "/e", watch=events.put)
        other.stop()
        self.assertEqual(events.get(timeout=DEADLINE).type, EventType.DELETED)


class Sessions(KazooTest):
    def states(self, client):
        states = queue.Queue()
        client.add_listener(states.put)
        return lambda: states.get(timeout=DEADLINE)

    def test_stop_ends_the_session(self):
        k, other, root = self.client(), self.client(), self.root
        k.create(root + "/e", ephemeral=True)
        k.stop()
        self.assertIsNone(other.exists(root + "/e"))

    def test_restart_gives_a_new_session(self):
        k = self.client()
        before = k.client_id
        k.restart()
        self.assertNotEqual(k.client_id, before)
        self.assertTrue(k.exists("/"))

    def test_session_ended_behind_its_back(self):
        k, root = self.client(), self.root
        state, sid = self.states(k), k.client_id[0]
        k.create(root + "/e", ephemeral=True)
        # Sent in one piece: in between kazoo might take its session back.
        thief, (op, body) = self.raw(), wire.close_session()
        thief.send_bytes(b"".join(wire.i32(len(p)) + p for p in (
            wire.connect_request(sid=sid, passwd=k.client_id[1]), wire.i32(1) + wire.i32(op) + body)))
        self.assertEqual(thief.connect_response().sid, sid)
        self.assertEqual(len(thief.frame()), 16)
        thief.expect_close()
        got = [state()]
        while got[-1] != KazooState.CONNECTED:
            got.append(state())
        self.assertIn(KazooState.LOST, got)
        self.assertNotEqual(k.client_id[0], sid)
        self.assertIsNone(k.exists(root + "/e"))

    def test_session_moved_to_another_connection_and_back(self):
        k, root = self.client(), self.root
        state, ident = self.states(k), k.client_id
        k.create(root + "/e", ephemeral=True)
        self.connect(sid=ident[0], passwd=ident[1])
        self.assertEqual([state(), state()], [KazooState.SUSPENDED, KazooState.CONNECTED])
        self.assertEqual(k.client_id, ident)
        self.assertEqual(k.exists(root + "/e").owner_session_id, ident[0])

    def test_server_restart(self):
        k, root, seen = self.client(timeout=8.0, auth_data=[("digest", "bob:pw")]), self.root, queue.Queue()
        k.create(root + "/e", ephemeral=True)
        k.create(root + "/mine", acl=CREATOR_ALL_ACL)
        DataWatch(k, root, lambda data, stat: seen.put(data))
        self.assertEqual(seen.get(timeout=DEADLINE), b"")
        state, ident = self.states(k), k.client_id
        self.server.restart()
        self.assertEqual([state(), state()], [KazooState.SUSPENDED, KazooState.CONNECTED])
        self.assertEqual(k.client_id, ident)
        self.assertTrue(k.exists(root + "/e"))
        k.get(root + "/mine")                       # authenticated again
        self.client().set(root, b"after")
        while seen.get(timeout=DEADLINE) != b"after":
            pass

    def test_two_clients_of_one_session_after_the_other(self):
        # The first must not connect again, since it would take the session back.
        k, root = self.client(connection_retry=dict(RETRY, max_tries=0)), self.root
        k.create(root + "/e", ephemeral=True)
        ident = k.client_id
        again = self.client(client_id=ident)
        self.assertEqual(again.client_id, ident)
        self.assertTrue(again.exists(root + "/e"))

    def test_read_only_client_at_a_normal_server(self):
        k = self.client(read_only=True)
        k.create(self.root + "/a")
        self.assertEqual(str(k.client_state), "CONNECTED")


if __name__ == "__main__":
    unittest.main()
