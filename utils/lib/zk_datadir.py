"""Writes a ZooKeeper data directory of a given size: one snapshot with many znodes and one log behind it.

The formats are those of docs/protocol (disk format): snapshot and transaction log of ZooKeeper 3.8/3.9 with the data
tree's digest, so that Java and zabra load it without a complaint. The znodes are those that zabra-benchmark expects
with --existing: PREFIX/key-<16 digits>, 20 bytes, with data that begins with the same digits.
"""
import os
import struct
import zlib

PREALLOCATED = 64 << 20
LOG_MAGIC, SNAPSHOT_MAGIC = 0x5a4b4c47, 0x5a4b534e
SET_DATA = 5
DIGEST_VERSION = 2
TIME_MS = 1600000000000            # any moment in the past
OPEN_ACL, READ_ACL = 1, 2          # ids in the snapshot's ACL table
BUILT_IN_ACL = -1

STAT = struct.Struct(">qqqqiiiqq")           # as stored
DIGESTED = struct.Struct(">qqqqqiiiq")       # the same fields in the digest's order, pzxid third


def data_pattern(size):
    """What zabra-benchmark writes behind the digits."""
    return bytes(ord("a") + i % 26 for i in range(size))


def ustring(text):
    return struct.pack(">i", len(text)) + text


def acl(perms):
    return struct.pack(">ii", 1, perms) + ustring(b"world") + ustring(b"anyone")


class Node:
    """The fields of one znode that the digest and the snapshot need."""

    __slots__ = ("path", "data", "acl", "czxid", "mzxid", "pzxid", "mtime", "version", "cversion", "aversion")

    def __init__(self, path, data=b"", acl_id=OPEN_ACL, zxid=0, pzxid=0, cversion=0, aversion=0):
        self.path, self.data, self.acl = path, data, acl_id
        self.czxid = self.mzxid = zxid
        self.pzxid, self.cversion, self.aversion = pzxid, cversion, aversion
        self.mtime = TIME_MS if zxid else 0
        self.version = 0

    def digest(self):
        ctime = TIME_MS if self.czxid else 0
        fields = DIGESTED.pack(self.czxid, self.mzxid, self.pzxid, ctime, self.mtime, self.version, self.cversion,
                               self.aversion, 0)
        return zlib.crc32(fields, zlib.crc32(self.data, zlib.crc32(self.path)))

    def record(self):
        ctime = TIME_MS if self.czxid else 0
        return b"".join((ustring(self.path), ustring(self.data), struct.pack(">q", self.acl),
                         STAT.pack(self.czxid, self.mzxid, ctime, self.mtime, self.version, self.cversion,
                                   self.aversion, 0, self.pzxid)))


class Sealed:
    """A file whose Adler-32 is kept while it is written."""

    def __init__(self, path):
        self.file = open(path, "wb")
        self.adler = 1

    def write(self, data):
        self.file.write(data)
        self.adler = zlib.adler32(data, self.adler)

    def seal(self):
        self.write(struct.pack(">q", self.adler) + ustring(b"/"))


def key_node(prefix, number, zxid, pattern):
    digits = b"%016d" % number
    return Node(prefix + b"/key-" + digits, (digits + pattern[16:])[:len(pattern)], zxid=zxid, pzxid=zxid)


def built_in_nodes():
    return [Node(b"/zookeeper", acl_id=BUILT_IN_ACL), Node(b"/zookeeper/config", acl_id=READ_ACL, aversion=-1),
            Node(b"/zookeeper/quota", acl_id=BUILT_IN_ACL)]


def write_snapshot(directory, prefix, count, pattern):
    """Returns the zxid of the snapshot and its tree digest."""
    zxid = count + 1
    out = Sealed(os.path.join(directory, "snapshot.%x" % zxid))
    out.write(struct.pack(">iiq", SNAPSHOT_MAGIC, 2, -1))
    out.write(struct.pack(">i", 0))                                          # sessions
    out.write(struct.pack(">i", 2) + struct.pack(">q", OPEN_ACL) + acl(31) + struct.pack(">q", READ_ACL) + acl(1))
    nodes = [Node(b"", acl_id=BUILT_IN_ACL, pzxid=1, cversion=1)] + built_in_nodes()
    nodes.append(Node(prefix, zxid=1, pzxid=zxid, cversion=count))
    digest = 0
    chunk = []

    def add(node):
        nonlocal digest
        if not node.path.startswith(b"/zookeeper/"):
            digest += node.digest()
        chunk.append(node.record())
        if len(chunk) >= 4096:
            out.write(b"".join(chunk))
            chunk.clear()

    for node in nodes:
        add(node)
    for number in range(count):
        add(key_node(prefix, number, number + 2, pattern))
    out.write(b"".join(chunk) + ustring(b"/"))
    digest &= (1 << 64) - 1
    out.seal()
    out.write(struct.pack(">qiQ", zxid, DIGEST_VERSION, digest))
    out.seal()
    out.write(struct.pack(">q", zxid))
    out.seal()
    out.file.close()
    return zxid, digest


def write_log(directory, prefix, count, pattern, records, zxid, digest):
    """Appends setData transactions on the first znodes, one after the other."""
    with open(os.path.join(directory, "log.%x" % (zxid + 1)), "wb") as out:
        out.write(struct.pack(">iiq", LOG_MAGIC, 2, 0))
        nodes = {}
        for i in range(records):
            zxid += 1
            number = i % count
            node = nodes.setdefault(number, key_node(prefix, number, number + 2, pattern))
            digest -= node.digest()
            node.mzxid, node.mtime = zxid, TIME_MS + i
            node.version += 1
            digest = (digest + node.digest()) & ((1 << 64) - 1)
            payload = b"".join((struct.pack(">qiqqi", 0x100000000000001, i, zxid, node.mtime, SET_DATA),
                                ustring(node.path), ustring(node.data), struct.pack(">i", node.version),
                                struct.pack(">iQ", DIGEST_VERSION, digest)))
            out.write(struct.pack(">qi", zlib.adler32(payload), len(payload)) + payload + b"B")
        size = out.tell()
        out.truncate(-(-size // PREALLOCATED) * PREALLOCATED)


def write(data_dir, prefix, count, data_bytes=100, log_records=0):
    """Makes data_dir/version-2 with count znodes in a snapshot and log_records transactions after it."""
    directory = os.path.join(data_dir, "version-2")
    os.makedirs(directory)
    pattern = data_pattern(data_bytes)
    zxid, digest = write_snapshot(directory, prefix.encode(), count, pattern)
    if log_records:
        write_log(directory, prefix.encode(), count, pattern, log_records, zxid, digest)
