"""Limits on connections and requests, throttling."""
import time
import unittest

from lib import wire
from lib.server import ServerTest
from lib.wire import Err


class PerAddress(ServerTest):
    options = {"maxClientCnxns": 4}
    HERE = "127.0.0.9"              # nobody else comes from there

    def refused(self, source):
        with self.assertRaises(wire.Closed):
            self.raw(source).frame()

    def test_connection_above_the_limit_is_closed(self):
        conns = [self.connect(source=self.HERE) for _ in range(4)]
        self.refused(self.HERE)
        for c in conns:
            self.assert_usable(c)
        self.assert_usable(self.connect(source="127.0.0.10"))
        conns.pop().close()

        def connected():
            try:
                return self.connect(source=self.HERE)
            except wire.Closed:
                return None
        self.assert_usable(self.wait_for(connected, what="room for a new connection"))

    def test_connections_without_a_session_count(self):
        for _ in range(4):
            raw = self.raw("127.0.0.11")
            raw.send_bytes(b"ru")
        self.wait_for(lambda: self.server.word("stat").count("/127.0.0.11:") == 4)
        self.refused("127.0.0.11")


class Total(ServerTest):
    options = {"maxCnxns": 5}

    def test_connection_above_the_limit_is_closed(self):
        conns = []
        try:
            for n in range(20):
                conns.append(self.connect(source="127.0.0.%d" % (10 + n)))
        except wire.Closed:
            pass
        # The connection that looked whether the server is up may have counted for a moment.
        self.assertIn(len(conns), (4, 5))
        for c in conns:
            self.assert_usable(c)


class Default60(ServerTest):
    options = {"maxClientCnxns": None}

    def test_61st_connection(self):
        conns = [self.connect(source="127.0.0.9") for _ in range(60)]
        with self.assertRaises(wire.Closed):
            self.raw("127.0.0.9").frame()
        for c in conns:
            self.assert_usable(c)


class Sessionless(ServerTest):
    options = {"nio.sessionlessCnxnTimeout": 300}

    def test_idle_connections_are_closed(self):
        start = time.monotonic()
        silent, half = self.raw(), self.raw()
        half.send_bytes(wire.i32(45) + wire.connect_request()[:20])
        silent.expect_close()
        half.expect_close()
        self.assertGreater(time.monotonic() - start, 0.29)

    def test_connections_with_a_session_stay(self):
        def connected():
            start = time.monotonic()
            try:
                return self.connect()
            except wire.Closed:                     # held up before it had sent its request
                self.assertGreater(time.monotonic() - start, 0.29)
                return None
        c = self.wait_for(connected)
        self.raw().expect_close()
        self.raw().expect_close()
        self.assert_usable(c)


class ConnectThrottle(ServerTest):
    options = {"connection_throttle_tokens": 4, "connection_throttle_fill_time": 3600000}

    def test_connects_without_a_token_are_closed(self):
        c = self.connect()
        c.close()
        for _ in range(3):
            c = self.renew(c)                       # a renewal costs the same
        for sid, passwd in ((0, bytes(16)), (c.sid, c.passwd)):
            raw = self.raw()
            raw.send_frame(wire.connect_request(sid=sid, passwd=passwd))
            raw.expect_close()
        self.assert_usable(c)


class LargeRequests(ServerTest):
    options = {"largeRequestThreshold": 1000, "largeRequestMaxBytes": 3000}

    def test_above_the_total(self):
        c, root = self.connect(), self.root
        for n in range(10):                         # one after the other
            c.create("%s/n%d" % (root, n), bytes(2000))
        c.create(root + "/small", bytes(500))
        c.send(wire.create(root + "/big", bytes(3000)))
        c.expect_close()
        self.assertEqual(self.connect().request(wire.exists(root + "/big")).err, Err.NO_NODE)


class Backpressure(ServerTest):
    """Small limits slow things down but lose nothing."""
    options = {"globalOutstandingLimit": 2, "request_throttle_max_requests": 2,
               "request_throttle_stall_time": 5}

    def test_everything_is_answered_in_order(self):
        conns, root = [self.connect() for _ in range(3)], self.root
        sent = []
        for c in conns:
            sent.append([c.send(r) for n in range(100) for r in (
                wire.create(root + "/s", flags=wire.SEQUENTIAL), wire.sync("/"), wire.exists(root))])
        for c, xids in zip(conns, sent):
            replies = [c.reply() for _ in xids]
            self.assertEqual([r.xid for r in replies], xids)
            self.assertEqual({r.err for r in replies}, {0})
        self.assertEqual(conns[0].exists(root).numChildren, 300)


class Stall(ServerTest):
    def test_client_that_does_not_read(self):
        """Others are served while the answers of one connection pile up."""
        c, other, root = self.connect(), self.connect(), self.root
        c.set_data(root, bytes(1 << 19))
        for _ in range(60):
            c.send(wire.get_data(root))
        for n in range(50):
            other.create("%s/n%d" % (root, n))
        for _ in range(60):
            self.assertEqual(len(c.reply().body), 4 + (1 << 19) + 68)


if __name__ == "__main__":
    unittest.main()
