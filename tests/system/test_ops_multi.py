"""multi and multiRead: layout, results, failure, rollback."""
import unittest

from lib import wire
from lib.server import ServerTest, not_on_java
from lib.wire import (CONTAINER, EPHEMERAL, MULTI_END, SEQUENTIAL, TTL, TTL_SEQUENTIAL, Err, Op,
                      boolean, i32)

FAILED = -1


def failed(*codes):
    return [(FAILED, code) for code in codes]


class Success(ServerTest):
    options = {"extendedTypesEnabled": "true"}

    def test_result_of_each_operation(self):
        c, root = self.connect(), self.root
        c.create(root + "/old")
        results = c.multi(
            wire.create(root + "/a", b"1"), wire.create_container(root + "/c"),
            wire.create_ttl(root + "/t", 100000), wire.set_data(root + "/a", b"22"),
            wire.check(root + "/a", 1), wire.delete(root + "/old"))
        self.assertEqual([r[0] for r in results], [Op.CREATE, Op.CREATE2, Op.CREATE2, Op.SET_DATA,
                                                   Op.CHECK, Op.DELETE])
        self.assertEqual(results[0][1], root + "/a")
        self.assertEqual(results[1][1], (root + "/c", c.exists(root + "/c")))
        self.assertEqual(results[2][1], (root + "/t", c.exists(root + "/t")))
        self.assertEqual(results[3][1], c.exists(root + "/a"))
        self.assertEqual(sorted(c.get_children(root)), ["a", "c", "t"])

    @not_on_java("create2 inside a multi is a plain create until 3.8.1")
    def test_create2_gives_the_stat(self):
        c, root = self.connect(), self.root
        results = c.multi(wire.create2(root + "/a", b"x"))
        self.assertEqual(results, [(Op.CREATE2, (root + "/a", c.exists(root + "/a")))])

    def test_bytes_of_a_result(self):
        c, root = self.connect(), self.root
        body = c.request(wire.multi(wire.create(root + "/a"), wire.delete(root + "/a"))).body
        self.assertEqual(body, i32(1) + b"\0" + i32(0) + wire.ustr(root + "/a")
                         + i32(2) + b"\0" + i32(0) + MULTI_END)

    def test_one_zxid_and_time_for_all(self):
        c, root = self.connect(), self.root
        before = c.request(wire.ping()).zxid
        reply = c.request(wire.multi(wire.create(root + "/a"), wire.create(root + "/b"),
                                     wire.set_data(root + "/a", b"x"), wire.set_data(root, b"")))
        self.assertEqual((reply.err, reply.zxid), (0, before + 1))
        a, b = c.exists(root + "/a"), c.exists(root + "/b")
        self.assertEqual((a.czxid, a.mzxid, b.czxid, c.exists(root).mzxid, c.exists(root).pzxid),
                         (reply.zxid,) * 5)
        self.assertEqual((a.ctime, b.ctime), (a.mtime,) * 2)

    def test_empty(self):
        c = self.connect()
        before = c.request(wire.ping()).zxid
        reply = c.request(wire.multi())
        self.assertEqual(reply[1:], (before + 1, 0, MULTI_END))

    def test_earlier_operations_are_seen_by_later_ones(self):
        c, root = self.connect(), self.root
        results = c.multi(
            wire.create(root + "/a"), wire.create(root + "/a/b"), wire.check(root + "/a/b", 0),
            wire.set_data(root + "/a", b"x", 0), wire.check(root + "/a", 1), wire.delete(root + "/a/b"),
            wire.delete(root + "/a", 1), wire.create(root + "/a"))
        self.assertNotIn(FAILED, [r[0] for r in results])
        self.assertEqual(c.exists(root + "/a").version, 0)

    def test_sequence_numbers(self):
        c, root = self.connect(), self.root
        results = c.multi(*[wire.create(root + "/s", flags=f) for f in (2, 3, 0, 2)])
        self.assertEqual([r[1] for r in results], [root + s for s in (
            "/s0000000000", "/s0000000001", "/s", "/s0000000003")])

    def test_stat_in_a_result_is_that_after_its_operation(self):
        c, root = self.connect(), self.root
        results = c.multi(wire.set_data(root, b"1"), wire.set_data(root, b"333"), wire.create(root + "/a"))
        self.assertEqual([(r[1].version, r[1].dataLength) for r in results[:2]], [(1, 1), (2, 3)])

    def test_ephemerals(self):
        c, root = self.connect(), self.root
        c.multi(wire.create(root + "/e", flags=EPHEMERAL), wire.create(root + "/f"))
        self.assertEqual(c.exists(root + "/e").ephemeralOwner, c.sid)
        c.end_session()
        self.assertEqual(self.connect().get_children(root), ["f"])

    def test_container_flag_makes_a_container(self):
        c, root = self.connect(), self.root
        kinds = [r[0] for r in c.multi(wire.create(root + "/a", flags=CONTAINER),
                                       wire.create_ttl(root + "/b", 5, flags=CONTAINER),
                                       wire.create_ttl(root + "/s", 99999, flags=TTL_SEQUENTIAL))]
        self.assertEqual(kinds, [Op.CREATE2] * 3)

    def test_create_ttl_with_other_flags_is_a_plain_create(self):
        c, root = self.connect(), self.root
        self.assertEqual(c.multi(wire.create_ttl(root + "/a", -1, flags=0),
                                 wire.create_ttl(root + "/e", 0, flags=EPHEMERAL)),
                         [(Op.CREATE, root + "/a"), (Op.CREATE, root + "/e")])
        self.assertEqual(c.exists(root + "/e").ephemeralOwner, c.sid)

    @not_on_java("a plain create until 3.8.1")
    def test_create_container_with_other_flags_stays_one(self):
        c, root = self.connect(), self.root
        results = c.multi(wire.create_container(root + "/a", flags=0),
                          wire.create_container(root + "/b", flags=EPHEMERAL))
        self.assertEqual([r[0] for r in results], [Op.CREATE2] * 2)
        self.assertEqual(c.exists(root + "/b").ephemeralOwner, 0)

    def test_many_operations(self):
        c, root = self.connect(), self.root
        results = c.multi(*[wire.create("%s/n%d" % (root, i)) for i in range(2000)])
        self.assertEqual(len(results), 2000)
        self.assertEqual(c.exists(root).numChildren, 2000)

    def test_no_data_is_not_empty_data(self):
        c, root = self.connect(), self.root
        c.multi(wire.create(root + "/a", None), wire.set_data(root, None))
        self.assertEqual((c.get_data(root + "/a")[0], c.get_data(root)[0]), (None, None))


class Failure(ServerTest):
    options = {"extendedTypesEnabled": "true"}

    def test_codes_by_position(self):
        c, root = self.connect(), self.root
        results = c.multi(wire.create(root + "/a"), wire.set_data(root, b""), wire.check(root, 7),
                          wire.create(root + "/b"), wire.create("bad path"))
        self.assertEqual(results, failed(0, 0, Err.BAD_VERSION, -2, -2))

    def test_bytes_and_header(self):
        c, root = self.connect(), self.root
        before = c.request(wire.ping()).zxid
        reply = c.request(wire.multi(wire.check(root), wire.check(root, 7), wire.check(root)))
        self.assertEqual((reply.err, reply.zxid), (0, before + 1))
        self.assertEqual(reply.body.hex(), "ffffffff000000000000000000" + "ffffffff00ffffff99ffffff99"
                         + "ffffffff00fffffffefffffffe" + "ffffffff01ffffffff")

    def test_each_operation_with_its_code(self):
        c, root = self.connect(), self.root
        c.create(root + "/e", flags=EPHEMERAL)
        c.create(root + "/p")
        c.create(root + "/p/c")
        c.create(root + "/closed", acl=[(wire.READ, "world", "anyone")])
        for request, code in (
                (wire.create(root), Err.NODE_EXISTS), (wire.create("/none/a"), Err.NO_NODE),
                (wire.create(root + "/e/a"), Err.NO_CHILDREN_FOR_EPHEMERALS),
                (wire.create(root + "/a", acl=[]), Err.INVALID_ACL),
                (wire.create(root + "/closed/a"), Err.NO_AUTH), (wire.create("bad"), Err.BAD_ARGUMENTS),
                (wire.create_ttl(root + "/a", 0), Err.BAD_ARGUMENTS),
                (wire.create_ttl(root + "/a", 2 ** 40), Err.BAD_ARGUMENTS),
                (wire.delete(root + "/none"), Err.NO_NODE), (wire.delete(root + "/p"), Err.NOT_EMPTY),
                (wire.delete(root, 5), Err.BAD_VERSION), (wire.delete("/"), Err.BAD_ARGUMENTS),
                (wire.delete(root + "/closed/x"), Err.NO_AUTH),
                (wire.set_data(root + "/none", b""), Err.NO_NODE),
                (wire.set_data(root + "/closed", b""), Err.NO_AUTH),
                (wire.set_data(root, b"", 5), Err.BAD_VERSION),
                (wire.check(root + "/none"), Err.NO_NODE), (wire.check(root, 5), Err.BAD_VERSION)):
            with self.subTest(op=request[0], code=code):
                self.assertEqual(c.multi(wire.check(root), request, wire.check(root)),
                                 failed(0, code, -2))

    def test_nothing_is_applied(self):
        c, watcher, root = self.connect(), self.connect(), self.root
        c.create(root + "/old", b"data")
        before = c.exists(root), c.exists(root + "/old")
        watcher.add_watch(root, wire.RECURSIVE_WATCH)
        watcher.get_children(root, watch=True)
        self.assertEqual(
            c.multi(wire.create(root + "/a", flags=EPHEMERAL), wire.set_data(root + "/old", b"new"),
                    wire.delete(root + "/old"), wire.create(root + "/old"), wire.check("/none")),
            failed(0, 0, 0, 0, Err.NO_NODE))
        self.assertEqual((c.exists(root), c.exists(root + "/old")), before)
        self.assertEqual(c.get_data(root + "/old")[0], b"data")
        self.assertEqual((c.get_children(root), c.get_ephemerals("/")), (["old"], []))
        self.assertEqual(watcher.seen(), [])

    def test_rollback_behind_pending_requests(self):
        """The failed multi is prepared while the requests before it are still under way."""
        c, root = self.connect(), self.root
        got = c.results(
            wire.create(root + "/a"), wire.set_data(root + "/a", b"1"), wire.create(root + "/s", flags=2),
            wire.multi(wire.create(root + "/s", flags=2), wire.set_data(root + "/a", b"2"),
                       wire.create(root + "/a/x"), wire.delete(root + "/a/none")),
            wire.set_data(root + "/a", b"3", 1), wire.create(root + "/s", flags=2),
            wire.delete(root + "/a"), wire.create(root + "/a/x"))
        self.assertEqual(got[3], failed(0, 0, 0, Err.NO_NODE))
        self.assertEqual(got[4].version, 2)
        self.assertEqual([got[2], got[5]], [root + "/s0000000001", root + "/s0000000002"])
        self.assertEqual(got[6:], [None, Err.NO_NODE])

    def test_rollback_of_sequence_numbers(self):
        c, root = self.connect(), self.root
        seq = wire.create(root + "/s", flags=SEQUENTIAL)
        self.assertEqual(c.call(seq), root + "/s0000000000")
        for _ in range(3):
            c.multi(seq, seq, wire.check("/none"))
        self.assertEqual(c.call(seq), root + "/s0000000001")
        self.assertEqual(c.results(wire.multi(seq, wire.check("/none")), seq, seq)[1:],
                         [root + "/s0000000002", root + "/s0000000003"])

    def test_rollback_of_a_deletion(self):
        c, root = self.connect(), self.root
        c.create(root + "/a")
        got = c.results(wire.multi(wire.delete(root + "/a"), wire.check("/none")),
                        wire.create(root + "/a"), wire.delete(root), wire.delete(root + "/a"),
                        wire.delete(root))
        self.assertEqual(got[1:], [Err.NODE_EXISTS, Err.NOT_EMPTY, None, None])

    def test_one_session_after_another_failed_multi(self):
        a, b, root = self.connect(), self.connect(), self.root
        for n in range(30):
            a.send(wire.multi(wire.set_data(root, b"a"), wire.check("/none")))
            b.send(wire.set_data(root, b"b", n))
        self.assertEqual([b.reply().err for _ in range(30)], [0] * 30)
        for _ in range(30):
            self.assertEqual(wire.decode(Op.MULTI, a.reply()), failed(0, Err.NO_NODE))

    @not_on_java("a code of the operation until 3.8.1")
    def test_bad_flags_spoil_the_whole_request(self):
        c, root = self.connect(), self.root
        for request in (wire.create(root + "/b", flags=7), wire.create2(root + "/b", flags=-1),
                        wire.create_container(root + "/b", flags=100)):
            reply = c.request(wire.multi(wire.create(root + "/a"), request))
            self.assertEqual(reply.err, Err.MARSHALLING)
        self.assertEqual(c.get_children(root), [])

    def test_ttl_flags_in_another_create_spoil_the_whole_request(self):
        c, root = self.connect(), self.root
        for flags in (TTL, TTL_SEQUENTIAL):
            for build in (wire.create, wire.create2, wire.create_container):
                reply = c.request(wire.multi(build(root + "/b", flags=flags)))
                self.assertEqual(reply.err, Err.MARSHALLING)

    def test_other_operations_spoil_the_whole_request(self):
        c, root = self.connect(), self.root
        for request in (wire.exists(root), wire.sync(root), wire.ping(), wire.set_acl(root, wire.OPEN),
                        wire.multi(), wire.get_acl(root), wire.delete_container(root), wire.close_session(),
                        (99, b""), (0, b""), (-1, i32(0)), wire.get_data(root), wire.get_children(root)):
            with self.subTest(request[0]):
                reply = c.request(wire.multi(wire.create(root + "/a"), request))
                self.assertEqual(reply.err, Err.MARSHALLING)
        self.assertEqual(c.get_children(root), [])

    def test_missing_terminator(self):
        c, root = self.connect(), self.root
        op, body = wire.multi(wire.create(root + "/a"))
        for cut in (1, 4, 5, 8, 9):
            self.assertEqual(c.request((op, body[:-cut])).err, Err.MARSHALLING)
        self.assertEqual(c.request((op, b"")).err, Err.MARSHALLING)
        self.assertEqual(c.get_children(root), [])

    def test_ignored_header_fields(self):
        c, root = self.connect(), self.root
        op, body = wire.create(root + "/a")
        header = i32(op) + b"\0" + i32(77)                  # err is not looked at
        end = i32(99) + boolean(True) + i32(5)              # nor is anything after done
        self.assertEqual(c.call((Op.MULTI, header + body + end)), [(Op.CREATE, root + "/a")])

    def test_undecodable_one_takes_a_zxid(self):
        c = self.connect()
        before = c.request(wire.ping()).zxid
        self.assertEqual(c.request((Op.MULTI, b"\0"))[1:3], (before + 1, Err.MARSHALLING))


class ExtendedTypesOff(ServerTest):
    def test_create_ttl(self):
        c, root = self.connect(), self.root
        self.assertEqual(c.multi(wire.create_ttl(root + "/a", 1000)), failed(Err.UNIMPLEMENTED))


class MultiRead(ServerTest):
    def test_results(self):
        c, root = self.connect(), self.root
        c.set_data(root, b"data")
        c.create(root + "/a", None)
        stat, child = c.exists(root), c.exists(root + "/a")
        self.assertEqual(
            c.multi_read(wire.get_data(root), wire.get_children(root), wire.get_data(root + "/a")),
            [(Op.GET_DATA, (b"data", stat)), (Op.GET_CHILDREN, ["a"]), (Op.GET_DATA, (None, child))])

    def test_empty(self):
        self.assertEqual(self.connect().request(wire.multi_read()).body, MULTI_END)

    def test_failures_stand_alone(self):
        c, root = self.connect(), self.root
        c.create(root + "/secret", acl=[(wire.ADMIN, "world", "anyone")])
        results = c.multi_read(wire.get_data("/none"), wire.get_children(root),
                               wire.get_data(root + "/secret"), wire.get_children(root + "/secret"),
                               wire.get_children("//"), wire.get_data(""))
        self.assertEqual(results[:5], [(-1, Err.NO_NODE), (Op.GET_CHILDREN, ["secret"]),
                                       (-1, Err.NO_AUTH), (-1, Err.NO_AUTH), (-1, Err.NO_NODE)])
        self.assertEqual(results[5][0], Op.GET_DATA)

    def test_sets_no_watches(self):
        c, root = self.connect(), self.root
        c.multi_read(wire.get_data(root, True), wire.get_children(root, True))
        c.create(root + "/a")
        c.set_data(root, b"x")
        self.assertEqual(c.seen(), [])

    def test_takes_no_zxid(self):
        c = self.connect()
        before = c.request(wire.ping()).zxid
        self.assertEqual(c.request(wire.multi_read(wire.get_data("/none"))).zxid, before)

    def test_other_operations_spoil_the_whole_request(self):
        c, root = self.connect(), self.root
        for request in (wire.create(root + "/a"), wire.delete(root), wire.set_data(root, b""),
                        wire.check(root), wire.exists(root), wire.get_children2(root), wire.get_acl(root)):
            for requests in ((request,), (wire.get_data(root), request)):
                with self.subTest(request[0]):
                    reply = c.request((Op.MULTI_READ, wire.multi(*requests)[1]))
                    self.assertEqual(reply.err, Err.MARSHALLING)
        self.assertEqual(c.get_children(root), [])

    def test_missing_terminator(self):
        c, root = self.connect(), self.root
        op, body = wire.multi_read(wire.get_data(root))
        self.assertEqual(c.request((op, body[:-9])).err, Err.MARSHALLING)
        self.assert_usable(c)


if __name__ == "__main__":
    unittest.main()
