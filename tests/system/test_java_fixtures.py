"""Directories written by Apache ZooKeeper 3.8.0 (tests/data/java-3.8.0): zabra opens each and shows
what Java showed, or refuses it and says why."""
import base64
import json
import os

from lib import store, wire
from lib.dirs import FIXTURES, DirTest, contents

CUT = "recovery.cutDamagedLog"
SIXTH = 0x1f5            # offset of the sixth entry in the log that the b and c cases share
PASSWORD = b"super:admin"


def expected(name):
    with open(os.path.join(FIXTURES, name, "expected.json")) as f:
        return json.load(f)


def expected_tree(want):
    return {n["path"]: store.Node(
        None if n["data_b64"] is None else base64.b64decode(n["data_b64"]),
        wire.Stat(**{k: n["stat"][k] for k in wire.Stat._fields}),
        [(a["perms"], a["scheme"], a["id"]) for a in n["acl"]]) for n in want["nodes"]}


def sessions_with_ephemerals(dump):
    """The middle part of the word dump: {session: [path, ...]}."""
    out, session = {}, None
    for line in dump:
        if line.startswith("0x") and line.endswith(":"):
            session = out.setdefault(line[:-1], [])
        elif line.startswith("\t") and session is not None:
            session.append(line.strip())
    return out


class FixtureTest(DirTest):
    options = {"DigestAuthenticationProvider.superDigest": "super:xQJmxLMiHGwaqBvst5y6rkB6HQs="}

    def fixture(self, name, **options):
        """A server on a copy of the directory."""
        return self.zabra(options, os.path.join(FIXTURES, name, "data"))

    def shows(self, name, want):
        server = self.fixture(name)
        server.start()
        self.assertEqual(hex(server.zxid()), want["zxid_after_load"])
        mntr = server.mntr()
        self.assertEqual(int(mntr["zk_znode_count"]), want["node_count_after_load"])
        ephemerals = sessions_with_ephemerals(want["ephemerals_after_load"])
        dump = server.word("dump").split("Sessions with Ephemerals")[1].split("Connections dump")[0]
        self.assertEqual(sessions_with_ephemerals(dump.splitlines()[1:]), ephemerals)
        self.assertEqual(int(mntr["zk_ephemerals_count"]), sum(map(len, ephemerals.values())))
        self.assert_same_tree(expected_tree(want), store.read_all(server.addr, PASSWORD), name)
        self.assertEqual(mntr["zk_digest_mismatches_count"], "0")
        server.stop()
        return server


class Opens(FixtureTest):
    """A test for each directory that Java opens, made below."""

    def check_first_entry(self, server, want):
        """The session that looked is the next transaction, and its digest that of the loaded tree."""
        zxid = int(want["zxid_after_load"], 16)
        first = [e for e in store.log_entries(server.version2) if e.zxid > zxid][0]
        self.assertEqual((first.zxid, first.type), (zxid + 1, store.CREATE_SESSION))
        self.assertEqual(first.digest, want["digest_after_load"])

    def opens(self, name):
        want = expected(name)
        before = contents(os.path.join(FIXTURES, name, "data", "version-2"))
        server = self.shows(name, want)
        self.check_first_entry(server, want)
        left = contents(server.version2)
        for file in ("acceptedEpoch", "currentEpoch"):
            self.assertEqual(left.get(file), before.get(file), "touched")
        # A second start shows the same, from what the first one wrote.
        server.start()
        self.assert_same_tree(expected_tree(want), store.read_all(server.addr, PASSWORD), "second start")
        self.assertEqual(server.mntr()["zk_digest_mismatches_count"], "0")
        server.stop()
        return server

    def test_ttl_nodes_go_without_extended_types(self):
        """As in Java, which deletes them at the start; the container stays."""
        want = expected_tree(expected("a-standalone"))
        server = self.fixture("a-standalone", extendedTypesEnabled="false")
        server.start()
        tree = store.read_all(server.addr, PASSWORD)
        gone = set(want) - set(tree)
        self.assertEqual(len(gone), 2, gone)
        self.assertTrue(all("ttl" in path for path in gone), gone)
        server.stop()

    def test_live_session_goes_on(self):
        """The session that owned /live when Java was killed can be renewed, and closing it deletes."""
        want = expected("a-standalone")
        sid, paths = list(sessions_with_ephemerals(want["ephemerals_after_load"]).items())[0]
        sid = int(sid, 16)
        server = self.fixture("a-standalone")
        server.start()
        conn = self.connect(server, sid=sid, passwd=wire.session_password(sid), timeout=30000)
        self.assertEqual(conn.sid, sid)
        self.assertEqual(conn.get_ephemerals("/"), paths)
        conn.end_session()
        other = self.connect(server)
        with self.assertRaises(wire.ZkError) as caught:
            other.exists(paths[0])
        self.assertEqual(caught.exception.code, wire.Err.NO_NODE)
        server.stop()


def _case(name):
    def test(self):
        self.opens(name)
    return test


for _name in """a-standalone b-torn-tail-truncated b-torn-tail-zero-filled b-torn-tail-missing-eor
        b-header-only-last-log d-snapshot-gz d-snapshot-snappy e-quorum-member""".split():
    setattr(Opens, "test_" + _name.replace("-", "_"), _case(_name))


class SetsAside(FixtureTest):
    """Java 3.8 refuses these; here the last log, which holds nothing, goes out of the way."""

    def set_aside(self, name, size):
        # Without that file the directory is one that Java opens.
        server = self.shows(name, expected("b-header-only-last-log"))
        self.assertNotIn("log.100", os.listdir(server.version2))
        kept = [n for n in os.listdir(server.version2)
                if not n.startswith(("log.", "snapshot.", "zabra."))]
        self.assertEqual(len(kept), 1, kept)
        self.assertEqual(os.path.getsize(os.path.join(server.version2, kept[0])), size)
        said = [line for line in server.log().splitlines() if "log.100" in line and kept[0] in line]
        self.assertEqual(len(said), 1, server.log())

    def test_empty(self):
        self.set_aside("b-empty-last-log", 0)

    def test_short_header(self):
        self.set_aside("b-short-header-last-log", 7)


class Refuses(FixtureTest):
    """Damage with valid entries behind it. Java refuses as well, or, for the end byte, drops them."""

    def refuses(self, name):
        server = self.fixture(name)
        before = contents(server.version2)
        code, said = server.start_refused()
        self.assertEqual(code, 1)
        self.assertIn("log.1 ", said)
        self.assertIn("offset %d" % SIXTH, said)
        self.assertIn(CUT, said)
        self.assertIn("0x5", said, "the last good zxid")
        after = contents(server.version2)
        self.assertEqual({n: after.get(n) for n in before}, before, "a refused start changed files")
        return server

    def cuts(self, name):
        """With the option it opens as Java does after a bad end byte, and keeps what it cuts off."""
        server = self.fixture(name, **{CUT: "yes"})
        original = store.read(os.path.join(server.version2, "log.1"))
        server.start()
        want = expected("c-bad-eor-middle")
        self.assertEqual(hex(server.zxid()), want["zxid_after_load"])
        self.assert_same_tree(expected_tree(want), store.read_all(server.addr, PASSWORD), name)
        server.stop()
        tails = [store.read(os.path.join(server.version2, n)) for n in os.listdir(server.version2)
                 if not n.startswith(("log.", "snapshot.", "zabra."))]
        self.assertEqual([t.rstrip(b"\0") for t in tails], [original[SIXTH:].rstrip(b"\0")])
        # And the directory is whole again.
        server.options.pop(CUT)
        server.start()
        self.assertEqual(server.mntr()["zk_digest_mismatches_count"], "0")
        server.stop()


def _refusal(name):
    def test(self):
        self.refuses(name)
    return test


def _cut(name):
    def test(self):
        self.cuts(name)
    return test


for _name in """c-bad-checksum-middle c-bad-payload-middle c-bad-eor-middle c-huge-length-middle
        c-minus1-length-middle""".split():
    setattr(Refuses, "test_refuses_" + _name[2:].replace("-", "_"), _refusal(_name))
    setattr(Refuses, "test_cuts_" + _name[2:].replace("-", "_"), _cut(_name))
