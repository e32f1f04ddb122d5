"""Apache ZooKeeper opens what zabra wrote, shows the same tree, and finds no digest wrong; and zabra opens
what it writes after that."""
import os
import random
import re
import shutil
import unittest

from lib import store, wire
from lib.dirs import FIXTURES, DirTest, longer
from lib.load import Load
from lib.server import LONG
from lib.wire import ALL, CONTAINER, EPHEMERAL, EPHEMERAL_SEQUENTIAL, READ, SEQUENTIAL, TTL_SEQUENTIAL, WRITE

SEED = int(os.environ.get("ZABRA_TEST_SEED", random.SystemRandom().randrange(10**6)))
NO_JAVA = shutil.which("java") is None or not os.path.exists("/usr/share/java/zookeeper.jar")
LARGEST = 2 * 1048575    # bytes of a transaction that a Java server with default options reads


def every_acl(conn):
    """Lists with all schemes, in several orders."""
    conn.auth("digest", b"bob:secret")
    lists = [
        wire.OPEN,
        [(READ, "world", "anyone")],
        [(ALL, "ip", "127.0.0.1"), (READ, "ip", "10.0.0.0/8"), (READ | WRITE, "ip", "::1")],
        [(ALL, "digest", "alice:V2nW5nGqSCzQ8kQVnJkC1cYfHHk="), (READ, "world", "anyone")],
        [(READ, "world", "anyone"), (ALL, "digest", "alice:V2nW5nGqSCzQ8kQVnJkC1cYfHHk=")],
        [(ALL, "auth", "")],
        [(ALL, "sasl", "carol@EXAMPLE.ORG"), (READ, "x509", "CN=dave,O=Example")],
        [(0, "world", "anyone")],
        wire.OPEN + [(n, "digest", "u%d:x" % n) for n in range(32)],
    ]
    conn.create("/acl")
    for n, acl in enumerate(lists):
        conn.create("/acl/%d" % n, b"acl", acl)
        conn.create("/acl/set%d" % n)
        conn.set_acl("/acl/set%d" % n, acl)


def every_kind(conn, live):
    """Nodes of all kinds, and requests that fail.  live: the session of ephemerals that stay."""
    conn.create("/null", None)
    conn.create("/empty", b"")
    conn.create("/data", bytes(range(256)) * 40)
    conn.create("/large", os.urandom(1000000))
    conn.create("/\u00e9\u4e2d\u6587 \u0436")
    conn.create("/\u00e9\u4e2d\u6587 \u0436/deep")
    path = ""
    for n in range(60):
        path += "/deep%d" % n
        conn.create(path, b"%d" % n)
    conn.create("/s")
    for flags in (SEQUENTIAL, EPHEMERAL_SEQUENTIAL) * 6:
        live.create("/s/n-", b"x", flags=flags)
    conn.delete("/s/n-0000000002")
    live.create("/e", b"live", flags=EPHEMERAL)
    live.create2("/e2", None, flags=EPHEMERAL)
    conn.create_container("/c")
    conn.create("/c/child")
    conn.create_container("/c/inner")
    conn.create2("/container-by-flag", b"", flags=CONTAINER)
    conn.create_ttl("/ttl", 10**9, b"t")
    conn.create_ttl("/ttl-", 5 * 10**8, b"t", flags=TTL_SEQUENTIAL)
    conn.create("/limited", b"12345")
    conn.create("/zookeeper/quota/limited")
    conn.create("/zookeeper/quota/limited/zookeeper_limits", b"count=10,bytes=1000=;byteHardLimit=-1;countHardLimit=50")
    conn.create("/zookeeper/quota/limited/zookeeper_stats", b"count=0,bytes=0")
    for n in range(4):
        conn.create("/limited/%d" % n, bytes(10 * n))
    conn.set_data("/limited/3", b"changed")
    conn.delete("/limited/1")
    for n in range(7):
        conn.set_data("/data", b"version %d" % n)
    every_acl(conn)
    conn.multi(wire.create("/m", b"m"), wire.create("/m/a"), wire.set_data("/m", b"n"), wire.check("/m", 1),
               wire.create("/m/s", flags=SEQUENTIAL), wire.delete("/m/a"), wire.create_container("/m/c"),
               wire.create_ttl("/m/t", 10**8))
    conn.multi(wire.create("/never"), wire.delete("/none"), wire.create("/never2"))
    conn.multi(wire.check("/m", 77), wire.create("/never"))
    conn.multi()
    for request in (wire.create("/none/x"), wire.create("/m"), wire.delete("/m"), wire.delete("/none"),
                    wire.set_data("/m", b"", 99), wire.set_acl("/m", [], -1), wire.create("bad")):
        assert conn.request(request).err
    gone = wire.Conn(conn.sock.getpeername(), timeout=30000)
    for n in range(5):
        gone.create("/gone%d" % n, flags=EPHEMERAL)
    gone.end_session()


@unittest.skipIf(NO_JAVA, "Java or Apache ZooKeeper is not installed")
class JavaTest(DirTest):
    options = {"authProvider.1": "org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
               "authProvider.2": "org.apache.zookeeper.server.auth.X509AuthenticationProvider"}

    def setUp(self):
        super().setUp()
        longer(240)

    def java(self, options=None, data=None):
        options = dict({"authProvider.1": None, "authProvider.2": None, "snapCount": 100000}, **(options or {}))
        return super().java(options, data)

    def check_java(self, java):
        """It found nothing wrong."""
        self.assertEqual(java.mntr()["zk_digest_mismatches_count"], "0")
        complaints = [l for l in java.log().splitlines()
                      if re.search(r"[Dd]igest(?!Auth)|persistence|Unreasonable|ZooKeeperServerMain", l)]
        self.assertEqual(complaints, [])

    def check_files(self, directory):
        """Snapshots are what the log says they are, and no transaction is too large for Java."""
        digests = {}
        for e in store.log_entries(directory):
            self.assertLessEqual(e.end - e.offset - 13, LARGEST)
            if e.digest is not None:
                digests[e.zxid] = e.digest
        zxids = sorted(digests)
        snapshots = store.named(directory, "snapshot")
        for path in snapshots:
            snapshot = store.load_snapshot(path)
            self.assertEqual((snapshot.digest[0], snapshot.last_zxid), (snapshot.zxid,) * 2, path)
            digest = store.tree_digest(snapshot.nodes)
            self.assertEqual(snapshot.digest[2], digest, path)
            before = [z for z in zxids if z <= snapshot.zxid]
            if before and before[-1] > snapshot.zxid - 20:
                self.assertEqual(digests[before[-1]], digest, path)
        return snapshots

    def and_back(self, java, tree, live):
        """Java goes on, and zabra opens what it leaves."""
        conn = self.connect(java, sid=live.sid, passwd=live.passwd, timeout=LONG)
        self.assertEqual(conn.sid, live.sid)
        conn.auth("digest", b"super:super")
        conn.create("/by-java", b"j")
        conn.create("/by-java/s", flags=SEQUENTIAL)
        conn.create_ttl("/by-java/ttl", 10**9)
        conn.multi(wire.create("/by-java/m"), wire.set_data("/by-java", b"k"))
        after = store.read_tree(conn)
        self.assertEqual(set(after) - set(tree),
                         {"/by-java", "/by-java/s0000000000", "/by-java/ttl", "/by-java/m"})
        java.kill()
        server = self.zabra(data=java.data)
        server.start()
        self.assert_same_tree(after, store.read_all(server.addr), "back in zabra")
        self.assertEqual(server.mntr()["zk_digest_mismatches_count"], "0")
        again = self.connect(server, sid=live.sid, passwd=live.passwd, timeout=LONG)
        self.assertEqual(again.sid, live.sid)
        again.end_session()
        server.stop()

    def opened(self, data, tree):
        """A Java server on a copy; it shows this tree."""
        java = self.java(data=data)
        java.start()
        self.assert_same_tree(tree, store.read_all(java.addr), "in Java")
        self.check_java(java)
        return java


class Kinds(JavaTest):
    def everything(self, crash, snapshots=0, **options):
        server = self.zabra(options)
        server.start()
        live = self.connect(server, timeout=LONG)
        conn = self.connect(server, timeout=60000)
        conn.auth("digest", b"super:super")
        every_kind(conn, live)
        conn.end_session()
        load = Load(server.addr, 2, SEED)
        load.run(60)
        self.wait_for(lambda: len(store.named(server.version2, "snapshot")) > snapshots or load.run(2), what="snapshots")
        server.restart(crash=crash)                 # so that the history has more than one run
        tree = store.read_all(server.addr)
        self.assertGreater(len([path for path in tree if not path.startswith("/w")]), 100)
        server.kill() if crash else server.stop()
        self.assertEqual(sum("/e" in p[:2] for p in tree), 3)
        return server, tree, live

    def test_many_logs(self):
        """Plain snapshots, a log every few transactions, stopped in order."""
        server, tree, live = self.everything(False, 5, snapCount=2)
        self.assertGreater(len(store.named(server.version2, "log")), 50)
        self.assertGreater(len(self.check_files(server.version2)), 5)
        self.and_back(self.opened(server.data, tree), tree, live)

    def test_gz(self):
        server, tree, live = self.everything(True, snapCount=50, **{"snapshot.compression.method": "gz"})
        snapshots = self.check_files(server.version2)
        self.assertTrue(any(p.endswith(".gz") for p in snapshots))
        self.and_back(self.opened(server.data, tree), tree, live)

    def test_snappy(self):
        server, tree, live = self.everything(False, snapCount=30, preAllocSize=0,
                                             **{"snapshot.compression.method": "snappy"})
        snapshots = self.check_files(server.version2)
        self.assertTrue(any(p.endswith(".snappy") for p in snapshots))
        self.and_back(self.opened(server.data, tree), tree, live)


    def without(self, **left_out):
        """Options that leave something out: what is left out, Java must not miss."""
        server = self.zabra(dict(left_out, snapCount=20))
        server.start()
        live = self.connect(server, timeout=LONG)
        live.create("/e", b"live", flags=EPHEMERAL)
        for n in range(60):
            live.create("/n%d" % n, b"x")
        self.wait_for(lambda: len(store.named(server.version2, "snapshot")) > 1, what="a snapshot")
        gone = self.connect(server, timeout=60000)
        for n in range(3):
            gone.create("/gone%d" % n, flags=EPHEMERAL)
        gone.end_session()
        empty = self.connect(server, timeout=60000)
        empty.end_session()
        live.create("/last")
        tree = store.read_all(server.addr)
        server.stop()
        for options in (left_out, {}):
            java = self.java(options, data=server.data)
            java.start()
            self.assert_same_tree(tree, store.read_all(java.addr), "in Java with %r" % options)
            self.assertEqual(java.mntr()["zk_digest_mismatches_count"], "0")
            java.kill()
        java.start()
        self.and_back(java, tree, live)
        return store.log_entries(server.version2), [store.load_snapshot(p) for p in store.named(server.version2, "snapshot")]

    def test_without_digests(self):
        entries, snapshots = self.without(**{"digest.enabled": "false"})
        self.assertEqual({e.digest for e in entries}, {None})
        self.assertEqual({(s.digest, s.last_zxid) for s in snapshots}, {(None, None)})

    def test_without_zxid_section(self):
        _, snapshots = self.without(**{"serializeLastProcessedZxid.enabled": "false"})
        self.assertEqual({s.last_zxid for s in snapshots}, {None})
        self.assertNotIn(None, [s.digest for s in snapshots])

    def test_without_lists_of_ephemerals(self):
        entries, _ = self.without(**{"closeSessionTxn.enabled": "false"})
        self.check_closes(entries)
        self.assertNotIn(None, [e.digest for e in entries if e.type not in (store.ERROR, store.CLOSE_SESSION)])

    def test_without_both(self):
        entries, _ = self.without(**{"closeSessionTxn.enabled": "false", "digest.enabled": "false"})
        self.check_closes(entries)

    def check_closes(self, entries):
        closes = [e for e in entries if e.type == store.CLOSE_SESSION]
        self.assertGreater(len(closes), 1)
        self.assertEqual({(e.body, e.digest) for e in closes}, {(b"", None)})

    def test_reaped_nodes(self):
        """Containers and TTL nodes that the server deleted by itself."""
        server = self.zabra({"znode.container.checkIntervalMs": 50})
        server.start()
        live = self.connect(server, timeout=LONG)
        for n in range(3):
            live.create_container("/c%d" % n)
            live.create("/c%d/child" % n)
            live.create_ttl("/t%d" % n, 1 + 10**9 * (n == 2))
        live.delete("/c0/child")
        live.delete("/c1/child")
        self.wait_for(lambda: sorted(live.get_children("/")) == ["c2", "t2", "zookeeper"], what="the reaper")
        tree = store.read_all(server.addr)
        server.stop()
        reaped = [e for e in store.log_entries(server.version2) if e.type == wire.Op.DELETE_CONTAINER]
        self.assertEqual([(e.session, e.cxid) for e in reaped], [(0, 0)] * 4)
        self.and_back(self.opened(server.data, tree), tree, live)

    def test_from_java_and_back(self):
        """A directory of Java's, after zabra went on in it, opened by Java."""
        server = self.zabra({"snapCount": 5}, os.path.join(FIXTURES, "a-standalone", "data"))
        server.start()
        live = self.connect(server, timeout=LONG)
        live.create("/new", flags=EPHEMERAL)
        for n in range(10):
            live.create("/more%d" % n)
        tree = store.read_all(server.addr)
        server.stop()
        self.and_back(self.opened(server.data, tree), tree, live)


class UnderLoad(JavaTest):
    def test_snapshots_of_a_changing_tree(self):
        """Snapshots taken under creates, deletes, setACLs and the ends of sessions with ephemerals, then
        kill -9.  Each is the tree at its zxid; Java loads the newest and replays the rest."""
        server = self.zabra({"snapCount": 700})
        server.start()
        base = self.connect(server, timeout=60000)
        base.create("/base")
        for n in range(0, 12000, 500):
            base.multi(*[wire.create("/base/%d" % i, bytes(60)) for i in range(n, n + 500)])
        live = self.connect(server, timeout=LONG)
        live.create("/live", flags=EPHEMERAL)
        load = Load(server.addr, 4, SEED, most=60, closes=0.02)
        load.start()
        rng = random.Random(SEED)
        for n in range(40):
            mortal = wire.Conn(server.addr, timeout=60000)
            requests = []
            for _ in range(60):
                i = rng.randrange(12000)
                requests.append(rng.choice((
                    wire.set_data("/base/%d" % i, b"changed"),
                    wire.set_acl("/base/%d" % i, [(rng.randrange(32), "world", "anyone"), (1, "ip", "10.0.0.%d" % (n % 99))]),
                    wire.delete("/base/%d" % i),
                    wire.create("/base/%d/e%d" % (i, n), flags=EPHEMERAL))))
            mortal.results(*requests)
            mortal.end_session()
        self.wait_for(lambda: load.acknowledged() > 1500 and len(store.named(server.version2, "snapshot")) > 4, 60, "load")
        server.kill()
        load.join()
        crashed = os.path.join(server.dir, "crashed")
        shutil.copytree(server.data, crashed)
        self.assertGreater(len(self.check_files(server.version2)), 4)
        server.start()
        load.settle(server.addr)
        tree = store.read_all(server.addr)
        self.assertEqual(server.mntr()["zk_digest_mismatches_count"], "0")
        server.stop()
        java = self.opened(crashed, tree)
        self.and_back(java, tree, live)

    def test_a_session_with_100000_ephemerals(self):
        """The transaction that closes it must not be larger than what Java reads."""
        server = self.zabra({"snapCount": 1000000, "preAllocSize": 4096})
        server.start()
        owner, other = self.connect(server, timeout=LONG), self.connect(server, timeout=LONG)
        other.create("/e")
        prefix = "/e/" + "x" * 51
        for n in range(0, 100000, 2000):
            owner.multi(*[wire.create("%s%06d" % (prefix, i), b"", flags=EPHEMERAL) for i in range(n, n + 2000)])
        self.assertEqual(len(prefix) + 6, 60)
        other.create("/live", flags=EPHEMERAL)
        owner.close_session()
        owner.expect_close()
        self.assertEqual(other.get_children("/e"), [])
        tree = store.read_all(server.addr)
        server.kill()
        self.check_files(server.version2)
        java = self.opened(server.data, tree)
        self.and_back(java, tree, other)

    def test_create2_in_a_multi(self):
        """3.8.0 knows create2 only outside of multis, and applies what stands before it."""
        server = self.zabra()
        server.start()
        conn = self.connect(server, timeout=60000)
        kinds = [r[0] for r in conn.multi(wire.create("/a"), wire.create2("/b"), wire.create("/c"))]
        self.assertEqual(kinds, [wire.Op.CREATE, wire.Op.CREATE2, wire.Op.CREATE])
        tree = store.read_all(server.addr)
        server.stop()
        self.opened(server.data, tree)

    def test_no_transaction_is_too_large(self):
        """Identities make the transaction larger than the request: what Java could not read is refused."""
        server = self.zabra()
        server.start()
        conn = self.connect(server)
        for n in range(40):
            conn.auth("digest", b"user%d:password" % n)
        own = [(ALL, "auth", "")]
        conn.create("/small", b"", own)
        multi = [wire.create("/m%d" % n, b"", own) for n in range(2000)]
        reply = conn.request(wire.multi(*multi))
        self.assertEqual(reply.err, wire.Err.BAD_ARGUMENTS)
        self.assertEqual(conn.get_children("/").count("m0"), 0)
        conn.multi(*multi[:500])
        server.stop()
        self.check_files(server.version2)
        server.start()
        self.assertEqual(len(self.connect(server).get_children("/")), 502)
        server.stop()

    def test_java_would_notice(self):
        """The proof of this proof: one wrong digest in a log of ours is counted, by both servers."""
        server = self.zabra()
        server.start()
        conn = self.connect(server)
        for n in range(10):
            conn.create("/n%d" % n)
        server.stop()
        path = store.named(server.version2, "log")[-1]
        data = bytearray(store.read(path))
        entry = list(store.entries(data))[5]
        payload = bytearray(data[entry.offset + 12:entry.end - 1])
        payload[-1] ^= 1
        data[entry.offset:entry.end] = store.encode(bytes(payload))
        with open(path, "wb") as f:
            f.write(data)
        java = self.java(data=server.data)
        java.start()
        self.assertEqual(java.mntr()["zk_digest_mismatches_count"], "1")
        server.start()
        self.assertEqual(server.mntr()["zk_digest_mismatches_count"], "1")
        self.assertRegex(server.log(), r"(?i)digest")
        server.stop()


