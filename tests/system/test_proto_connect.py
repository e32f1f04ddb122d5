"""The connect exchange: ConnectRequest, negotiation, renewal, passwords."""
import struct
import unittest

from lib import wire
from lib.server import ServerTest, either
from lib.wire import Err, connect_request, i32, i64, session_password


class PasswordVectors(unittest.TestCase):
    """The tests' own password function against known pairs."""

    def test_known_pairs(self):
        for sid, passwd in ((0x01000024AA7E0000, "20b1e5de2d5c041bfe782813be00bae8"),
                            (0x01000024AA7E0001, "33d2dfdecda7e35ff3bb8f3e9289ceb5")):
            self.assertEqual(session_password(sid).hex(), passwd)


class FirstSession(ServerTest):
    def test_session_ids_of_a_fresh_server(self):
        sids = [self.connect().sid for _ in range(3)]
        self.assertEqual(sids[0] >> 56, 1, "server id 1 in the highest byte")
        self.assertEqual(sids[0] & 0xFFFF, 0, "the counter starts with 16 zero bits")
        self.assertEqual([s - sids[0] for s in sids], [0, 1, 2])


class SessionTransactions(ServerTest):
    def test_each_session_takes_one_zxid(self):
        first, second = self.connect(), self.connect()
        before = first.request(wire.ping()).zxid
        self.assertEqual(second.request(wire.ping()).zxid, before)
        third = self.connect()
        self.assertEqual(third.request(wire.ping()).zxid, before + 1)
        third.end_session()
        self.assertEqual(first.request(wire.ping()).zxid, before + 2)


class Connect(ServerTest):
    def test_answer_layout_45_bytes(self):
        raw = self.raw()
        request = connect_request(timeout=10000)
        self.assertEqual(len(request), 45)
        raw.send_frame(request)
        answer = raw.frame()
        self.assertEqual(len(answer), 37)
        protocol, timeout, sid, n = struct.unpack(">iiqi", answer[:20])
        self.assertEqual((protocol, timeout, n), (0, 10000, 16))
        self.assertEqual(answer[20:36], session_password(sid))
        self.assertEqual(answer[36], 0)

    def test_old_client_gets_no_read_only_byte(self):
        raw = self.raw()
        request = connect_request(read_only=None)
        self.assertEqual(len(request), 44)
        raw.send_frame(request)
        self.assertEqual(len(raw.frame()), 36)

    def test_read_only_wanted_at_a_read_write_server(self):
        self.assertIs(self.connect(read_only=True).session.read_only, False)

    def test_any_read_only_byte_and_trailing_bytes(self):
        raw = self.raw()
        raw.send_frame(connect_request(read_only=None) + b"\x7f" + b"more")
        self.assertEqual(len(raw.frame()), 37)

    def test_protocol_version_is_ignored(self):
        for version in (1, 77, -1, 0x7FFFFFFF):
            with self.subTest(version):
                self.assertEqual(self.connect(protocol=version).session.protocol, 0)

    def test_fragments(self):
        for piece in (1, 3, 4, 7):
            with self.subTest(piece):
                raw = self.raw()
                raw.send_frame(connect_request(), piece=piece)
                self.assertEqual(raw.connect_response().timeout, 30000)

    def test_requests_pipelined_behind_the_connect(self):
        raw, root = self.raw(), self.root
        create = i32(1) + i32(wire.Op.CREATE) + wire.create(root + "/a")[1]
        read = i32(2) + i32(wire.Op.EXISTS) + wire.exists(root + "/a")[1]
        raw.send_bytes(b"".join(i32(len(p)) + p for p in (connect_request(), create, read)))
        self.assertGreater(raw.connect_response().sid, 0)
        xids = [struct.unpack(">iqi", raw.frame()[:16])[::2] for _ in range(2)]
        self.assertEqual(xids, [(1, 0), (2, 0)])

    def test_password_of_a_new_session_is_irrelevant(self):
        for passwd in (None, b"", b"five!", b"x" * 40):
            with self.subTest(passwd):
                c = self.connect(passwd=passwd)
                self.assertEqual(c.passwd, session_password(c.sid))

    def test_too_short(self):
        whole = connect_request(read_only=None)
        for payload in (b"", b"\0", i32(-2) + i32(11), whole[:27], whole[:43]):
            with self.subTest(len(payload)):
                raw = self.raw()
                raw.send_frame(payload)
                raw.expect_close()

    def test_bad_password_length(self):
        for length in (-2, 17, 0x7FFFFFFF):
            with self.subTest(length):
                raw = self.raw()
                raw.send_frame(connect_request()[:24] + i32(length) + bytes(16))
                raw.expect_close()

    def test_bad_frame_length(self):
        for length in (-1, -0x80000000, 0x7FFFFFFF):
            with self.subTest(length):
                raw = self.raw()
                raw.send_bytes(i32(length) + bytes(45))
                raw.expect_close()

    def test_text_that_is_no_word(self):
        raw = self.raw()
        raw.send_bytes(b"GET / HTTP/1.1\r\n\r\n")
        raw.expect_close()

    def test_44_bytes_of_ff_are_an_unknown_session(self):
        raw = self.raw()
        raw.send_frame(b"\xff" * 44)
        self.assert_expired(raw)

    def test_last_zxid_seen(self):
        c = self.connect()
        zxid = c.request(wire.ping()).zxid
        self.assertTrue(self.connect(last_zxid=zxid).sid)
        raw = self.raw()
        raw.send_frame(connect_request(last_zxid=zxid + 1000))
        raw.expect_close()

    def test_second_connect_request_is_an_unknown_opcode(self):
        c = self.connect()
        c.send_frame(connect_request())
        reply = c.reply()
        self.assertEqual(reply, (0, -1, Err.UNIMPLEMENTED, b""))
        either(self.assert_usable, lambda c: c.expect_close())(c)

    def test_words_are_no_longer_words_after_the_connect(self):
        c = self.connect()
        c.send_bytes(b"ruok")
        c.expect_close()


class Negotiation(ServerTest):
    options = {"tickTime": 1000, "maxSessionTimeout": None}

    def test_clamped_to_2_and_20_ticks(self):
        for wanted, given in ((0, 2000), (-5, 2000), (-2 ** 31, 2000), (1999, 2000), (2000, 2000),
                              (2001, 2001), (19999, 19999), (20000, 20000), (20001, 20000),
                              (2 ** 31 - 1, 20000)):
            with self.subTest(wanted):
                self.assertEqual(self.connect(timeout=wanted).session.timeout, given)

    def test_renewal_negotiates_again(self):
        c = self.connect(timeout=20000)
        self.assertEqual(self.renew(c, timeout=15000).session.timeout, 15000)
        self.assertEqual(self.renew(c, timeout=1).session.timeout, 2000)


class NegotiationOptions(ServerTest):
    options = {"minSessionTimeout": 3000, "maxSessionTimeout": 90000}

    def test_configured_bounds(self):
        for wanted, given in ((1, 3000), (3001, 3001), (90000, 90000), (100000, 90000)):
            with self.subTest(wanted):
                self.assertEqual(self.connect(timeout=wanted).session.timeout, given)


class Renewal(ServerTest):
    def test_same_session_on_a_new_connection(self):
        c, root = self.connect(), self.root
        c.create(root + "/e", flags=wire.EPHEMERAL)
        c.close()
        again = self.renew(c)
        self.assertEqual((again.sid, again.passwd), (c.sid, c.passwd))
        self.assertEqual(again.exists(root + "/e").ephemeralOwner, c.sid)

    def test_renewal_takes_no_zxid(self):
        c = self.connect()
        before = c.request(wire.ping()).zxid
        self.assertEqual(self.renew(c).request(wire.ping()).zxid, before)

    def test_renewal_closes_the_previous_connection(self):
        old = self.connect()
        new = self.renew(old)
        old.expect_close()
        self.assert_usable(new)

    def test_renewal_by_an_old_client(self):
        c = self.connect()
        self.assertEqual(self.renew(c, read_only=None).session.read_only, None)

    def test_wrong_password_closes_both_but_not_the_session(self):
        owner = self.connect()
        for passwd in (bytes(16), owner.passwd[:15], owner.passwd + b"\0", b"", None):
            with self.subTest(passwd):
                intruder = self.raw()
                intruder.send_frame(connect_request(sid=owner.sid, passwd=passwd))
                self.assert_expired(intruder)
                owner.expect_close()
                owner = self.renew(owner)
        self.assert_usable(owner)

    def test_unknown_session_with_its_right_password(self):
        for sid in (0x0123456789ABCDEF, -1, 1):
            with self.subTest(sid):
                raw = self.raw()
                raw.send_frame(connect_request(sid=sid, passwd=session_password(sid)))
                self.assert_expired(raw)

    def test_closed_session(self):
        c = self.connect()
        c.end_session()
        raw = self.raw()
        raw.send_frame(connect_request(sid=c.sid, passwd=c.passwd))
        self.assert_expired(raw)

    def test_expired_reply_for_an_old_client(self):
        raw = self.raw()
        raw.send_frame(connect_request(sid=99, read_only=None))
        self.assert_expired(raw, read_only_byte=False)

    def test_requests_behind_a_refused_renewal_are_not_run(self):
        root, raw = self.root, self.raw()
        create = i32(1) + i32(wire.Op.CREATE) + wire.create(root + "/a")[1]
        connect = connect_request(sid=99)
        raw.send_bytes(i32(len(connect)) + connect + i32(len(create)) + create)
        self.assert_expired(raw)
        self.fails(Err.NO_NODE, self.connect().exists, root + "/a")

    def test_watches_and_authentication_stay_behind(self):
        c, root = self.connect(), self.root
        c.exists(root, watch=True)
        c.auth("digest", b"bob:secret")
        again = self.renew(c)
        again.set_data(root, b"x")
        self.assertEqual(again.seen(), [])
        self.assertEqual(again.who_am_i(), [("ip", "127.0.0.1")])

    def test_last_zxid_is_checked_at_renewal_too(self):
        c = self.connect()
        raw = self.raw()
        raw.send_frame(connect_request(sid=c.sid, passwd=c.passwd, last_zxid=2 ** 40))
        raw.expect_close()
        self.assert_usable(c)       # refused before the session was looked at

    def test_bytes_of_both_answers_agree(self):
        c = self.connect()
        raw = self.raw()
        raw.send_frame(connect_request(sid=c.sid, passwd=c.passwd, timeout=10000))
        self.assertEqual(raw.frame(), i32(0) + i32(10000) + i64(c.sid) + wire.buf(c.passwd) + b"\0")


if __name__ == "__main__":
    unittest.main()
