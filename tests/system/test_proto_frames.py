"""Frames, headers, encoding of values, malformed input after the connect."""
import unittest

from lib import wire
from lib.server import ON_JAVA, ServerTest, either, not_on_java
from lib.wire import Err, Op, buf, i32, i64, ustr

MAX = 0xFFFFF               # default of jute.maxbuffer


class Frames(ServerTest):
    def test_one_byte_at_a_time(self):
        c, root = self.connect(), self.root
        op, body = wire.create(root + "/a", b"data")
        c.send_frame(i32(5) + i32(op) + body, piece=1)
        self.assertEqual(c.reply().err, 0)
        self.assertEqual(c.get_data(root + "/a")[0], b"data")

    def test_two_frames_cut_in_the_middle_of_the_second_length(self):
        c = self.connect()
        frame = i32(8) + i32(1) + i32(Op.PING)
        c.send_bytes(frame + frame[:2])
        self.assertEqual(c.reply().xid, -2)
        c.send_bytes(frame[2:])
        self.assertEqual(c.reply().xid, -2)

    def test_pipelined_requests_are_answered_in_order(self):
        c, root = self.connect(), self.root
        requests = []
        for i in range(200):
            path = "%s/n%d" % (root, i)
            requests += [wire.create(path), wire.exists(path), wire.get_children(root)]
        results = c.results(*requests)
        self.assertEqual(results[0::3], ["%s/n%d" % (root, i) for i in range(200)])
        self.assertEqual([len(r) for r in results[2::3]], list(range(1, 201)))
        self.assertEqual([s.czxid for s in results[1::3]],
                         list(range(results[1].czxid, results[1].czxid + 200)))

    def test_long_and_short_requests_of_many_clients(self):
        # Long frames wait for one another; nobody's requests change places, and nobody is forgotten.
        clients, root = [self.connect() for _ in range(40)], self.root
        for i, c in enumerate(clients):
            path, data = "%s/n%d" % (root, i), bytes([i]) * (2000 + 3000 * (i % 3))
            for op, body in (wire.create(path, data), wire.sync("a"), wire.set_data(path, data * 5),
                             wire.set_data(path, data * 9), wire.get_data(path), wire.sync("b")):
                c.send((op, body))
        for i, c in enumerate(clients):
            replies = [c.reply() for _ in range(6)]
            self.assertEqual([r.err for r in replies], [0] * 6)
            self.assertEqual([r.xid for r in replies], list(range(replies[0].xid, replies[0].xid + 6)))
            self.assertEqual(len(c.get_data("%s/n%d" % (root, i))[0]), (2000 + 3000 * (i % 3)) * 9)

    def test_reads_and_failures_keep_their_place(self):
        c, root = self.connect(), self.root
        self.assertEqual(
            c.results(wire.create(root + "/x/y"), wire.sync("a"), wire.create(root), wire.sync("b"),
                      wire.delete("/"), wire.get_data(root + "/no"), wire.sync("c")),
            [Err.NO_NODE, "a", Err.NODE_EXISTS, "b", Err.BAD_ARGUMENTS, Err.NO_NODE, "c"])

    def test_any_xid_is_echoed(self):
        c = self.connect()
        xids = [0, -1000, 7, 7, 3, -4, -8, 2 ** 31 - 1, -2 ** 31]
        for xid in xids:
            c.send(wire.sync("/"), xid=xid)
        self.assertEqual([c.reply().xid for _ in xids], xids)

    def test_ping(self):
        c = self.connect()
        for xid, body in ((-2, b""), (7, b""), (0, b"ignored body"), (-2, b"\xff" * 100)):
            with self.subTest(xid=xid, body=body):
                c.send((Op.PING, body), xid=xid)
                reply = c.reply()
                self.assertEqual((reply.xid, reply.err, reply.body), (-2, 0, b""))

    def test_trailing_bytes_are_ignored(self):
        c, root = self.connect(), self.root
        for request in (wire.create(root + "/a"), wire.exists(root), wire.multi(wire.check(root)),
                        wire.set_data(root, b"x"), wire.sync("/"), wire.who_am_i(),
                        wire.add_watch(root, 0), wire.get_ephemerals(None), wire.delete(root + "/a")):
            with self.subTest(op=request[0]):
                c.call((request[0], request[1] + b"\xffmore"))

    def test_any_nonzero_boolean_is_true(self):
        c, root = self.connect(), self.root
        c.call((Op.EXISTS, ustr(root) + b"\x80"))
        c.set_data(root, b"x")
        self.assertEqual(c.seen(), [(wire.Ev.CHANGED, root)])

    def test_largest_frame(self):
        c, root = self.connect(), self.root
        rest = 8 + len(wire.create(root + "/a")[1])
        data = bytes(MAX - rest)
        op, body = wire.create(root + "/a", data)
        self.assertEqual(8 + len(body), MAX)
        self.assertEqual(c.call((op, body)), root + "/a")
        self.assertEqual(c.get_data(root + "/a")[0], data)

    def test_answer_larger_than_the_largest_frame(self):
        c, root = self.connect(), self.root
        data = b"x" * (MAX - 200)
        for name in "abc":
            c.create(root + "/" + name, data)
        results = c.multi_read(*[wire.get_data(root + "/" + name) for name in "abc"])
        self.assertEqual([r[1][0] for r in results], [data] * 3)

    def test_negative_length_closes(self):
        for length in (-1, -2, -2 ** 31):
            with self.subTest(length):
                c = self.connect()
                c.send_bytes(i32(length) + bytes(8))
                c.expect_close()

    def test_payload_without_a_whole_header_closes(self):
        for n in (0, 1, 4, 7):
            with self.subTest(n):
                c = self.connect()
                c.send_frame(bytes(n))
                c.expect_close()

    def test_end_of_stream_in_a_frame_loses_only_the_connection(self):
        c, root = self.connect(), self.root
        op, body = wire.create(root + "/a", b"data")
        c.send_bytes((i32(8 + len(body)) + i32(1) + i32(op) + body)[:-3])
        c.close()
        again = self.renew(c)
        self.fails(Err.NO_NODE, again.exists, root + "/a")


class OversizedFrames(ServerTest):
    """Frames above jute.maxbuffer: Java closes, zabra answers up to maxRequestBytes."""

    def send(self, c, xid, size):
        op, body = wire.create("/big", b"")
        payload = i32(xid) + i32(op) + body
        c.send_frame(payload + bytes(size - len(payload)))

    @unittest.skipUnless(ON_JAVA, "the behaviour of Java")
    def test_java_closes(self):
        c = self.connect()
        c.send_bytes(i32(MAX + 1))
        c.expect_close()

    @not_on_java("closes")
    def test_answered_with_an_error(self):
        c = self.connect()
        for xid, size in ((77, MAX + 1), (-5, 3 << 20), (78, 16 << 20)):
            with self.subTest(size):
                self.send(c, xid, size)
                reply = c.reply()
                self.assertEqual((reply.xid, reply.err, reply.body), (xid, Err.MARSHALLING, b""))
        self.fails(Err.NO_NODE, c.exists, "/big")

    @not_on_java("closes")
    def test_keeps_its_place_between_other_requests(self):
        c = self.connect()
        c.send(wire.sync("a"), xid=1)
        self.send(c, 2, 2 << 20)
        c.send(wire.sync("b"), xid=3)
        self.assertEqual([(r.xid, r.err) for r in (c.reply(), c.reply(), c.reply())],
                         [(1, 0), (2, Err.MARSHALLING), (3, 0)])

    def test_above_the_absolute_limit(self):
        for size in ((16 << 20) + 1, 2 ** 31 - 1):
            with self.subTest(size):
                c = self.connect()
                c.send_bytes(i32(size) + i32(1) + i32(Op.PING))
                c.expect_close()

    def test_connect_request_above_the_limit(self):
        raw = self.raw()
        raw.send_bytes(i32(17 << 20) + wire.connect_request())
        raw.expect_close()


class SmallFrames(ServerTest):
    options = {"jute.maxbuffer": 2000, "maxRequestBytes": 5000}

    def test_limits_follow_the_options(self):
        c, root = self.connect(), self.root
        rest = 8 + len(wire.create(root + "/a")[1])
        self.assertEqual(c.create(root + "/a", bytes(2000 - rest)), root + "/a")
        if not ON_JAVA:
            for size in (2001, 5000):
                self.assertEqual(self.answer(c, wire.create(root + "/b", bytes(size - rest))),
                                 (Err.MARSHALLING, b""))
        c.send_bytes(i32(5001))
        c.expect_close()


class Strings(ServerTest):
    def test_malformed_utf8_is_replaced_in_an_echo(self):
        c = self.connect()
        for text, count in ((b"\xff", 1), (b"\x80\x80", 2), (b"\xc0\x80", 2), (b"\xe0\x80\x80", 3),
                            (b"\xe2\x82", 1), (b"\xf0\x9f\x98", 1), (b"\xf4\x90\x80\x80", 4),
                            (b"\xf8\x88\x80\x80\x80", 5), (b"\xed\xa0\xbd\xed\xb8\x80", 2)):
            with self.subTest(text):
                body = c.request(wire.sync(b"/a" + text + b"b")).body
                self.assertEqual(body, ustr(b"/a" + b"\xef\xbf\xbd" * count + b"b"))
        self.assertEqual(c.request(wire.sync(b"\xe2\x28\xa1")).body, ustr(b"\xef\xbf\xbd(\xef\xbf\xbd"))

    def test_malformed_utf8_in_a_path(self):
        c, root = self.connect(), self.root.encode()
        for bad in (b"\xff", b"\x80", b"\xc3", b"\xe2\x82", b"\xc0\xaf", b"\xed\xa0\x80"):
            with self.subTest(bad):
                self.fails(Err.BAD_ARGUMENTS, c.create, root + b"/a" + bad)

    def test_characters_beyond_the_bmp_come_back_as_surrogates(self):
        c = self.connect()
        reply = c.request(wire.sync("/\U0001F600"))
        self.assertEqual(reply.body, bytes.fromhex("000000072feda0bdedb880"))

    def test_embedded_nul_is_just_a_character_in_an_echo(self):
        self.assertEqual(self.connect().sync("a\0b"), "a\0b")

    def test_utf8_names(self):
        c, root = self.connect(), self.root
        for name in ("\u00e9\u00df", "\u4e2d\u6587", "\ud7ff", "\u00a0"):
            with self.subTest(name):
                self.assertEqual(c.create("%s/%s" % (root, name)), "%s/%s" % (root, name))
        self.assertEqual(sorted(c.get_children(root)),
                         sorted(("\u00e9\u00df", "\u4e2d\u6587", "\ud7ff", "\u00a0")))

    def test_null_and_empty_data_differ(self):
        c, root = self.connect(), self.root
        c.create(root + "/null", None)
        c.create(root + "/empty", b"")
        self.assertEqual(c.request(wire.get_data(root + "/null")).body[:4], i32(-1))
        self.assertEqual(c.request(wire.get_data(root + "/empty")).body[:4], i32(0))
        c.set_data(root + "/empty", None)
        data, stat = c.get_data(root + "/empty")
        self.assertEqual((data, stat.dataLength, stat.version), (None, 0, 1))

    def test_negative_vector_counts(self):
        c, root = self.connect(), self.root
        body = ustr(root + "/a") + buf(b"") + i32(-2) + i32(0)      # reads as an empty vector
        self.assertEqual(self.answer(c, (Op.CREATE, body)), (Err.INVALID_ACL, b""))
        c.call((Op.SET_WATCHES, i64(0) + i32(-2) + i32(-3) + i32(-2 ** 31)))


# Every request that has a body, with a path that exists in no test.
BODIES = [
    wire.create("/none/x"), wire.create2("/none/x"), wire.create_container("/none/x"),
    wire.delete("/none"), wire.exists("/none"), wire.get_data("/none"), wire.set_data("/none", b"d"),
    wire.get_acl("/none"), wire.set_acl("/none", wire.OPEN), wire.get_children("/none"),
    wire.get_children2("/none"), wire.sync("/none"), wire.multi(wire.check("/none")),
    wire.multi_read(wire.get_data("/none")), wire.check_watches("/none", 3),
    wire.remove_watches("/none", 3), wire.set_watches(0, ["/none"], ["/none"], ["/none"]),
    wire.set_watches2(0, ["/none"], [], [], ["/none"], ["/none"]), wire.get_ephemerals("/none"),
    wire.get_all_children_number("/none"), wire.add_watch("/none", 0),
]
WRITES = (Op.CREATE, Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL, Op.DELETE, Op.SET_DATA,
          Op.SET_ACL, Op.MULTI)


class Malformed(ServerTest):
    options = {"extendedTypesEnabled": "true"}

    def test_every_truncation_of_every_body(self):
        c = self.connect()
        for op, body in BODIES + [wire.create_ttl("/none/x", 1000)]:
            for size in range(len(body)):
                with self.subTest(op=op, size=size):
                    self.assertEqual(self.answer(c, (op, body[:size])), (Err.MARSHALLING, b""))
        self.assert_usable(c)

    def test_bad_lengths_inside_a_body(self):
        c = self.connect()
        for length in (-2, 5, 1000, MAX + 1, 2 ** 31 - 1, -2 ** 31):
            with self.subTest(length):
                for op in (Op.CREATE, Op.GET_DATA, Op.SYNC, Op.GET_EPHEMERALS, Op.DELETE):
                    self.assertEqual(self.answer(c, (op, i32(length) + b"/abc")),
                                     (Err.MARSHALLING, b""))
        for count in (1, 1000, 2 ** 31 - 1):
            with self.subTest(count=count):
                body = ustr("/none/a") + buf(b"") + i32(count)
                self.assertEqual(self.answer(c, (Op.CREATE, body)), (Err.MARSHALLING, b""))
                self.assertEqual(self.answer(c, (Op.SET_WATCHES, i64(0) + i32(count))),
                                 (Err.MARSHALLING, b""))

    def test_null_paths(self):
        c = self.connect()
        for request in (wire.create(None), wire.create2(None), wire.create_container(None),
                        wire.create_ttl(None, 1000), wire.delete(None), wire.exists(None),
                        wire.get_data(None), wire.get_acl(None), wire.get_children(None),
                        wire.get_children2(None), wire.get_all_children_number(None),
                        wire.check_watches(None, 3)):
            with self.subTest(op=request[0]):
                self.assertEqual(self.answer(c, request), (Err.MARSHALLING, b""))
        self.assertIn(c.request(wire.remove_watches(None, 3)).err, (Err.MARSHALLING, Err.NO_WATCHER))
        self.assert_usable(c)

    def test_null_paths_in_a_multi(self):
        c, root = self.connect(), self.root
        for last in (wire.check(None), wire.create(None), wire.delete(None), wire.set_data(None, b"")):
            reply = c.request(wire.multi(wire.create(root + "/a"), last))
            self.assertEqual(reply.err, Err.MARSHALLING)
        self.assertEqual(c.get_children(root), [])

    def test_null_paths_that_reach_the_path_check(self):
        c = self.connect()
        self.fails(Err.BAD_ARGUMENTS, c.set_data, None, b"")
        self.fails(Err.BAD_ARGUMENTS, c.set_acl, None, wire.OPEN)

    @not_on_java("accepts the first one of a connection and trips over it at its close")
    def test_null_path_in_add_watch(self):
        c = self.connect()
        for mode in (0, 1):
            self.assertEqual(self.answer(c, wire.add_watch(None, mode)), (Err.MARSHALLING, b""))

    def test_null_where_null_is_fine(self):
        c, root = self.connect(), self.root
        self.assertIsNone(c.sync(None))
        c.create(root + "/e", flags=wire.EPHEMERAL)
        self.assertEqual(c.get_ephemerals(None), [root + "/e"])

    def test_null_id_in_an_acl(self):
        c, root = self.connect(), self.root
        acl = [(31, "digest", None)]
        self.assertEqual(self.answer(c, wire.create(root + "/a", b"", acl)), (Err.MARSHALLING, b""))
        self.assertEqual(self.answer(c, wire.set_acl(root, acl)), (Err.MARSHALLING, b""))

    def test_null_vector_in_set_watches(self):
        c, root = self.connect(), self.root
        for vectors in ((None, [], []), ([], None, []), ([], [], None)):
            self.assertEqual(self.answer(c, wire.set_watches(0, *vectors)), (Err.MARSHALLING, b""))
        for vectors in (([], [], [], None, []), ([], [], [], [], None)):
            self.assertEqual(self.answer(c, wire.set_watches2(0, *vectors)), (Err.MARSHALLING, b""))
        c.set_data(root, b"x")
        self.assertEqual(c.seen(), [])

    def test_set_watches2_without_its_own_vectors_sets_nothing(self):
        c, root = self.connect(), self.root
        zxid = c.request(wire.ping()).zxid
        body = wire.set_watches(zxid, data=[root])[1]
        self.assertEqual(self.answer(c, (Op.SET_WATCHES2, body)), (Err.MARSHALLING, b""))
        c.set_data(root, b"x")
        self.assertEqual(c.seen(), [])

    def test_malformed_auth_closes(self):
        op, body = wire.auth("digest", b"a:b")
        for size in range(len(body)):
            with self.subTest(size):
                c = self.connect()
                c.send((op, body[:size]))
                c.expect_close()

    def test_malformed_sasl_closes(self):
        for body in (b"", i32(5) + b"ab", i32(-2), i32(-1)):
            with self.subTest(body):
                c = self.connect()
                c.send((Op.SASL, body))
                c.expect_close()

    def test_sasl_without_configuration(self):
        c = self.connect()
        for token in (b"", b"abc"):
            reply = c.request(wire.sasl(token))
            self.assertEqual((reply.zxid, reply.err, reply.body), (0, 0, i32(-1)))
        self.assertEqual(c.who_am_i(), [("ip", "127.0.0.1")])


class ReplyZxid(ServerTest):
    def zxid(self, c, request):
        return c.request(request).zxid

    def test_reads_do_not_take_one(self):
        c, root = self.connect(), self.root
        last = self.zxid(c, wire.set_data(root, b"x"))
        for request in (wire.get_data(root), wire.exists("/none"), wire.sync("/"), wire.ping(),
                        wire.who_am_i(), wire.add_watch(root, 0), wire.set_watches(0), wire.get_acl(root),
                        wire.multi_read(wire.get_data(root)), wire.get_ephemerals(None),
                        wire.check_watches(root, 3), wire.remove_watches(root, 3),
                        wire.get_all_children_number("/"), wire.get_children2(root)):
            with self.subTest(op=request[0]):
                self.assertEqual(self.zxid(c, request), last)
        self.assertEqual(self.zxid(c, wire.set_data(root, b"y")), last + 1)

    def test_each_write_takes_one_also_when_it_fails(self):
        c, root = self.connect(), self.root
        last = self.zxid(c, wire.set_data(root, b"x"))
        for n, (request, err) in enumerate((
                (wire.create(root + "/a"), 0), (wire.create(root + "/a"), Err.NODE_EXISTS),
                (wire.create2(root + "/a"), Err.NODE_EXISTS), (wire.create(""), Err.BAD_ARGUMENTS),
                (wire.create(root + "/b", flags=9), Err.BAD_ARGUMENTS),
                (wire.create(root + "/b", acl=[]), Err.INVALID_ACL),
                (wire.create_container("/none/x"), Err.NO_NODE),
                (wire.create_ttl(root + "/b", 1000), Err.UNIMPLEMENTED),
                (wire.delete(root + "/none"), Err.NO_NODE), (wire.delete("/"), Err.BAD_ARGUMENTS),
                (wire.delete(root), Err.NOT_EMPTY), (wire.set_data(root, b"", 77), Err.BAD_VERSION),
                (wire.set_data("x", b""), Err.BAD_ARGUMENTS),
                (wire.set_acl(root, wire.OPEN, 77), Err.BAD_VERSION),
                (wire.set_acl("/none", wire.OPEN), Err.NO_NODE), (wire.multi(), 0),
                (wire.multi(wire.check("/none")), 0), (wire.reconfig(members="x"), Err.RECONFIG_DISABLED),
                (wire.delete(root + "/a"), 0)), 1):
            with self.subTest(op=request[0], err=err):
                reply = c.request(request)
                self.assertEqual((reply.err, reply.zxid), (err, last + n))

    def test_undecodable_writes_take_one(self):
        c, root = self.connect(), self.root
        last = self.zxid(c, wire.set_data(root, b"x"))
        for n, op in enumerate(WRITES, 1):
            with self.subTest(op):
                reply = c.request((op, b"\0"))
                self.assertEqual((reply.err, reply.body), (Err.MARSHALLING, b""))
                self.assertEqual(reply.zxid, last + n)

    def test_auth_and_sasl_carry_zero(self):
        c = self.connect()
        self.assertEqual(self.zxid(c, wire.auth("digest", b"a:b")), 0)
        self.assertEqual(self.zxid(c, wire.sasl(b"")), 0)

    def test_a_reply_shows_the_writes_of_others(self):
        a, b, root = self.connect(), self.connect(), self.root
        last = self.zxid(a, wire.set_data(root, b"x"))
        self.assertEqual(self.zxid(b, wire.ping()), last)


UNKNOWN = (0, -1, -2, 10, 13, 20, 23, 99, 108, 1000, -10, -12, 2 ** 31 - 1, -2 ** 31)


class UnknownOpcodes(ServerTest):
    """zabra answers and goes on; Java answers and closes."""

    def test_answered_with_unimplemented(self):
        for op in UNKNOWN:
            if ON_JAVA and op in (13, 20, -10):
                continue                # those Java 3.8 takes for something else
            with self.subTest(op):
                c = self.connect()
                c.send((op, b"body"), xid=42)
                self.assertEqual(c.reply(), (42, -1, Err.UNIMPLEMENTED, b""))
                either(self.assert_usable, lambda c: c.expect_close())(c)

    @not_on_java("top-level check gets no reply")
    def test_well_formed_check_outside_a_multi(self):
        c, root = self.connect(), self.root
        self.assertEqual(c.request(wire.check(root))[1:], (-1, Err.UNIMPLEMENTED, b""))
        self.assert_usable(c)

    @not_on_java("takes the body as a raw path")
    def test_delete_container_is_not_for_clients(self):
        c, root = self.connect(), self.root
        c.create_container(root + "/c")
        self.assertEqual(c.request(wire.delete_container(root + "/c"))[1:],
                         (-1, Err.UNIMPLEMENTED, b""))
        c.exists(root + "/c")

    @not_on_java("sends a ConnectResponse in the middle of the stream")
    def test_create_session_is_not_for_clients(self):
        c = self.connect()
        before = c.request(wire.ping()).zxid
        self.assertEqual(c.request((Op.CREATE_SESSION, i32(5000)))[1:],
                         (-1, Err.UNIMPLEMENTED, b""))
        self.assertEqual(c.request(wire.ping()).zxid, before)


class UnknownOpcodesClose(ServerTest):
    options = {"closeOnUnknownOpcode": "yes"}

    def test_answered_and_closed(self):
        for op in (0, 99, 108, -1) + either((13, 20, -10), ()):
            with self.subTest(op):
                c = self.connect()
                c.send((op, b""), xid=42)
                self.assertEqual(c.reply(), (42, -1, Err.UNIMPLEMENTED, b""))
                c.expect_close()

    def test_the_session_survives_the_close(self):
        c = self.connect()
        c.send((99, b""))
        c.reply()
        self.assert_usable(self.renew(c))


@not_on_java("these requests end the Java server")
class FatalInJava(ServerTest):
    options = {"extendedTypesEnabled": "true"}

    def test_create_ttl_with_other_flags(self):
        c, root = self.connect(), self.root
        for flags in range(5):
            for ttl in (0, -1, -2 ** 63, 1000):
                with self.subTest(flags=flags, ttl=ttl):
                    self.fails(Err.BAD_ARGUMENTS, c.create_ttl, root + "/a", ttl, flags=flags)
        self.assertEqual(c.get_children(root), [])

    def test_limits_node_of_the_root(self):
        c = self.connect()
        self.fails(Err.BAD_ARGUMENTS, c.create, "/zookeeper/quota/zookeeper_limits", b"count=1,bytes=1")
        self.assertEqual(c.get_children("/zookeeper/quota"), [])

    def test_delete_of_a_limits_node_outside_the_quota_tree(self):
        c = self.connect()
        c.create("/zookeeper/x")
        for parent in ("/zookeeper", "/zookeeper/x"):
            with self.subTest(parent):
                c.create(parent + "/zookeeper_limits")
                c.delete(parent + "/zookeeper_limits")
        self.assertEqual(c.get_children("/zookeeper/x"), [])

    def test_stats_node_with_bad_text(self):
        c, root = self.connect(), self.root
        quota = "/zookeeper/quota" + root
        c.create(quota)
        c.create(quota + "/zookeeper_limits", b"count=100,bytes=-1")
        c.create(quota + "/zookeeper_stats", b"")
        for n, text in enumerate((None, b"", b"nonsense", b"count=x,bytes=y", b"count=1", b"\xff=\xff")):
            with self.subTest(text):
                c.set_data(quota + "/zookeeper_stats", text)
                c.create("%s/n%d" % (root, n), b"12345")
                c.set_data(root, b"x" * n)
                c.delete("%s/n%d" % (root, n))
        self.assert_usable(c)


if __name__ == "__main__":
    unittest.main()
