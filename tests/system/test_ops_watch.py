"""Watches: what sets them, what fires them, order, removal, delivery by ACL."""
import socket
import unittest

from lib import wire
from lib.server import ServerTest, either, not_on_java
from lib.wire import ADMIN, ALL, EPHEMERAL, OPEN, PERSISTENT_WATCH, READ, RECURSIVE_WATCH, Err, Ev

CREATED, DELETED, CHANGED, CHILDREN = Ev.CREATED, Ev.DELETED, Ev.CHANGED, Ev.CHILDREN
ONE_MODE = "one mode per connection and path, the last one wins"
ANY_CHILD, ANY_DATA, ANY, PERSISTENT, RECURSIVE = 1, 2, 3, 4, 5


def persistent(path):
    return wire.add_watch(path, PERSISTENT_WATCH)


def recursive(path):
    return wire.add_watch(path, RECURSIVE_WATCH)


class Fired(ServerTest):
    """Who hears of which change.  Every watch sits on a connection of its own."""

    def check(self, prepare, change, expected):
        """expected: {(watch, path): events}; paths relative to the root of the test.  All other
        combinations of watch and path must stay silent."""
        c, root = self.connect(), self.root
        for request in prepare(root):
            c.call(request)
        watches = {"exists": lambda p: wire.exists(p, True), "data": lambda p: wire.get_data(p, True),
                   "children": lambda p: wire.get_children(p, True), "persistent": persistent,
                   "recursive": recursive}
        conns = {}
        for name, build in watches.items():
            for path in ("", "/p", "/p/c", "/other"):
                conn = conns[name, path] = self.connect()
                reply = conn.request(build(root + path))
                self.assertIn(reply.err, (0, Err.NO_NODE))
        c.call(change(root))
        for key, conn in conns.items():
            with self.subTest(watch=key[0], path=key[1]):
                want = [(kind, root + path) for kind, path in expected.get(key, [])]
                self.assertEqual(conn.seen(), want)
        # Once more: of the one-shot watches nothing is left.
        again = {key: conn for key, conn in conns.items() if key in expected}
        c.call(wire.set_data(root, b""))
        for key, conn in again.items():
            late = [(CHANGED, root)] if key in (("persistent", ""), ("recursive", "")) else []
            self.assertEqual(conn.seen(), late, key)

    def test_create(self):
        self.check(lambda r: [], lambda r: wire.create(r + "/p"), {
            ("exists", "/p"): [(CREATED, "/p")], ("persistent", "/p"): [(CREATED, "/p")],
            ("recursive", "/p"): [(CREATED, "/p")], ("children", ""): [(CHILDREN, "")],
            ("persistent", ""): [(CHILDREN, "")], ("recursive", ""): [(CREATED, "/p")]})

    def test_create_below(self):
        self.check(lambda r: [wire.create(r + "/p")], lambda r: wire.create2(r + "/p/c"), {
            ("exists", "/p/c"): [(CREATED, "/p/c")], ("persistent", "/p/c"): [(CREATED, "/p/c")],
            ("recursive", "/p/c"): [(CREATED, "/p/c")], ("children", "/p"): [(CHILDREN, "/p")],
            ("persistent", "/p"): [(CHILDREN, "/p")], ("recursive", "/p"): [(CREATED, "/p/c")],
            ("recursive", ""): [(CREATED, "/p/c")]})

    def test_create_container(self):
        self.check(lambda r: [], lambda r: wire.create_container(r + "/p"), {
            ("exists", "/p"): [(CREATED, "/p")], ("persistent", "/p"): [(CREATED, "/p")],
            ("recursive", "/p"): [(CREATED, "/p")], ("children", ""): [(CHILDREN, "")],
            ("persistent", ""): [(CHILDREN, "")], ("recursive", ""): [(CREATED, "/p")]})

    def test_delete(self):
        self.check(lambda r: [wire.create(r + "/p")], lambda r: wire.delete(r + "/p"), {
            ("exists", "/p"): [(DELETED, "/p")], ("data", "/p"): [(DELETED, "/p")],
            ("children", "/p"): [(DELETED, "/p")], ("persistent", "/p"): [(DELETED, "/p")],
            ("recursive", "/p"): [(DELETED, "/p")], ("children", ""): [(CHILDREN, "")],
            ("persistent", ""): [(CHILDREN, "")], ("recursive", ""): [(DELETED, "/p")]})

    def test_delete_below(self):
        self.check(lambda r: [wire.create(r + "/p"), wire.create(r + "/p/c")],
                   lambda r: wire.delete(r + "/p/c"), {
            ("exists", "/p/c"): [(DELETED, "/p/c")], ("data", "/p/c"): [(DELETED, "/p/c")],
            ("children", "/p/c"): [(DELETED, "/p/c")], ("persistent", "/p/c"): [(DELETED, "/p/c")],
            ("recursive", "/p/c"): [(DELETED, "/p/c")], ("children", "/p"): [(CHILDREN, "/p")],
            ("persistent", "/p"): [(CHILDREN, "/p")], ("recursive", "/p"): [(DELETED, "/p/c")],
            ("recursive", ""): [(DELETED, "/p/c")]})

    def test_set_data(self):
        self.check(lambda r: [wire.create(r + "/p"), wire.create(r + "/p/c")],
                   lambda r: wire.set_data(r + "/p", b""), {
            ("exists", "/p"): [(CHANGED, "/p")], ("data", "/p"): [(CHANGED, "/p")],
            ("persistent", "/p"): [(CHANGED, "/p")], ("recursive", "/p"): [(CHANGED, "/p")],
            ("recursive", ""): [(CHANGED, "/p")]})

    def test_set_acl(self):
        self.check(lambda r: [wire.create(r + "/p"), wire.create(r + "/p/c")],
                   lambda r: wire.set_acl(r + "/p", OPEN), {})

    def test_failed_changes(self):
        self.check(lambda r: [wire.create(r + "/p"), wire.create(r + "/p/c")],
                   lambda r: wire.multi(wire.set_data(r + "/p", b""), wire.delete(r + "/p")), {})

    def test_top_level(self):
        c, watcher = self.connect(), self.connect()
        watcher.add_watch("/", RECURSIVE_WATCH)
        watcher.get_children("/", watch=True)
        c.create("/top")
        c.set_data("/top", b"")
        c.delete("/top")
        want = [(CREATED, "/top"), (CHILDREN, "/"), (CHANGED, "/top"), (DELETED, "/top")]
        self.assertEqual(watcher.seen(), want)

    def test_state_and_zxid(self):
        c, root = self.connect(), self.root
        c.add_watch(root, RECURSIVE_WATCH)
        for request in (wire.create(root + "/a"), wire.set_data(root + "/a", b""),
                        wire.delete(root + "/a")):
            zxid = c.request(request).zxid
            event = c.events.pop()
            self.assertEqual((event.state, event.zxid), (3, either(zxid, -1)))

    def test_zxid_of_events_of_another_session(self):
        a, b, root = self.connect(), self.connect(), self.root
        a.exists(root, watch=True)
        zxid = b.request(wire.set_data(root, b"")).zxid
        self.assertEqual(a.event(), (CHANGED, root, either(zxid, -1), 3))

    def test_system_nodes(self):
        c = self.connect()
        c.exists("/zookeeper/quota", watch=True)
        c.set_data("/zookeeper/quota", b"")
        self.assertEqual(c.seen(), [(CHANGED, "/zookeeper/quota")])


class Registration(ServerTest):
    def test_failed_reads_set_nothing(self):
        c, root = self.connect(), self.root
        for call in (c.get_data, c.get_children, c.get_children2):
            self.fails(Err.NO_NODE, call, root + "/a", watch=True)
        c.create(root + "/a")
        c.create(root + "/a/b")
        self.assertEqual(c.seen(), [])

    def test_unreadable_nodes_set_nothing(self):
        c, root = self.connect(), self.root
        c.set_acl(root, [(ALL & ~READ, "world", "anyone")])
        for call in (c.get_data, c.get_children, c.get_children2):
            self.fails(Err.NO_AUTH, call, root, watch=True)
        c.set_acl(root, OPEN)
        c.set_data(root, b"")
        c.create(root + "/a")
        self.assertEqual(c.seen(), [])

    @not_on_java("exists asks for no right before 3.8.4")
    def test_unreadable_node_in_exists_sets_nothing(self):
        c, root = self.connect(), self.root
        c.set_acl(root, [(ALL & ~READ, "world", "anyone")])
        self.fails(Err.NO_AUTH, c.exists, root, watch=True)
        c.set_acl(root, OPEN)
        c.set_data(root, b"")
        self.assertEqual(c.seen(), [])

    def test_missing_node_in_exists_sets_a_watch(self):
        c, root = self.connect(), self.root
        self.fails(Err.NO_NODE, c.exists, root + "/a/b", watch=True)
        c.create(root + "/a")
        c.create(root + "/a/b")
        self.assertEqual(c.seen(), [(CREATED, root + "/a/b")])

    def test_asking_often_gives_one_event(self):
        c, root = self.connect(), self.root
        for _ in range(3):
            c.exists(root, watch=True)
            c.get_data(root, watch=True)
            c.get_children(root, watch=True)
            c.get_children2(root, watch=True)
        c.set_data(root, b"")
        c.create(root + "/a")
        self.assertEqual(c.seen(), [(CHANGED, root), (CHILDREN, root)])

    def test_a_read_without_watch_leaves_the_watch(self):
        c, root = self.connect(), self.root
        c.get_data(root, watch=True)
        c.get_data(root)
        c.set_data(root, b"")
        self.assertEqual(c.seen(), [(CHANGED, root)])

    def test_set_again_after_it_fired(self):
        c, root = self.connect(), self.root
        for _ in range(3):
            c.get_data(root, watch=True)
            c.set_data(root, b"")
            c.set_data(root, b"")
            self.assertEqual(c.seen(), [(CHANGED, root)])

    def test_add_watch_checks_nothing(self):
        c = self.connect()
        for path in ("/none", "", "no slash", "//", "/a/../b", "/zookeeper", "/nul\0"):
            for mode in (PERSISTENT_WATCH, RECURSIVE_WATCH):
                self.assertEqual(c.request(wire.add_watch(path, mode))[2:], (0, bytes(4)))

    def test_add_watch_needs_no_right(self):
        c, root = self.connect(), self.root
        c.set_acl(root, [(ADMIN, "world", "anyone")])
        c.add_watch(root, PERSISTENT_WATCH)
        c.set_acl(root, OPEN)
        c.set_data(root, b"")
        self.assertEqual(c.seen(), [(CHANGED, root)])

    def test_add_watch_with_other_modes(self):
        c, root = self.connect(), self.root
        for mode in (-1, 2, 3, 100):
            self.fails(Err.MARSHALLING, c.add_watch, root, mode)
        c.set_data(root, b"")
        self.assertEqual(c.seen(), [])

    def test_watch_through_the_empty_path_never_fires(self):
        c, root = self.connect(), self.root
        for call in (c.exists, c.get_data, c.get_children):
            call("", watch=True)
        c.set_data("/", b"")
        c.create(root + "-top")
        self.assertEqual(c.seen(), [])
        c.set_data("/", b"")

    def test_watches_are_of_the_connection(self):
        a, b, root = self.connect(), self.connect(), self.root
        a.get_data(root, watch=True)
        b.set_data(root, b"")
        self.assertEqual((a.seen(), b.seen()), ([(CHANGED, root)], []))

    def test_many_watchers_of_one_node(self):
        root, c = self.root, self.connect()
        watchers = [self.connect() for _ in range(30)]
        for w in watchers:
            w.get_data(root, watch=True)
        c.set_data(root, b"")
        for w in watchers:
            self.assertEqual(w.event()[:2], (CHANGED, root))

    def test_closing_a_connection_removes_its_watches(self):
        a, b, root = self.connect(), self.connect(), self.root
        for n in range(50):
            a.request(wire.exists("%s/n%d" % (root, n), True))
        a.add_watch(root, RECURSIVE_WATCH)
        a.close()
        self.wait_for(lambda: self.server.word("wchs").endswith("Total watches:0\n"))
        b.create(root + "/n1")


class SeveralWatches(ServerTest):
    """Different watches of one connection on one path, or on a path and its ancestors."""

    def test_exists_and_data_give_one_event(self):
        c, root = self.connect(), self.root
        c.exists(root, watch=True)
        c.get_data(root, watch=True)
        c.set_data(root, b"")
        c.set_data(root, b"")
        self.assertEqual(c.seen(), [(CHANGED, root)])

    def test_data_and_children_give_one_event_for_the_deletion(self):
        c, root = self.connect(), self.root
        c.create(root + "/a")
        c.get_data(root + "/a", watch=True)
        c.get_children(root + "/a", watch=True)
        c.delete(root + "/a")
        self.assertEqual(c.seen(), [(DELETED, root + "/a")])
        self.fails(Err.NO_WATCHER, c.check_watches, root + "/a", ANY)

    def test_node_before_parent(self):
        c, root = self.connect(), self.root
        self.fails(Err.NO_NODE, c.exists, root + "/a", watch=True)
        c.get_children(root, watch=True)
        c.create(root + "/a")
        self.assertEqual(c.seen(), [(CREATED, root + "/a"), (CHILDREN, root)])
        c.get_data(root + "/a", watch=True)
        c.get_children(root, watch=True)
        c.delete(root + "/a")
        self.assertEqual(c.seen(), [(DELETED, root + "/a"), (CHILDREN, root)])

    def test_recursive_above_and_one_shot_on_the_node(self):
        c, root = self.connect(), self.root
        c.create(root + "/a")
        c.add_watch(root, RECURSIVE_WATCH)
        c.get_data(root + "/a", watch=True)
        for _ in range(2):
            c.set_data(root + "/a", b"")
            self.assertEqual(c.seen(), [(CHANGED, root + "/a")])
        c.remove_watches(root, ANY)
        c.set_data(root + "/a", b"")
        self.assertEqual(c.seen(), [])              # the one-shot was spent at the first change

    def test_recursive_and_persistent_of_different_paths(self):
        c, root = self.connect(), self.root
        c.create(root + "/a")
        c.add_watch("/", RECURSIVE_WATCH)
        c.add_watch(root, PERSISTENT_WATCH)
        c.add_watch(root + "/a", RECURSIVE_WATCH)
        c.create(root + "/a/b")
        c.set_data(root + "/a", b"")
        c.delete(root + "/a/b")
        c.delete(root + "/a")
        self.assertEqual(c.seen(), [(CREATED, root + "/a/b"), (CHANGED, root + "/a"),
                                    (DELETED, root + "/a/b"), (DELETED, root + "/a"), (CHILDREN, root)])

    def test_persistent_outlives_the_node(self):
        c, root = self.connect(), self.root
        c.add_watch(root + "/a", PERSISTENT_WATCH)
        for _ in range(2):
            c.create(root + "/a")
            c.create(root + "/a/b")
            c.set_data(root + "/a/b", b"")
            c.set_data(root + "/a", b"")
            c.delete(root + "/a/b")
            c.delete(root + "/a")
        path = root + "/a"
        self.assertEqual(c.seen(), 2 * [(CREATED, path), (CHILDREN, path), (CHANGED, path),
                                        (CHILDREN, path), (DELETED, path)])

    def test_recursive_sees_nodes_but_no_lists_of_children(self):
        c, root = self.connect(), self.root
        c.add_watch(root, RECURSIVE_WATCH)
        for request in (wire.create(root + "/a"), wire.create(root + "/a/b"), wire.set_data(root, b""),
                        wire.set_data(root + "/a/b", b""), wire.delete(root + "/a/b"),
                        wire.delete(root + "/a"), wire.create(root + "-x"), wire.delete(root)):
            c.call(request)
        self.assertEqual(c.seen(), [
            (CREATED, root + "/a"), (CREATED, root + "/a/b"), (CHANGED, root), (CHANGED, root + "/a/b"),
            (DELETED, root + "/a/b"), (DELETED, root + "/a"), (DELETED, root)])

    def test_lists_of_children_beside_recursive(self):
        c, root = self.connect(), self.root
        c.add_watch(root, RECURSIVE_WATCH)
        c.get_children(root, watch=True)
        c.create(root + "/a")
        c.create(root + "/b")
        self.assertEqual(c.seen(), [(CREATED, root + "/a"), (CHILDREN, root), (CREATED, root + "/b")])

    @not_on_java(ONE_MODE)
    def test_one_shot_beside_persistent(self):
        for first in (0, 1):
            self.__dict__.pop("_root", None)
            c, root = self.connect(), self.root
            requests = [wire.get_data(root, True), persistent(root)]
            c.call(requests[first])
            c.call(requests[1 - first])
            c.get_children(root, watch=True)
            c.set_data(root, b"")
            c.set_data(root, b"")
            c.create(root + "/a")
            c.create(root + "/b")
            self.assertEqual(c.seen(), [(CHANGED, root)] * 2 + [(CHILDREN, root)] * 2)
            self.fails(Err.NO_WATCHER, c.check_watches, root, ANY_DATA)
            self.fails(Err.NO_WATCHER, c.check_watches, root, ANY_CHILD)
            c.check_watches(root, PERSISTENT)

    @not_on_java(ONE_MODE)
    def test_one_shot_beside_recursive_on_one_path(self):
        c, root = self.connect(), self.root
        c.add_watch(root, RECURSIVE_WATCH)
        c.get_data(root, watch=True)
        for _ in range(2):
            c.set_data(root, b"")
        c.create(root + "/a")
        self.assertEqual(c.seen(), [(CHANGED, root)] * 2 + [(CREATED, root + "/a")])

    @not_on_java(ONE_MODE)
    def test_children_watch_before_recursive(self):
        c, root = self.connect(), self.root
        c.get_children(root, watch=True)
        c.add_watch(root, RECURSIVE_WATCH)
        c.create(root + "/a")
        self.assertEqual(c.seen(), [(CREATED, root + "/a"), (CHILDREN, root)])

    @not_on_java(ONE_MODE)
    def test_persistent_beside_recursive_on_one_path(self):
        c, root = self.connect(), self.root
        c.add_watch(root, PERSISTENT_WATCH)
        c.add_watch(root, RECURSIVE_WATCH)
        c.set_data(root, b"")
        c.create(root + "/a")
        c.delete(root + "/a")
        c.delete(root)
        self.assertEqual(c.seen(), [(CHANGED, root), (CREATED, root + "/a"), (CHILDREN, root),
                                    (DELETED, root + "/a"), (CHILDREN, root), (DELETED, root)])


class Order(ServerTest):
    def kinds(self, c):
        """What arrived since the connect: e for events, xids for replies."""
        return [x.path if isinstance(x, wire.Event) else x.err for x in c.trace]

    def test_event_before_the_reply_to_its_cause(self):
        c, root = self.connect(), self.root
        c.add_watch(root, RECURSIVE_WATCH)
        del c.trace[:]
        c.create(root + "/a")
        c.set_data(root + "/a", b"")
        c.delete(root + "/a")
        self.assertEqual(self.kinds(c), [root + "/a", 0] * 3)

    def test_events_of_a_multi_in_its_order_and_before_its_reply(self):
        c, root = self.connect(), self.root
        c.add_watch("/", RECURSIVE_WATCH)
        c.get_children(root, watch=True)
        c.exists(root, watch=True)
        del c.trace[:]
        c.multi(wire.create(root + "/b"), wire.create(root + "/a"), wire.set_data(root, b""),
                wire.set_data(root + "/b", b""), wire.delete(root + "/a"))
        self.assertEqual([e[:2] for e in c.trace[:-1]], [
            (CREATED, root + "/b"), (CHILDREN, root), (CREATED, root + "/a"), (CHANGED, root),
            (CHANGED, root + "/b"), (DELETED, root + "/a")])
        self.assertEqual(len({e.zxid for e in c.trace[:-1]}), 1)
        self.assertIsInstance(c.trace[-1], wire.Reply)

    def test_event_before_a_reply_that_shows_the_change(self):
        a, b, root = self.connect(), self.connect(), self.root
        for n in range(50):
            a.get_data(root, watch=True)
            b.send(wire.set_data(root, b"%d" % n))
            while a.get_data(root)[0] != b"%d" % n:     # each read either is old or after the event
                self.assertEqual(a.events, [])
            self.assertEqual([e.path for e in a.events], [root])
            del a.events[:]
            b.reply()

    def test_pipelined_read_with_watch_and_write(self):
        c, root = self.connect(), self.root
        del c.trace[:]
        results = c.results(wire.get_data(root, True), wire.set_data(root, b"1"), wire.get_data(root, True),
                            wire.set_data(root, b"2"), wire.get_data(root))
        self.assertEqual([r[0] for r in results[::2]], [b"", b"1", b"2"])
        self.assertEqual(self.kinds(c), [0, root, 0, 0, root, 0, 0])

    def test_one_transaction_after_the_other(self):
        a, b, root = self.connect(), self.connect(), self.root
        a.add_watch(root, RECURSIVE_WATCH)
        paths = ["%s/n%d" % (root, n) for n in range(100)]
        b.results(*[wire.create(p) for p in paths])
        self.assertEqual(a.seen(), [(CREATED, p) for p in paths])

    @not_on_java("takes more than a minute for these")
    def test_events_left_unread(self):
        """They wait, in order, behind what the socket has taken of them, and so does the reply to what was asked behind them."""
        a, b = self.connect(), self.connect()
        path = self.root + "/" + 4000 * "p"
        b.create(path)
        a.add_watch(path, PERSISTENT_WATCH)
        a.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        count = 3000                                    # of 4 kB each: far more than the two sockets hold
        for n in range(0, count, 100):
            b.results(*[wire.set_data(path, b"%d" % (n + i)) for i in range(100)])
        self.assertGreater(self.left_unread(), count * 4000 // 10)
        xid = a.send(wire.get_data(path))
        events = [a.event() for _ in range(count)]
        self.assertEqual({e[:2] for e in events}, {(CHANGED, path)})
        self.assertEqual([e.zxid - events[0].zxid for e in events], list(range(count)))
        reply = a.reply()
        self.assertEqual((reply.xid, reply.err, a.events), (xid, 0, []))

    def left_unread(self):
        """Bytes that the server has for clients and their sockets do not take."""
        words = dict(line.split("\t", 1) for line in self.server.word("mntr").splitlines())
        return int(words["zk_zabra_output_buffer_bytes"])


class CheckAndRemove(ServerTest):
    def answers(self, c, build, path, kinds=(ANY_CHILD, ANY_DATA, ANY)):
        return [c.request(build(path, kind)).err for kind in kinds]

    def test_one_shot_watches_by_type(self):
        c, root = self.connect(), self.root
        none = Err.NO_WATCHER
        self.assertEqual(self.answers(c, wire.check_watches, root), [none] * 3)
        c.get_children(root, watch=True)
        self.assertEqual(self.answers(c, wire.check_watches, root), [0, none, 0])
        c.exists(root, watch=True)
        self.assertEqual(self.answers(c, wire.check_watches, root), [0, 0, 0])
        c.create(root + "/a")
        self.assertEqual(self.answers(c, wire.check_watches, root), [none, 0, 0])
        c.set_data(root, b"")
        self.assertEqual(self.answers(c, wire.check_watches, root), [none] * 3)

    def test_reply_is_a_bare_header(self):
        c, root = self.connect(), self.root
        c.get_data(root, watch=True)
        for build in (wire.check_watches, wire.remove_watches):
            self.assertEqual(self.answer(c, build(root, ANY_DATA)), (0, b""))
        self.assertEqual(self.answer(c, wire.check_watches(root, ANY)), (Err.NO_WATCHER, b""))

    def test_removal_by_type(self):
        c, root = self.connect(), self.root
        for kind, left in ((ANY_CHILD, [(CHANGED, root)]), (ANY_DATA, [(CHILDREN, root)]), (ANY, [])):
            c.get_data(root, watch=True)
            c.get_children(root, watch=True)
            c.remove_watches(root, kind)
            self.fails(Err.NO_WATCHER, c.remove_watches, root, kind)
            c.set_data(root, b"")
            c.create(root + "/n%d" % kind)
            self.assertEqual(c.seen(), left)

    def test_removal_of_persistent_ones_with_any(self):
        for mode in (PERSISTENT_WATCH, RECURSIVE_WATCH):
            c, root = self.connect(), self.root
            c.add_watch(root, mode)
            c.check_watches(root, ANY)
            c.remove_watches(root, ANY)
            self.fails(Err.NO_WATCHER, c.check_watches, root, ANY)
            c.set_data(root, b"")
            c.create("%s/n%d" % (root, mode))
            self.assertEqual(c.seen(), [])

    @not_on_java("types 4 and 5 do not exist, 1 and 2 find any mode")
    def test_persistent_types(self):
        c, root = self.connect(), self.root
        kinds, none = (ANY_CHILD, ANY_DATA, ANY, PERSISTENT, RECURSIVE), Err.NO_WATCHER
        c.add_watch(root, PERSISTENT_WATCH)
        self.assertEqual(self.answers(c, wire.check_watches, root, kinds), [none, none, 0, 0, none])
        for kind in (ANY_CHILD, ANY_DATA, RECURSIVE):
            self.fails(none, c.remove_watches, root, kind)
        c.remove_watches(root, PERSISTENT)
        self.assertEqual(self.answers(c, wire.check_watches, root, kinds), [none] * 5)
        c.add_watch(root, RECURSIVE_WATCH)
        self.assertEqual(self.answers(c, wire.check_watches, root, kinds), [none, none, 0, none, 0])
        c.remove_watches(root, RECURSIVE)
        c.set_data(root, b"")
        c.create(root + "/a")
        self.assertEqual(c.seen(), [])

    @not_on_java(ONE_MODE)
    def test_each_type_leaves_the_others(self):
        c, root = self.connect(), self.root
        c.add_watch(root, PERSISTENT_WATCH)
        c.add_watch(root, RECURSIVE_WATCH)
        c.get_data(root, watch=True)
        c.get_children(root, watch=True)
        left = {ANY_CHILD, ANY_DATA, PERSISTENT, RECURSIVE}
        for kind in (ANY_DATA, PERSISTENT, ANY_CHILD, RECURSIVE):
            c.remove_watches(root, kind)
            left.discard(kind)
            for other in (ANY_CHILD, ANY_DATA, PERSISTENT, RECURSIVE):
                self.assertEqual(c.request(wire.check_watches(root, other)).err,
                                 0 if other in left else Err.NO_WATCHER)
        self.fails(Err.NO_WATCHER, c.check_watches, root, ANY)

    @not_on_java("types 4 and 5 are refused")
    def test_removing_persistent_keeps_one_shot(self):
        c, root = self.connect(), self.root
        c.get_data(root, watch=True)
        c.add_watch(root, PERSISTENT_WATCH)
        c.remove_watches(root, PERSISTENT)
        c.set_data(root, b"")
        c.set_data(root, b"")
        self.assertEqual(c.seen(), [(CHANGED, root)])

    def test_bad_types(self):
        c, root = self.connect(), self.root
        for kind in (0, 6, -1, 100) + either((), (4, 5)):
            self.fails(Err.MARSHALLING, c.check_watches, root, kind)
            self.fails(Err.MARSHALLING, c.remove_watches, root, kind)

    def test_exact_path_only(self):
        c, root = self.connect(), self.root
        c.add_watch(root, RECURSIVE_WATCH)
        for path in (root + "/a", "/", root + "/", "", "//") + either(("nonsense", "a/b"), ()):
            for build in (wire.check_watches, wire.remove_watches):
                with self.subTest(path):
                    self.assertEqual(self.answers(c, build, path), [Err.NO_WATCHER] * 3)

    def test_own_watches_only(self):
        a, b, root = self.connect(), self.connect(), self.root
        a.get_data(root, watch=True)
        self.fails(Err.NO_WATCHER, b.remove_watches, root, ANY)
        b.set_data(root, b"")
        self.assertEqual(a.seen(), [(CHANGED, root)])

    @not_on_java("checkWatches finds those of other connections, too")
    def test_check_looks_at_own_watches_only(self):
        a, b, root = self.connect(), self.connect(), self.root
        a.get_data(root, watch=True)
        a.get_children(root, watch=True)
        self.assertEqual(self.answers(b, wire.check_watches, root), [Err.NO_WATCHER] * 3)

    def test_of_a_missing_node(self):
        c, root = self.connect(), self.root
        self.fails(Err.NO_NODE, c.exists, root + "/a", watch=True)
        c.remove_watches(root + "/a", ANY_DATA)
        c.create(root + "/a")
        self.assertEqual(c.seen(), [])

    def test_unreadable_nodes(self):
        c, root = self.connect(), self.root
        c.get_data(root, watch=True)
        c.set_acl(root, [(ADMIN, "world", "anyone")])
        c.check_watches(root, ANY_DATA)
        c.remove_watches(root, ANY_DATA)


class SetWatches(ServerTest):
    def setUp(self):
        self.c = self.connect()

    def after(self, **lists):
        """Events sent before the reply to setWatches2 with the present zxid."""
        c = self.c
        zxid = lists.pop("zxid", None)
        zxid = c.request(wire.ping()).zxid if zxid is None else zxid
        c.set_watches2(zxid, **lists)
        events, c.events = c.events, []
        for e in events:
            self.assertEqual((e.state, e.zxid), (3, -1))
        return [(e.type, e.path) for e in events]

    def test_data_list(self):
        c, root = self.c, self.root
        old = c.request(wire.ping()).zxid
        zxid = c.request(wire.set_data(root, b"")).zxid
        self.assertEqual(self.after(data=[root], zxid=old), [(CHANGED, root)])
        c.set_data(root, b"")                                   # so no watch was set
        self.assertEqual(c.seen(), [])
        self.assertEqual(self.after(data=[root + "/none"]), [(DELETED, root + "/none")])
        c.create(root + "/none")
        self.assertEqual(c.seen(), [])
        self.assertEqual(self.after(data=[root]), [])           # nothing newer: set
        c.set_data(root, b"")
        c.set_data(root, b"")
        self.assertEqual(c.seen(), [(CHANGED, root)])
        self.assertEqual(self.after(data=[root], zxid=zxid), [(CHANGED, root)])

    def test_change_at_exactly_the_zxid_is_known(self):
        c, root = self.c, self.root
        zxid = c.request(wire.set_data(root, b"")).zxid
        self.assertEqual(self.after(data=[root], zxid=zxid), [])
        self.assertEqual(self.after(data=[root], zxid=zxid - 1), [(CHANGED, root)])
        zxid = c.request(wire.create(root + "/a")).zxid
        self.assertEqual(self.after(child=[root], zxid=zxid), [])
        self.assertEqual(self.after(child=[root], zxid=zxid - 1), [(CHILDREN, root)])

    def test_exist_list(self):
        c, root = self.c, self.root
        self.assertEqual(self.after(exist=[root]), [(CREATED, root)])
        self.assertEqual(self.after(exist=[root + "/a"]), [])
        c.create(root + "/a")
        c.set_data(root + "/a", b"")
        c.set_data(root, b"")
        self.assertEqual(c.seen(), [(CREATED, root + "/a")])

    def test_child_list(self):
        c, root = self.c, self.root
        old = c.request(wire.ping()).zxid
        c.create(root + "/a")
        self.assertEqual(self.after(child=[root], zxid=old), [(CHILDREN, root)])
        self.assertEqual(self.after(child=[root + "/none"]), [(DELETED, root + "/none")])
        self.assertEqual(self.after(child=[root]), [])
        c.set_data(root, b"")
        c.delete(root + "/a")
        c.create(root + "/a")
        self.assertEqual(c.seen(), [(CHILDREN, root)])

    def test_deletions_of_children_count(self):
        c, root = self.c, self.root
        c.create(root + "/a")
        old = c.request(wire.ping()).zxid
        c.delete(root + "/a")
        self.assertEqual(self.after(child=[root], zxid=old), [(CHILDREN, root)])

    def test_persistent_lists_never_give_events(self):
        c, root = self.c, self.root
        c.create(root + "/a")
        self.assertEqual(self.after(persistent=[root, root + "/none"], recursive=[root + "/a", root + "/x"],
                                    zxid=0), [])
        c.set_data(root, b"")
        c.create(root + "/none")
        c.create(root + "/a/b")
        c.create(root + "/x")
        self.assertEqual(c.seen(), [
            (CHANGED, root), (CREATED, root + "/none"), (CHILDREN, root), (CREATED, root + "/a/b"),
            (CREATED, root + "/x"), (CHILDREN, root)])

    def test_order_and_no_suppression(self):
        c, root = self.c, self.root
        c.create(root + "/a")
        got = self.after(zxid=0, data=[root + "/a", root, root + "/a"], exist=[root],
                         child=[root, root + "/none"])
        self.assertEqual(got, [(CHANGED, root + "/a"), (CHANGED, root), (CHANGED, root + "/a"),
                               (CREATED, root), (CHILDREN, root), (DELETED, root + "/none")])

    def test_recreated_node_counts_as_changed(self):
        c, root = self.c, self.root
        c.create(root + "/a")
        old = c.request(wire.ping()).zxid
        c.delete(root + "/a")
        c.create(root + "/a")
        self.assertEqual(self.after(data=[root + "/a"], zxid=old), [(CHANGED, root + "/a")])

    def test_no_acl_and_no_path_checks(self):
        c, root = self.c, self.root
        c.create(root + "/a", acl=[(0, "world", "anyone")])
        got = self.after(zxid=0, data=[root + "/a", "bad", "//"], exist=[root + "/a", "", "x"])
        self.assertEqual(got[:4], [(CHANGED, root + "/a"), (DELETED, "bad"), (DELETED, "//"),
                                   (CREATED, root + "/a")])

    def test_first_version_of_the_request(self):
        c, root = self.c, self.root
        zxid = c.request(wire.ping()).zxid
        xid = c.send(wire.set_watches(0, data=[root], exist=[root], child=[root + "/none"]), xid=-8)
        self.assertEqual(c.reply(), (xid, zxid, 0, b""))
        self.assertEqual([e[:2] for e in c.events], [(CHANGED, root), (CREATED, root),
                                                     (DELETED, root + "/none")])
        self.assertEqual({e.zxid for e in c.events}, {-1})
        del c.events[:]
        c.set_watches(zxid, data=[root], child=[root])
        c.set_data(root, b"")
        c.create(root + "/a")
        self.assertEqual(c.seen(), [(CHANGED, root), (CHILDREN, root)])

    def test_many_paths(self):
        paths = ["%s/none%d" % (self.root, n) for n in range(3000)]
        self.assertEqual(self.after(data=paths), [(DELETED, p) for p in paths])

    def test_twice_gives_one_event(self):
        c, root = self.c, self.root
        for _ in range(2):
            self.assertEqual(self.after(data=[root, root], child=[root]), [])
        c.set_data(root, b"")
        self.assertEqual(c.seen(), [(CHANGED, root)])


class Delivery(ServerTest):
    """An event goes only to connections that may read the node (or, for a list of children, the
    parent); a one-shot watch is spent all the same."""
    HIDDEN = [(ALL & ~READ, "world", "anyone"), (READ, "digest", "x:MEJqKszm5QjsB/DDYgSVr5oDjb4=")]

    def watchers(self):
        """One connection that may read hidden nodes and one that may not."""
        friend, stranger = self.connect(), self.connect()
        friend.auth("digest", b"x:y")
        return friend, stranger

    def test_changed_and_deleted(self):
        c, root = self.connect(), self.root
        c.create(root + "/a")
        conns = self.watchers()
        for w in conns:
            w.add_watch(root + "/a", PERSISTENT_WATCH)
        c.set_acl(root + "/a", self.HIDDEN)
        c.set_data(root + "/a", b"")
        c.delete(root + "/a")
        self.assertEqual([w.seen() for w in conns],
                         [[(CHANGED, root + "/a"), (DELETED, root + "/a")], []])

    def test_created_by_the_new_acl(self):
        c, root = self.connect(), self.root
        conns = self.watchers()
        for w in conns:
            self.fails(Err.NO_NODE, w.exists, root + "/a", watch=True)
            w.add_watch(root, PERSISTENT_WATCH)
        c.create(root + "/a", acl=self.HIDDEN)
        self.assertEqual([w.seen() for w in conns],
                         [[(CREATED, root + "/a"), (CHILDREN, root)], [(CHILDREN, root)]])

    def test_children_by_the_acl_of_the_parent(self):
        c, root = self.connect(), self.root
        conns = self.watchers()
        for w in conns:
            w.get_children(root, watch=True)
        c.set_acl(root, self.HIDDEN)
        c.create(root + "/a")
        self.assertEqual([w.seen() for w in conns], [[(CHILDREN, root)], []])

    def test_recursive_by_the_acl_of_the_changed_node(self):
        c, root = self.connect(), self.root
        conns = self.watchers()
        for w in conns:
            w.add_watch(root, RECURSIVE_WATCH)
        c.set_acl(root, self.HIDDEN)
        c.create(root + "/open")
        c.create(root + "/hidden", acl=self.HIDDEN)
        c.set_data(root + "/hidden", b"")
        c.set_data(root + "/open", b"")
        c.delete(root + "/hidden")
        hidden, shown = root + "/hidden", root + "/open"
        self.assertEqual(conns[0].seen(), [(CREATED, shown), (CREATED, hidden), (CHANGED, hidden),
                                           (CHANGED, shown), (DELETED, hidden)])
        self.assertEqual(conns[1].seen(), [(CREATED, shown), (CHANGED, shown)])

    def test_suppressed_event_spends_the_watch(self):
        c, root = self.connect(), self.root
        w = self.connect()
        w.get_data(root, watch=True)
        c.set_acl(root, self.HIDDEN)
        c.set_data(root, b"")
        c.set_acl(root, OPEN)
        c.set_data(root, b"")
        self.assertEqual(w.seen(), [])
        self.fails(Err.NO_WATCHER, w.check_watches, root, ANY)

    def test_identities_of_the_moment_count(self):
        c, root = self.connect(), self.root
        w = self.connect()
        w.add_watch(root, PERSISTENT_WATCH)
        c.set_acl(root, self.HIDDEN)
        c.set_data(root, b"")
        w.auth("digest", b"x:y")
        c.set_data(root, b"")
        self.assertEqual(w.seen(), [(CHANGED, root)])

    def test_events_for_the_one_who_caused_them(self):
        c, root = self.connect(), self.root
        c.add_watch(root, PERSISTENT_WATCH)
        c.set_acl(root, self.HIDDEN)
        c.set_data(root, b"")
        self.assertEqual(c.seen(), [])


class EndOfSession(ServerTest):
    def test_events_for_ephemerals(self):
        c, owner, root = self.connect(), self.connect(), self.root
        names = ["%s/e%d" % (root, n) for n in range(3)]
        for name in names:
            owner.create(name, flags=EPHEMERAL)
        one, many, deep = self.connect(), self.connect(), self.connect()
        one.exists(names[0], watch=True)
        one.get_children(root, watch=True)
        many.add_watch(root, PERSISTENT_WATCH)
        deep.add_watch(root, RECURSIVE_WATCH)
        zxid = owner.request(wire.close_session()).zxid
        self.assertEqual(sorted(one.seen()), sorted([(DELETED, names[0]), (CHILDREN, root)]))
        self.assertEqual(many.seen(), [(CHILDREN, root)] * 3)
        self.assertEqual(sorted(deep.seen()), [(DELETED, n) for n in names])
        stat = c.exists(root)
        self.assertEqual((stat.pzxid, stat.cversion, stat.numChildren), (zxid, 6, 0))

    def test_own_watches_fire_before_the_reply(self):
        c, root = self.connect(), self.root
        c.create(root + "/e", flags=EPHEMERAL)
        c.exists(root + "/e", watch=True)
        xid = c.send(wire.close_session())
        reply = c.reply()
        self.assertEqual((reply.xid, reply.err, reply.body), (xid, 0, b""))
        self.assertEqual([e[:2] for e in c.events], [(DELETED, root + "/e")])
        c.expect_close()


if __name__ == "__main__":
    unittest.main()
