"""A ZooKeeper client at the level of bytes, written for tests.

It shares no code with the server under test: it has its own encoder for every
request and its own strict decoder for every reply (a reply with bytes left over
is an error).  Three layers:

  encoders   i32, i64, boolean, buf, ustr, vec, acls: the jute types
  requests   create(...), get_data(...), multi(...): return (opcode, body)
  Conn       a socket with a session: send/reply, call, events, close checks

Every request builder is also a method of Conn that sends the request, waits for
the answer and returns the decoded result or raises ZkError.
"""
import collections
import socket
import struct
import time

DEADLINE = 20.0          # seconds any single expected frame may take


# --- constants --------------------------------------------------------------

class Op:
    NOTIFICATION, CREATE, DELETE, EXISTS, GET_DATA, SET_DATA = range(6)
    GET_ACL, SET_ACL, GET_CHILDREN, SYNC = 6, 7, 8, 9
    PING, GET_CHILDREN2, CHECK, MULTI, CREATE2, RECONFIG = range(11, 17)
    CHECK_WATCHES, REMOVE_WATCHES, CREATE_CONTAINER = 17, 18, 19
    DELETE_CONTAINER, CREATE_TTL, MULTI_READ = 20, 21, 22
    AUTH, SET_WATCHES, SASL, GET_EPHEMERALS = 100, 101, 102, 103
    GET_ALL_CHILDREN_NUMBER, SET_WATCHES2, ADD_WATCH, WHO_AM_I = 104, 105, 106, 107
    CREATE_SESSION, CLOSE_SESSION, ERROR = -10, -11, -1


class Err:
    OK, RUNTIME_INCONSISTENCY, MARSHALLING, UNIMPLEMENTED, BAD_ARGUMENTS = 0, -2, -5, -6, -8
    NO_NODE, NO_AUTH, BAD_VERSION = -101, -102, -103
    NO_CHILDREN_FOR_EPHEMERALS, NODE_EXISTS, NOT_EMPTY = -108, -110, -111
    SESSION_EXPIRED, INVALID_ACL, AUTH_FAILED = -112, -114, -115
    NO_WATCHER, RECONFIG_DISABLED, AUTH_REQUIRED, QUOTA_EXCEEDED = -121, -123, -124, -125


class Ev:
    CREATED, DELETED, CHANGED, CHILDREN = 1, 2, 3, 4


READ, WRITE, CREATE, DELETE, ADMIN, ALL = 1, 2, 4, 8, 16, 31
EPHEMERAL, SEQUENTIAL, EPHEMERAL_SEQUENTIAL, CONTAINER, TTL, TTL_SEQUENTIAL = range(1, 7)
OPEN = [(ALL, "world", "anyone")]
PERSISTENT_WATCH, RECURSIVE_WATCH = 0, 1

Stat = collections.namedtuple("Stat", "czxid mzxid ctime mtime version cversion aversion "
                              "ephemeralOwner dataLength numChildren pzxid")
Reply = collections.namedtuple("Reply", "xid zxid err body")
Event = collections.namedtuple("Event", "type path zxid state")
Session = collections.namedtuple("Session", "protocol timeout sid passwd read_only")


class ZkError(Exception):
    def __init__(self, reply):
        super().__init__("error %d (zxid %#x)" % (reply.err, reply.zxid))
        self.code, self.reply = reply.err, reply


class Closed(Exception):
    """The server closed the connection where a frame was expected."""


class Timeout(Exception):
    """Nothing arrived before the deadline."""


# --- jute types -------------------------------------------------------------

def i32(n):
    return struct.pack(">i", n)


def i64(n):
    return struct.pack(">q", n)


def boolean(b):
    return b"\1" if b else b"\0"


def buf(data):
    return i32(-1) if data is None else i32(len(data)) + data


def ustr(s):
    """str, ready-made bytes, or None for a null string."""
    return buf(s.encode() if isinstance(s, str) else s)


def vec(items, encode=ustr):
    return i32(-1) if items is None else i32(len(items)) + b"".join(map(encode, items))


def acls(entries):
    return vec(entries, lambda e: i32(e[0]) + ustr(e[1]) + ustr(e[2]))


class Reader:
    def __init__(self, data):
        self.data, self.pos = data, 0

    def take(self, n):
        if n < 0 or self.pos + n > len(self.data):
            raise AssertionError("record truncated at %d: %s" % (self.pos, self.data.hex()))
        self.pos += n
        return self.data[self.pos - n:self.pos]

    def int(self):
        return struct.unpack(">i", self.take(4))[0]

    def long(self):
        return struct.unpack(">q", self.take(8))[0]

    def bool(self):
        b = self.take(1)[0]
        assert b in (0, 1), b
        return b == 1

    def buf(self):
        n = self.int()
        return None if n == -1 else self.take(n)

    def ustr(self):
        b = self.buf()
        return None if b is None else b.decode("utf-8", "surrogatepass")

    def vec(self, read):
        n = self.int()
        return None if n == -1 else [read() for _ in range(n)]

    def acl(self):
        return (self.int(), self.ustr(), self.ustr())

    def stat(self):
        return Stat(*struct.unpack(">qqqqiiiqiiq", self.take(68)))

    def end(self):
        rest = self.data[self.pos:]
        assert not rest, "bytes left over: " + rest.hex()


# --- requests: each returns (opcode, body) -----------------------------------

def _create(op):
    def build(path, data=b"", acl=OPEN, flags=0):
        return op, ustr(path) + buf(data) + acls(acl) + i32(flags)
    return build


create = _create(Op.CREATE)
create2 = _create(Op.CREATE2)


def create_container(path, data=b"", acl=OPEN, flags=CONTAINER):
    return Op.CREATE_CONTAINER, create(path, data, acl, flags)[1]


def create_ttl(path, ttl, data=b"", acl=OPEN, flags=TTL):
    return Op.CREATE_TTL, create(path, data, acl, flags)[1] + i64(ttl)


def delete(path, version=-1):
    return Op.DELETE, ustr(path) + i32(version)


def delete_container(path):
    return Op.DELETE_CONTAINER, ustr(path)


def _path_and_watch(op):
    def build(path, watch=False):
        return op, ustr(path) + boolean(watch)
    return build


exists = _path_and_watch(Op.EXISTS)
get_data = _path_and_watch(Op.GET_DATA)
get_children = _path_and_watch(Op.GET_CHILDREN)
get_children2 = _path_and_watch(Op.GET_CHILDREN2)


def set_data(path, data, version=-1):
    return Op.SET_DATA, ustr(path) + buf(data) + i32(version)


def get_acl(path):
    return Op.GET_ACL, ustr(path)


def set_acl(path, acl, version=-1):
    return Op.SET_ACL, ustr(path) + acls(acl) + i32(version)


def sync(path):
    return Op.SYNC, ustr(path)


def ping():
    return Op.PING, b""


def check(path, version=-1):
    return Op.CHECK, ustr(path) + i32(version)


def reconfig(joining=None, leaving=None, members=None, config_id=-1):
    return Op.RECONFIG, ustr(joining) + ustr(leaving) + ustr(members) + i64(config_id)


def check_watches(path, kind):
    return Op.CHECK_WATCHES, ustr(path) + i32(kind)


def remove_watches(path, kind):
    return Op.REMOVE_WATCHES, ustr(path) + i32(kind)


def _multi_header(op, done, err):
    return i32(op) + boolean(done) + i32(err)


MULTI_END = _multi_header(-1, True, -1)


def _multi_body(requests):
    return b"".join(_multi_header(op, False, -1) + body for op, body in requests) + MULTI_END


def multi(*requests):
    return Op.MULTI, _multi_body(requests)


def multi_read(*requests):
    return Op.MULTI_READ, _multi_body(requests)


def auth(scheme, data, kind=0):
    return Op.AUTH, i32(kind) + ustr(scheme) + buf(data)


def sasl(token):
    return Op.SASL, buf(token)


def set_watches(zxid, data=(), exist=(), child=()):
    return Op.SET_WATCHES, i64(zxid) + vec(data) + vec(exist) + vec(child)


def set_watches2(zxid, data=(), exist=(), child=(), persistent=(), recursive=()):
    body = set_watches(zxid, data, exist, child)[1]
    return Op.SET_WATCHES2, body + vec(persistent) + vec(recursive)


def get_ephemerals(prefix):
    return Op.GET_EPHEMERALS, ustr(prefix)


def get_all_children_number(path):
    return Op.GET_ALL_CHILDREN_NUMBER, ustr(path)


def add_watch(path, mode):
    return Op.ADD_WATCH, ustr(path) + i32(mode)


def who_am_i():
    return Op.WHO_AM_I, b""


def close_session():
    return Op.CLOSE_SESSION, b""


# --- replies ------------------------------------------------------------------

def _nothing(r):
    return None


def _path_stat(r):
    return r.ustr(), r.stat()


def _data_stat(r):
    return r.buf(), r.stat()


def _names(r):
    return r.vec(r.ustr)


_MULTI_RESULTS = {
    Op.CREATE: Reader.ustr, Op.CREATE2: _path_stat, Op.DELETE: _nothing, Op.CHECK: _nothing,
    Op.SET_DATA: Reader.stat, Op.GET_DATA: _data_stat, Op.GET_CHILDREN: _names,
}


def _multi_results(r):
    """List of (type, result); a failed operation is (-1, code)."""
    results = []
    while True:
        kind, done, err = r.int(), r.bool(), r.int()
        if done:
            assert (kind, err) == (-1, -1), (kind, err)
            return results
        if kind == -1:
            code = r.int()
            assert code == err, (code, err)
            results.append((-1, code))
        else:
            assert err == 0, err
            results.append((kind, _MULTI_RESULTS[kind](r)))


def _add_watch_result(r):
    code = r.int()
    assert code == 0, code


_RESULTS = {
    Op.CREATE: Reader.ustr, Op.CREATE2: _path_stat, Op.CREATE_CONTAINER: _path_stat,
    Op.CREATE_TTL: _path_stat, Op.EXISTS: Reader.stat, Op.GET_DATA: _data_stat,
    Op.SET_DATA: Reader.stat, Op.SET_ACL: Reader.stat, Op.RECONFIG: _data_stat,
    Op.GET_ACL: lambda r: (r.vec(r.acl), r.stat()), Op.SYNC: Reader.ustr,
    Op.GET_CHILDREN: _names, Op.GET_CHILDREN2: lambda r: (_names(r), r.stat()),
    Op.GET_EPHEMERALS: _names, Op.GET_ALL_CHILDREN_NUMBER: Reader.int,
    Op.MULTI: _multi_results, Op.MULTI_READ: _multi_results, Op.SASL: Reader.buf,
    Op.ADD_WATCH: _add_watch_result, Op.WHO_AM_I: lambda r: r.vec(lambda: (r.ustr(), r.ustr())),
}


def decode(op, reply):
    """Decoded result of a reply; raises ZkError if it carries an error."""
    if reply.err:
        raise ZkError(reply)
    reader = Reader(reply.body)
    result = _RESULTS.get(op, _nothing)(reader)
    reader.end()
    return result


# --- session passwords ----------------------------------------------------------

def session_password(sid):
    """The 16 password bytes every server derives from a session id."""
    mask, out = (1 << 48) - 1, b""
    s = (sid ^ 0xB3415C00 ^ 0x5DEECE66D) & mask
    for _ in range(4):
        s = (s * 0x5DEECE66D + 0xB) & mask
        out += struct.pack("<I", (s >> 16) & 0xFFFFFFFF)
    return out


# --- connections ------------------------------------------------------------------

def connect_request(timeout=30000, sid=0, passwd=bytes(16), last_zxid=0, protocol=0,
                    read_only=False):
    """Payload of a ConnectRequest; read_only=None leaves the last byte out."""
    body = i32(protocol) + i64(last_zxid) + i32(timeout) + i64(sid) + buf(passwd)
    return body if read_only is None else body + boolean(read_only)


class Raw:
    """A socket that sends bytes and frames and receives frames."""

    def __init__(self, addr, source=None):
        """source: address to connect from, e.g. 127.0.0.2"""
        try:
            self.sock = socket.create_connection(addr, DEADLINE, (source, 0) if source else None)
        except (ConnectionResetError, BrokenPipeError):
            raise Closed("closed at once") from None
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = b""

    def close(self):
        self.sock.close()

    def send_bytes(self, data, piece=None):
        """Send data, optionally cut into pieces of the given size.  If the server has closed,
        it is the next receive that tells."""
        self.sock.settimeout(DEADLINE)              # not what the last receive left of its time
        try:
            for i in range(0, len(data), piece or len(data)):
                self.sock.sendall(data[i:i + (piece or len(data))])
        except ConnectionError:
            pass

    def send_frame(self, payload, piece=None):
        self.send_bytes(i32(len(payload)) + payload, piece)

    def _fill(self, size, deadline):
        while len(self.pending) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Timeout("no frame in time")
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except socket.timeout:
                raise Timeout("no frame in time") from None
            except ConnectionError:
                data = b""
            if not data:
                raise Closed("connection closed by the server")
            self.pending += data

    def frame(self, timeout=DEADLINE):
        """Payload of the next frame."""
        deadline = time.monotonic() + timeout
        self._fill(4, deadline)
        size = struct.unpack(">i", self.pending[:4])[0]
        assert 0 <= size < 64 << 20, "bad frame length %d" % size
        self._fill(4 + size, deadline)
        payload, self.pending = self.pending[4:4 + size], self.pending[4 + size:]
        return payload

    def expect_close(self, timeout=DEADLINE):
        """Fails unless the server closes without sending anything more."""
        try:
            frame = self.frame(timeout)
        except Closed:
            assert not self.pending, "half a frame before the close: " + self.pending.hex()
            return
        except Timeout:
            raise AssertionError("connection was not closed") from None
        raise AssertionError("a frame instead of a close: " + frame.hex())

    def is_open(self):
        """False if the server has closed (looks only at what is here now)."""
        self.sock.settimeout(0)
        try:
            data = self.sock.recv(65536)
        except (BlockingIOError, socket.timeout):
            return True
        except ConnectionError:
            return False
        self.pending += data
        return bool(data)

    def rest(self, timeout=DEADLINE):
        """Everything the server sends until it closes."""
        deadline = time.monotonic() + timeout
        try:
            while True:
                self._fill(len(self.pending) + 1, deadline)
        except Closed:
            data, self.pending = self.pending, b""
            return data

    def handshake(self, **kw):
        """Send a ConnectRequest and return the Session of the answer."""
        self.send_frame(connect_request(**kw))
        return self.connect_response()

    def connect_response(self):
        r = Reader(self.frame())
        session = (r.int(), r.int(), r.long(), r.buf())
        read_only = r.bool() if r.pos < len(r.data) else None
        r.end()
        return Session(*session, read_only)


class Conn(Raw):
    """A connection with a session.  Notifications are collected in .events; .trace holds
    replies and notifications in the order of arrival."""

    def __init__(self, addr, source=None, **kw):
        super().__init__(addr, source)
        self.xid, self.events, self.trace, self.last = 0, [], [], None
        try:
            self.session = self.handshake(**kw)
        except BaseException:
            self.close()
            raise
        self.sid, self.passwd = self.session.sid, self.session.passwd

    def send(self, request, xid=None):
        """Send without waiting; returns the xid."""
        op, body = request
        if xid is None and op == Op.PING:
            xid = -2
        elif xid is None:
            self.xid += 1
            xid = self.xid
        self.send_frame(i32(xid) + i32(op) + body)
        return xid

    def _receive(self, timeout):
        r = Reader(self.frame(timeout))
        xid, zxid, err = r.int(), r.long(), r.int()
        if xid != -1:
            reply = Reply(xid, zxid, err, r.data[r.pos:])
            self.trace.append(reply)
            return reply
        assert err == 0, err
        kind, state, path = r.int(), r.int(), r.ustr()
        r.end()
        event = Event(kind, path, zxid, state)
        self.events.append(event)
        self.trace.append(event)
        return None

    def reply(self, timeout=DEADLINE):
        """Next reply; notifications in front of it go to .events."""
        deadline = time.monotonic() + timeout
        while True:
            reply = self._receive(max(0, deadline - time.monotonic()))
            if reply:
                self.last = reply
                return reply

    def request(self, request):
        """Send and return the raw Reply."""
        xid = self.send(request)
        reply = self.reply()
        assert reply.xid == xid, "reply to xid %d instead of %d" % (reply.xid, xid)
        return reply

    def call(self, request):
        """Send and return the decoded result, or raise ZkError."""
        return decode(request[0], self.request(request))

    def results(self, *requests):
        """Pipeline the requests; the list of results, or ZkError codes."""
        xids, out = [self.send(r) for r in requests], []
        for xid, request in zip(xids, requests):
            reply = self.reply()
            assert reply.xid == xid, "reply to xid %d instead of %d" % (reply.xid, xid)
            out.append(reply.err or decode(request[0], reply))
        return out

    def event(self, timeout=DEADLINE):
        """Next notification (oldest first)."""
        deadline = time.monotonic() + timeout
        while not self.events:
            reply = self._receive(max(0, deadline - time.monotonic()))
            assert reply is None, "reply instead of a notification: %r" % (reply,)
        return self.events.pop(0)

    def seen(self):
        """All (type, path) notified until now.  The ping works as a fence: whatever was fired
        before it was sent arrives before its reply."""
        self.request(ping())
        events, self.events = self.events, []
        return [(e.type, e.path) for e in events]

    def end_session(self):
        self.close_session()
        self.expect_close()
        self.close()


def _method(build):
    def method(self, *args, **kw):
        return self.call(build(*args, **kw))
    return method


for _name in """create create2 create_container create_ttl delete delete_container exists get_data
        get_children get_children2 set_data get_acl set_acl sync ping reconfig check_watches
        remove_watches multi multi_read auth sasl set_watches set_watches2 get_ephemerals
        get_all_children_number add_watch who_am_i close_session""".split():
    setattr(Conn, _name, _method(globals()[_name]))
