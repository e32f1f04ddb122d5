"""The digest of the tree, as listed by the word "hash", against one computed from what clients see."""
import struct
import unittest
import zlib

from lib import wire
from lib.server import ServerTest
from lib.wire import CONTAINER, EPHEMERAL, SEQUENTIAL

CONTAINER_OWNER = 1 << 63


def ttl_owner(ttl):
    return 0xFF << 56 | ttl


def tree(c, path="/"):
    """All paths except those below /zookeeper."""
    yield path
    if path != "/zookeeper":
        for name in c.get_children(path):
            yield from tree(c, path.rstrip("/") + "/" + name)


def node_digest(path, data, stat, owner):
    stored_cversion = (stat.cversion + stat.numChildren) // 2
    numbers = struct.pack(">5q3iQ", stat.czxid, stat.mzxid, stat.pzxid, stat.ctime, stat.mtime,
                          stat.version, stored_cversion, stat.aversion, owner)
    return zlib.crc32((path if path != "/" else "").encode() + (data or b"") + numbers)


def tree_digest(c, owners):
    """owners: stored owner of containers and TTL nodes, which clients see as 0."""
    total = 0
    for path in tree(c):
        data, stat = c.get_data(path)
        total += node_digest(path, data, stat, owners.get(path, stat.ephemeralOwner))
    return total % 2 ** 64


class Digest(ServerTest):
    options = {"extendedTypesEnabled": "true"}

    def listed(self, zxid):
        """The digest listed for a zxid, or None."""
        lines = dict(line.split(": ") for line in self.server.word("hash").splitlines())
        value = lines.get("%x" % zxid)
        return None if value is None else int(value) % 2 ** 64

    def fill_up(self, c):
        """Write to /counter until a multiple of 128 is reached; that zxid."""
        zxid = c.request(wire.ping()).zxid
        while zxid % 128:
            reply = c.request(wire.set_data("/counter", b"%d" % zxid))
            self.assertEqual((reply.err, reply.zxid), (0, zxid + 1))
            zxid += 1
        return zxid

    def test_agrees_with_the_tree(self):
        c, other = self.connect(), self.connect()
        self.assertEqual(self.server.word("hash"), "")
        c.create("/counter")
        c.create("/null", None)
        c.create("/\u00e9\u4e2d", "\u00df".encode())
        c.create("/ephemeral", b"e", flags=EPHEMERAL)
        c.create_container("/container", b"data")
        c.create("/container/child")
        c.create_ttl("/ttl", 123456, b"x")
        c.set_acl("/null", [(31, "world", "anyone")] * 2)
        owners = {"/container": CONTAINER_OWNER, "/ttl": ttl_owner(123456)}
        zxid = self.fill_up(c)
        self.assertEqual(zxid, 128)
        self.assertEqual(self.listed(zxid), tree_digest(c, owners))

        # A second round with everything that changes or fails to change a tree.
        c.multi(wire.create("/m", b"1"), wire.set_data("/m", b"22"), wire.delete("/m"), wire.create("/n"),
                wire.create("/m", flags=CONTAINER), wire.create_ttl("/mt", 5000))
        owners.update({"/m": CONTAINER_OWNER, "/mt": ttl_owner(5000)})
        c.multi(wire.create("/rolled back"), wire.set_data("/n", b"x"), wire.check("/none"))
        c.request(wire.create("/counter"))
        c.request(wire.create("/zookeeper/x"))
        c.set_data("/", b"root")
        c.delete("/container/child")
        c.set_data("/ttl", None)
        for n in range(3):
            other.create("/n/s", flags=SEQUENTIAL | EPHEMERAL)
        c.create("/zookeeper/quota/n")
        c.create("/zookeeper/quota/n/zookeeper_limits", b"count=5,bytes=5")
        c.create("/zookeeper/quota/n/zookeeper_stats")
        other.end_session()
        zxid = self.fill_up(c)
        self.assertEqual(zxid, 256)
        self.assertEqual(self.listed(zxid), tree_digest(c, owners))

        # And after a restart, from the snapshot and the log.
        self.server.restart()
        c = self.renew(c)
        c.set_data("/counter", b"again")
        zxid = self.fill_up(c)
        self.assertEqual(zxid, 384)
        self.assertEqual(self.listed(zxid), tree_digest(c, owners))

        # No prediction was wrong on the way.
        mntr = dict(line.split("\t", 1) for line in self.server.word("mntr").splitlines())
        self.assertEqual(mntr["zk_digest_mismatches_count"], "0")


class DigestOff(ServerTest):
    options = {"digest.enabled": "false"}

    def test_no_digest_is_listed(self):
        c, root = self.connect(), self.root
        c.results(*[wire.set_data(root, b"")] * 140)
        self.assertIn(self.server.word("hash"), ("", "80: 0\n"))


if __name__ == "__main__":
    unittest.main()
