"""Four-letter words."""
import re
import unittest

from lib import wire
from lib.server import ServerTest, either
from lib.wire import EPHEMERAL, PERSISTENT_WATCH, RECURSIVE_WATCH, i64

WORDS = ("conf cons crst dirs dump envi gtmk isro mntr ruok srst srvr stat stmk wchc wchp wchs "
         "hash").split()


class WordTest(ServerTest):
    def word(self, word, extra=b""):
        return self.server.word(word, extra)

    def table(self, text, separator="="):
        """dict of key<separator>value lines."""
        return dict(line.split(separator, 1) for line in text.splitlines() if line)

    def mntr(self):
        return self.table(self.word("mntr"), "\t")


class Transport(WordTest):
    def test_in_pieces(self):
        for piece in (1, 2, 3):
            raw = self.raw()
            raw.send_bytes(b"ruok", piece=piece)
            self.assertEqual(raw.rest(), b"imok")

    def test_further_bytes_are_ignored(self):
        for extra in (b"\n", b"\r\n", b"x", b"ruok", bytes(100)):
            self.assertEqual(self.word("ruok", extra), "imok")

    def test_half_closed_by_the_client(self):
        raw = self.raw()
        raw.send_bytes(b"srvr")
        raw.sock.shutdown(1)
        self.assertIn(b"Mode: standalone\n", raw.rest())

    def test_unknown_words_are_closed_silently(self):
        for word in ("xxxx", "RUOK", "ruo\n", "help", "quit"):
            self.assertEqual(self.word(word), "")

    def test_telnet_interrupt_produces_nothing(self):
        raw = self.raw()
        raw.send_bytes(b"\xff\xf4\xff\xfd\x06")
        self.assertEqual(raw.rest(), b"")

    def test_every_word_answers(self):
        for word in WORDS:
            with self.subTest(word):
                answer = self.word(word, i64(306) if word == "stmk" else b"")
                self.assertNotIn("whitelist", answer)
                if word not in ("hash", "wchc", "wchp"):
                    self.assertTrue(answer)

    def test_the_connection_is_no_session(self):
        before = self.connect().request(wire.ping()).zxid
        for word in WORDS[:8]:
            self.word(word)
        self.assertEqual(self.connect().request(wire.ping()).zxid, before + 1)


class Answers(WordTest):
    options = {"maxSessionTimeout": None}

    def test_ruok(self):
        self.assertEqual(self.word("ruok"), "imok")

    def test_isro(self):
        self.assertEqual(self.word("isro"), "rw")

    def test_srvr(self):
        zxid = self.connect().request(wire.ping()).zxid
        self.assertRegex(self.word("srvr"), (
            r"^Zookeeper version: \S.*, built on .+\n"
            r"Latency min/avg/max: \d+/\d+\.\d{1,4}/\d+\n"
            r"Received: \d+\n"
            r"Sent: \d+\n"
            r"Connections: \d+\n"
            r"Outstanding: \d\n"
            r"Zxid: %#x\n"
            r"Mode: standalone\n"
            r"Node count: \d+\n$") % zxid)

    def test_version_starts_with_a_number(self):
        self.assertRegex(self.word("srvr"), r"^Zookeeper version: \d+\.\d+\.\d+-")

    def test_srvr_counts_nodes(self):
        c, root = self.connect(), self.root
        before = int(re.search(r"Node count: (\d+)", self.word("srvr")).group(1))
        c.create(root + "/a")
        self.assertIn("Node count: %d\n" % (before + 1), self.word("srvr"))

    def test_srvr_counts_packets(self):
        def received():
            return int(re.search(r"Received: (\d+)", self.word("srvr")).group(1))
        c = self.connect()
        before = received()
        for _ in range(10):
            c.request(wire.ping())
        self.assertEqual(received(), before + 11)           # and the word itself

    def test_stat(self):
        c = self.connect()
        text = self.word("stat")
        self.assertRegex(text, (
            r"^Zookeeper version: .+\n"
            r"Clients:\n"
            r"( /127\.0\.0\.1:\d+\[[0-9a-f]+\]\(queued=\d+,recved=\d+,sent=\d+\)\n)+"
            r"\n"
            r"Latency min/avg/max: \S+\n(?s:.*)Node count: \d+\n$"))
        self.assertIn(" /127.0.0.1:%d[" % c.sock.getsockname()[1], text)

    def test_conf(self):
        text = self.word("conf")
        keys = [line.split("=")[0] for line in text.splitlines()]
        self.assertEqual(keys, [
            "clientPort", "secureClientPort", "dataDir", "dataDirSize", "dataLogDir", "dataLogSize",
            "tickTime", "maxClientCnxns", "minSessionTimeout", "maxSessionTimeout",
            "clientPortListenBacklog", "serverId"])
        conf = self.table(text)
        self.assertEqual(int(conf["clientPort"]), self.server.port)
        self.assertTrue(conf["dataDir"].startswith(self.server.dir) and conf["dataDir"].endswith("/version-2"))
        self.assertEqual([conf[k] for k in ("secureClientPort", "tickTime", "minSessionTimeout",
                                            "maxSessionTimeout", "maxClientCnxns", "serverId")],
                         ["-1", "2000", "4000", "40000", "0", "0"])
        self.assertRegex(conf["dataDirSize"], r"^\d+$")

    def test_cons(self):
        c, root = self.connect(), self.root
        c.create(root + "/a")
        port = c.sock.getsockname()[1]
        text = self.word("cons")
        self.assertTrue(text.endswith("\n\n"))
        line, = [t for t in text.splitlines() if ":%d[" % port in t]
        self.assertRegex(line, (
            r"^ /127\.0\.0\.1:%d\[1\]\(queued=\d,recved=2,sent=[12],sid=%#x,lop=CREA,est=\d{13},to=40000,"
            r"lcxid=0x1,lzxid=0x[0-9a-f]+,lresp=\d+,llat=\d+,minlat=\d+,avglat=\d+,maxlat=\d+\)$")
            % (port, c.sid))

    def test_cons_of_connections_without_session(self):
        raw = self.raw()
        raw.send_bytes(b"\0")
        port = raw.sock.getsockname()[1]
        line = self.wait_for(lambda: [t for t in self.word("cons").splitlines() if ":%d[" % port in t])
        self.assertRegex(line[0], r"^ /127\.0\.0\.1:%d\[\d\]\(queued=0,recved=0,sent=0\)$" % port)

    def test_cons_names_the_last_operation(self):
        c, root = self.connect(), self.root

        def lop():
            line, = [t for t in self.word("cons").splitlines() if "sid=%#x," % c.sid in t]
            return re.search(r"lop=(\w+)", line).group(1)
        self.assertEqual(lop(), "SESS")
        for request, name in (
                (wire.create(root + "/a"), "CREA"), (wire.exists(root), "EXIS"), (wire.ping(), "PING"),
                (wire.get_data(root), "GETD"), (wire.set_data(root, b""), "SETD"),
                (wire.get_acl(root), "GETA"), (wire.set_acl(root, wire.OPEN), "SETA"),
                (wire.get_children(root), "GETC"), (wire.get_children2(root), "GETC"),
                (wire.sync(root), "SYNC"), (wire.multi(), "MULT"), (wire.multi_read(), "MLTR"),
                (wire.delete(root + "/a"), "DELE"), (wire.set_watches(0), "SETW"),
                (wire.set_watches2(0), "STW2"), (wire.add_watch("/x", 0), "ADDW"),
                (wire.check_watches("/x", 3), "CHKW"), (wire.remove_watches("/x", 3), "REMW"),
                (wire.get_ephemerals("/"), "GETE"), (wire.get_all_children_number("/"), "GETACN"),
                (wire.who_am_i(), "HOMI")):
            with self.subTest(name):
                c.call(request)
                self.wait_for(lambda: lop() == name)

    def test_crst(self):
        c = self.connect()
        for _ in range(5):
            c.request(wire.ping())
        self.assertEqual(self.word("crst"), "Connection stats reset.\n")
        line, = [t for t in self.word("cons").splitlines() if "sid=%#x," % c.sid in t]
        self.assertIn("(queued=0,recved=0,sent=0,sid=", line)
        self.assertIn(",lop=NA,", line)
        self.assertNotIn("lcxid", line)

    def test_srst(self):
        c = self.connect()
        for _ in range(50):
            c.request(wire.ping())
        self.assertEqual(self.word("srst"), "Server stats reset.\n")
        text = self.word("srvr")
        self.assertLess(int(re.search(r"Received: (\d+)", text).group(1)), 5)
        self.assertLess(int(re.search(r"Sent: (\d+)", text).group(1)), 5)

    def test_dirs(self):
        self.assertRegex(self.word("dirs"), r"^datadir_size: \d+\nlogdir_size: \d+\n$")

    def test_dump(self):
        c, idle, root = self.connect(), self.connect(), self.root
        c.create(root + "/e", flags=EPHEMERAL)
        text = self.word("dump")
        self.assertRegex(text, (
            r"^SessionTracker dump:\n"
            r"Session Sets \(\d+\)/\(\d+\):\n"
            r"(\d+ expire at \w{3} \w{3} \d\d \d\d:\d\d:\d\d \S+ \d{4}:\n(\t0x[0-9a-f]+\n)*)+"
            r"ephemeral nodes dump:\n"
            r"Sessions with Ephemerals \(\d+\):\n"
            r"(0x[0-9a-f]+:\n(\t/.*\n)+)+"
            r"Connections dump:\n"
            r"Connections Sets \(\d+\)/\(\d+\):\n"
            r"(\d+ expire at .*:\n(\tip: /127\.0\.0\.1:\d+ sessionId: 0x[0-9a-f]+\n)*)+$"))
        sessions, rest = text.split("ephemeral nodes dump:\n")
        for conn in (c, idle):
            self.assertIn("\t%#x\n" % conn.sid, sessions)
            self.assertIn(":%d sessionId: %#x\n" % (conn.sock.getsockname()[1], conn.sid), rest)
        self.assertIn("%#x:\n\t%s/e\n" % (c.sid, root), rest)

    def test_dump_forgets_closed_sessions(self):
        c, root = self.connect(), self.root
        c.create(root + "/e", flags=EPHEMERAL)
        c.end_session()
        self.assertNotIn("%#x" % c.sid, self.word("dump"))

    def test_envi(self):
        text = self.word("envi")
        self.assertTrue(text.startswith("Environment:\nzookeeper.version="))
        keys = [line.split("=")[0] for line in text.splitlines()[1:]]
        for key in ("zookeeper.version", "host.name", "os.name", "os.arch", "os.version", "user.name",
                    "user.home", "user.dir"):
            self.assertIn(key, keys)

    def test_trace_mask(self):
        self.assertEqual(self.word("stmk", i64(0x32)), "50")
        self.assertEqual(self.word("gtmk"), "50")
        self.assertEqual(self.word("stmk", i64(306)), "306")
        self.assertEqual(self.word("gtmk"), "306")


class DefaultMask(WordTest):
    def test_gtmk(self):
        self.assertEqual(self.word("gtmk"), "306")


class Monitor(WordTest):
    def test_shape(self):
        text = self.word("mntr")
        for line in text.splitlines():
            self.assertRegex(line, r"^zk_\S+\t\S.*$")
        self.assertTrue(text.startswith("zk_version\t"))
        self.assertIn("\nzk_server_state\tstandalone\n", text)

    def test_common_keys(self):
        keys = self.mntr()
        for key in ("avg_latency max_latency min_latency packets_received packets_sent "
                    "num_alive_connections outstanding_requests znode_count watch_count "
                    "ephemerals_count approximate_data_size open_file_descriptor_count "
                    "max_file_descriptor_count uptime global_sessions local_sessions "
                    "last_client_response_size max_client_response_size min_client_response_size "
                    "auth_failed_count connection_drop_probability digest_mismatches_count "
                    "outstanding_tls_handshake cnt_fsynctime avg_fsynctime p99_readlatency "
                    "connection_request_count bytes_received_count").split():
            with self.subTest(key):
                self.assertRegex(keys["zk_" + key], r"^-?\d+(\.\d+)?(E\d+)?$")
        for key in ("zk_quorum_size", "zk_peer_state", "zk_learners", "zk_leader_uptime"):
            self.assertNotIn(key, keys)

    def test_gauges_follow_the_tree(self):
        c, root = self.connect(), self.root
        before = self.mntr()
        c.create(root + "/a", b"12345")
        c.create(root + "/e", flags=EPHEMERAL)
        c.exists(root, watch=True)
        c.get_children(root, watch=True)
        after = self.mntr()

        def growth(key):
            return int(after["zk_" + key]) - int(before["zk_" + key])
        self.assertEqual([growth(k) for k in ("znode_count", "ephemerals_count", "watch_count",
                                              "approximate_data_size", "global_sessions")],
                         [2, 1, 2, 2 * len(root + "/a") + 5, 0])

    def test_sessions_and_connections(self):
        # Counted against a connection that stays; others may still be on their way out.
        c = self.connect()
        c.end_session()
        self.wait_for(lambda: self.mntr()["zk_num_alive_connections"] == "1")
        before = int(self.mntr()["zk_global_sessions"])
        for _ in range(3):
            self.connect()
        after = self.mntr()
        self.assertEqual(int(after["zk_global_sessions"]), before + 3)
        self.assertEqual(after["zk_num_alive_connections"], "4")


class Watches(WordTest):
    def test_all_three(self):
        c, root = self.connect(), self.root
        self.assertEqual(self.word("wchs"), "0 connections watching 0 paths\nTotal watches:0\n")
        c.get_data(root, watch=True)
        c.request(wire.exists(root + "/none", True))
        self.assertEqual(self.word("wchs"), "1 connections watching 2 paths\nTotal watches:2\n")
        c.get_children(root, watch=True)
        by_session, by_path = self.word("wchc"), self.word("wchp")
        self.assertIn(by_session, ("%#x\n\t%s\n\t%s/none\n\n" % (c.sid, root, root),
                                   "%#x\n\t%s/none\n\t%s\n\n" % (c.sid, root, root)))
        self.assertEqual(sorted(by_path.splitlines()),
                         sorted(["", root, "\t%#x" % c.sid, root + "/none", "\t%#x" % c.sid]))
        self.assertTrue(by_path.endswith("\n\n"))
        d = self.connect()
        d.exists(root, watch=True)
        self.assertEqual(self.word("wchs"), "2 connections watching 2 paths\nTotal watches:3\n")
        c.set_data(root, b"")
        self.assertRegex(self.word("wchs"), r"^\d connections watching 1 paths\nTotal watches:1\n$")
        d.add_watch(root, RECURSIVE_WATCH)
        d.add_watch(root + "/x", PERSISTENT_WATCH)
        self.assertEqual(self.word("wchs"), "2 connections watching 3 paths\nTotal watches:3\n")
        for conn in (c, d):
            conn.close()
        self.wait_for(lambda: self.word("wchs") == "0 connections watching 0 paths\nTotal watches:0\n")


class DefaultWhitelist(WordTest):
    options = {"4lw.commands.whitelist": None}
    ALLOWED = either({"ruok", "srvr", "stat", "mntr", "isro", "conf"}, {"srvr"})

    def test_who_is_in(self):
        for word in WORDS:
            with self.subTest(word):
                refusal = word + " is not executed because it is not in the whitelist.\n"
                answer = self.word(word, i64(0) if word == "stmk" else b"")
                if word in self.ALLOWED:
                    self.assertNotIn("whitelist", answer)
                else:
                    self.assertEqual(answer, refusal)


class OwnWhitelist(WordTest):
    options = {"4lw.commands.whitelist": "ruok, wchs ,nonsense"}

    def test_who_is_in(self):
        for word in WORDS:
            with self.subTest(word):
                answer = self.word(word, i64(0) if word == "stmk" else b"")
                allowed = word in ("ruok", "wchs", "srvr")
                self.assertEqual("whitelist" in answer, not allowed)
        self.assertEqual(self.word("nons"), "")


class ReadOnlyOptionWhitelist(WordTest):
    options = {"4lw.commands.whitelist": "ruok", "readonlymode.enabled": "true"}

    def test_isro_is_always_in_then(self):
        self.assertEqual(self.word("isro"), "rw")
        self.assertIn("whitelist", self.word("conf"))


class UnderLoad(WordTest):
    def test_words_while_clients_write(self):
        c, root = self.connect(), self.root
        for n in range(300):
            c.send(wire.create("%s/n%d" % (root, n), b"x" * 100))
            if n % 30 == 0:
                for word in ("srvr", "mntr", "cons", "dump"):
                    self.assertTrue(self.word(word))
        for _ in range(300):
            self.assertEqual(c.reply().err, 0)


if __name__ == "__main__":
    unittest.main()
