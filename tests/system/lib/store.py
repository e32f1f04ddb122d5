"""Reads ZooKeeper's logs and snapshots, independently of the server under test.

    entries(data)        the entries of a log
    load_snapshot(path)  a snapshot, every seal checked
    tree_digest(nodes)   the digest (version 2) of its nodes
    read_tree(conn)      the whole tree as a client sees it
"""
import collections
import gzip
import os
import struct
import zlib

from lib import wire

LOG_HEADER = b"ZKLG" + struct.pack(">iq", 2, 0)
SUPER = "super:gG7s8t3oDEtIqF6DM9LlI/R+9Ss="     # the digest of super:super
CREATE_SESSION, CLOSE_SESSION, ERROR, MULTI = -10, -11, -1, 14


# --- logs ----------------------------------------------------------------------

Entry = collections.namedtuple("Entry", "offset end session cxid zxid time type body digest")


def parse_payload(offset, payload):
    session, cxid, zxid, time, kind = struct.unpack(">qiqqi", payload[:32])
    body, digest = payload[32:], None
    if kind != ERROR and body[-12:-8] == b"\0\0\0\2":
        body, digest = body[:-12], struct.unpack(">Q", body[-8:])[0]
    return Entry(offset, offset + 13 + len(payload), session, cxid, zxid, time, kind, body, digest)


def entries(data, start=16):
    """The valid entries up to the first place where there is none."""
    offset = start
    while offset + 12 <= len(data):
        checksum, size = struct.unpack_from(">qi", data, offset)
        end = offset + 13 + size
        if size < 32 or end > len(data) or data[end - 1] != 0x42:
            return
        payload = bytes(data[offset + 12:end - 1])
        if zlib.adler32(payload) != checksum:
            return
        yield parse_payload(offset, payload)
        offset = end


def encode(payload):
    """An entry around a payload."""
    return struct.pack(">qi", zlib.adler32(payload), len(payload)) + payload + b"B"


def zxid_of(name):
    return int(name.split(".")[1], 16)


def named(directory, prefix):
    """The paths of the logs or snapshots of a directory, oldest first."""
    names = [n for n in os.listdir(directory) if n.startswith(prefix + ".")]
    return [os.path.join(directory, n) for n in sorted(names, key=zxid_of)]


def read(path):
    with open(path, "rb") as f:
        return f.read()


def log_entries(directory):
    """All entries of all logs of a version-2 directory, in order."""
    return [e for path in named(directory, "log") for e in entries(read(path))]


# --- snapshots -------------------------------------------------------------------

Snapshot = collections.namedtuple("Snapshot", "zxid sessions acls nodes digest last_zxid")
Znode = collections.namedtuple("Znode", "data acl czxid mzxid ctime mtime version cversion aversion "
                               "owner pzxid")


def _snappy_block(block):
    """One raw snappy block, uncompressed."""
    pos = shift = size = 0
    while True:
        byte = block[pos]
        pos += 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    out = bytearray()
    while pos < len(block):
        tag = block[pos]
        pos += 1
        if tag & 3 == 0:
            length = tag >> 2
            if length >= 60:
                extra = length - 59
                length = int.from_bytes(block[pos:pos + extra], "little")
                pos += extra
            out += block[pos:pos + length + 1]
            pos += length + 1
            continue
        if tag & 3 == 1:
            length, back = 4 + (tag >> 2 & 7), (tag >> 5) << 8 | block[pos]
            pos += 1
        else:
            extra = 2 if tag & 3 == 2 else 4
            length, back = 1 + (tag >> 2), int.from_bytes(block[pos:pos + extra], "little")
            pos += extra
        for _ in range(length):
            out.append(out[-back])
    assert len(out) == size, (len(out), size)
    return bytes(out)


def _xerial(data):
    assert data[:16] == b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1), data[:16]
    pos, out = 16, []
    while pos < len(data):
        size = struct.unpack_from(">i", data, pos)[0]
        out.append(_snappy_block(data[pos + 4:pos + 4 + size]))
        assert len(out[-1]) <= 32768
        pos += 4 + size
    return b"".join(out)


def load_snapshot(path):
    """Everything in a snapshot of a 3.8 or 3.9 server; fails on anything that is not as it must be."""
    data = read(path)
    if path.endswith(".gz"):
        data = gzip.decompress(data)
    elif path.endswith(".snappy"):
        data = _xerial(data)
    r = wire.Reader(data)

    def seal():
        want = zlib.adler32(data[:r.pos])
        assert (r.long(), r.ustr()) == (want, "/"), "bad seal at %d of %s" % (r.pos, path)
    assert r.take(16) == b"ZKSN" + struct.pack(">iq", 2, -1), path
    sessions = {}
    for _ in range(r.int()):
        sid = r.long()
        assert sid not in sessions
        sessions[sid] = r.int()
    acls = {-1: wire.OPEN}
    for _ in range(r.int()):
        number = r.long()
        assert number not in acls and number > 0, number
        acls[number] = r.vec(r.acl)
    nodes = {}
    while True:
        path_of_node = r.ustr()
        if path_of_node == "/":
            break
        znode = Znode(r.buf(), r.long(), *struct.unpack(">qqqqiiiqq", r.take(60)))
        assert path_of_node not in nodes, path_of_node
        assert path_of_node == "" or path_of_node.rpartition("/")[0] in nodes, "no parent: " + path_of_node
        assert znode.acl in acls, "no ACL: " + path_of_node
        nodes[path_of_node] = znode
    seal()
    digest = last_zxid = None
    if len(data) - r.pos >= 33:
        digest = r.long(), r.int(), r.long() & (1 << 64) - 1
        seal()
    if r.pos < len(data):
        last_zxid = r.long()
        seal()
    r.end()
    return Snapshot(zxid_of(os.path.basename(path)), sessions, acls, nodes, digest, last_zxid)


def node_digest(path, n):
    tail = struct.pack(">qqqqqiiiq", n.czxid, n.mzxid, n.pzxid, n.ctime, n.mtime, n.version,
                       n.cversion, n.aversion, n.owner)
    return zlib.crc32(tail, zlib.crc32(n.data or b"", zlib.crc32(path.encode())))


def tree_digest(nodes):
    return sum(node_digest(p, n) for p, n in nodes.items()
               if not p.startswith("/zookeeper/")) & (1 << 64) - 1


# --- the tree through a client ---------------------------------------------------------

Node = collections.namedtuple("Node", "data stat acl")
WINDOW = 100


def _calls(conn, requests):
    """Decoded results, pipelined."""
    out = []
    for i in range(0, len(requests), WINDOW):
        out += conn.results(*requests[i:i + WINDOW])
    for result in out:
        assert not isinstance(result, int), "error %r" % result
    return out


def read_tree(conn, root="/", acl=True):
    """{path: Node} of everything from root on, read level by level."""
    nodes, level = {}, [root]
    while level:
        data = _calls(conn, [wire.get_data(p) for p in level])
        lists = _calls(conn, [wire.get_acl(p) for p in level]) if acl else [(None, None)] * len(level)
        for path, (value, stat), (entries_of, _) in zip(level, data, lists):
            nodes[path] = Node(value, stat, entries_of)
        parents = [p for p in level if nodes[p].stat.numChildren]
        children = _calls(conn, [wire.get_children(p) for p in parents])
        level = []
        for parent, names in zip(parents, children):
            assert len(names) == nodes[parent].stat.numChildren, parent
            level += [parent.rstrip("/") + "/" + n for n in names]
    return nodes


def read_all(addr, password=b"super:super"):
    """The whole tree of a server, as super."""
    conn = wire.Conn(addr)
    try:
        conn.auth("digest", password)
        tree = read_tree(conn)
        conn.end_session()
        return tree
    finally:
        conn.close()


def differences(a, b, limit=20):
    """Text lines that tell two trees apart."""
    lines = []
    for path in sorted(set(a) | set(b)):
        if path not in a or path not in b:
            lines.append("%s only in %s" % (path, "the first" if path in a else "the second"))
        elif a[path] != b[path]:
            fields = [f for f in a[path].stat._fields
                      if getattr(a[path].stat, f) != getattr(b[path].stat, f)]
            lines.append("%s: %s\n   %r\n   %r" % (path, fields, a[path], b[path]))
    return lines[:limit] + ["... %d in all" % len(lines)] * (len(lines) > limit)
