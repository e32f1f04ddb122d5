"""Writers that know what they wrote.

Each Writer has a subtree of its own and a model of it, so that every reply can be checked and, after a
crash, the tree on the server must be the model after some number of the operations sent: at least all
acknowledged ones, and each applied whole or not at all (S13, S14).
"""
import collections
import random
import threading
import time

from lib import store, wire
from lib.wire import EPHEMERAL, EPHEMERAL_SEQUENTIAL, SEQUENTIAL, Err

# owner: session id or 0; made: children created so far; kids: children there are
Made = collections.namedtuple("Made", "data version aversion owner made kids")
Done = collections.namedtuple("Done", "zxid op sid")
READ_ONLY = [(wire.READ, "world", "anyone"), (wire.ALL, "digest", "a:b")]


class Model:
    """The nodes of one subtree.  Operations are tuples:
    ("create", path, data, flags), ("set", path, data, version), ("delete", path, version),
    ("check", path, version), ("acl", path, acl), ("multi", (operation, ...)), ("close",)"""

    def __init__(self, nodes=None):
        self.nodes = {} if nodes is None else nodes

    def copy(self):
        return Model(dict(self.nodes))

    def _adjust(self, path, made, kids):
        parent = self.nodes.get(path.rpartition("/")[0])
        if parent is not None:
            self.nodes[path.rpartition("/")[0]] = parent._replace(
                made=parent.made + made, kids=parent.kids + kids)

    def _create(self, sid, path, data, flags):
        parent_path = path.rpartition("/")[0]
        parent = self.nodes.get(parent_path)
        if parent is None and parent_path.count("/") > 0:
            return Err.NO_NODE, None
        if flags & SEQUENTIAL:
            path += "%010d" % parent.made
        if path in self.nodes:
            return Err.NODE_EXISTS, None
        if parent is not None and parent.owner:
            return Err.NO_CHILDREN_FOR_EPHEMERALS, None
        self.nodes[path] = Made(data, 0, 0, sid if flags & EPHEMERAL else 0, 0, 0)
        self._adjust(path, 1, 1)
        return 0, path

    def _at(self, path, version):
        node = self.nodes.get(path)
        if node is None:
            return Err.NO_NODE, None
        return (Err.BAD_VERSION if version not in (-1, node.version) else 0), node

    def _set(self, sid, path, data, version):
        err, node = self._at(path, version)
        if not err:
            self.nodes[path] = node._replace(data=data, version=node.version + 1)
        return err, None

    def _acl(self, sid, path, acl):
        err, node = self._at(path, -1)
        if not err:
            self.nodes[path] = node._replace(aversion=node.aversion + 1)
        return err, None

    def _check(self, sid, path, version):
        return self._at(path, version)[0], None

    def _delete(self, sid, path, version):
        err, node = self._at(path, version)
        if not err and node.kids:
            err = Err.NOT_EMPTY
        if not err:
            del self.nodes[path]
            self._adjust(path, 0, -1)
        return err, None

    def _multi(self, sid, ops):
        trial = self.copy()
        for i, op in enumerate(ops):
            err = trial.apply(op, sid)[0]
            if err:
                return 0, [0] * i + [err] + [Err.RUNTIME_INCONSISTENCY] * (len(ops) - i - 1)
        self.nodes = trial.nodes
        return 0, [0] * len(ops)

    def _close(self, sid):
        for path in [p for p, n in self.nodes.items() if n.owner == sid]:
            del self.nodes[path]
            self._adjust(path, 0, -1)
        return 0, None

    def apply(self, op, sid):
        """(error, result) that the server must answer."""
        return getattr(self, "_" + op[0])(sid, *op[1:])

    def differences(self, tree):
        """What tells it from {path: store.Node}."""
        lines = []
        for path in sorted(set(self.nodes) | set(tree)):
            if path not in tree or path not in self.nodes:
                lines.append("%s is %s" % (path, "missing" if path in self.nodes else "too much"))
                continue
            want, stat = self.nodes[path], tree[path].stat
            have = (tree[path].data, stat.version, stat.aversion, stat.ephemeralOwner, stat.numChildren,
                    stat.cversion)
            must = (want.data, want.version, want.aversion, want.owner, want.kids,
                    2 * want.made - want.kids)
            if have != must:
                lines.append("%s is %r and not %r" % (path, have, must))
        return lines


_BUILD = {
    "create": lambda path, data, flags: wire.create(path, data, flags=flags),
    "set": wire.set_data, "delete": wire.delete, "check": wire.check, "acl": wire.set_acl,
    "close": wire.close_session, "multi": lambda ops: wire.multi(*map(request, ops)),
}


def request(op):
    return _BUILD[op[0]](*op[1:])


class Choice:
    """Draws the next operation so that most succeed, given the model after all before it."""

    def __init__(self, root, seed, most=40, closes=0.004):
        self.root, self.rng, self.most, self.closes = root, random.Random(seed), most, closes
        self.count = 0

    def _data(self):
        self.count += 1
        size = self.rng.choice((0, 10, 10, 100, 100, 100, 1000, 5000))
        return (b"%d " % self.count) + self.rng.randbytes(1) * size

    def _some(self, model):
        return self.rng.choice(list(model.nodes) or [self.root])

    def _free(self):
        return "%s/n%d" % (self.root, self.rng.randrange(self.most))

    def _single(self, model):
        rng, root = self.rng, self.root
        kind = rng.random()
        if len(model.nodes) > self.most and kind < 0.5:
            leaves = [p for p, n in model.nodes.items() if not n.kids and p != root]
            return ("delete", rng.choice(leaves), -1)
        if kind < 0.15:
            return ("create", self._free(), self._data(), 0)
        if kind < 0.25:
            return ("create", "%s/e%d" % (root, rng.randrange(20)), self._data(), EPHEMERAL)
        if kind < 0.33:
            flags = rng.choice((SEQUENTIAL, EPHEMERAL_SEQUENTIAL))
            return ("create", root + "/s", self._data(), flags)
        if kind < 0.40:
            return ("create", self._some(model) + "/c", self._data(), 0)
        if kind < 0.80:
            path = self._some(model)
            version = model.nodes[path].version if path in model.nodes and rng.random() < 0.5 else -1
            return ("set", path, self._data(), version)
        if kind < 0.85:
            return ("delete", self._some(model), -1)
        if kind < 0.90:
            return ("acl", self._some(model), rng.choice((wire.OPEN, wire.OPEN + READ_ONLY)))
        if kind < 0.95:
            return ("set", self._some(model), self._data(), 77777)
        return ("delete", root + "/none", -1)

    def next(self, model):
        if self.root not in model.nodes:
            return ("create", self.root, b"", 0)
        kind = self.rng.random()
        if kind < self.closes:
            return ("close",)
        if kind < 0.2:
            return self._multi(model)
        return self._single(model)

    def _multi(self, model):
        trial, ops = model.copy(), []
        for _ in range(self.rng.randrange(1, 7)):
            op = self._single(trial)
            if op[0] == "acl":                      # not allowed in a multi
                continue
            if trial.copy().apply(op, 1)[0] and self.rng.random() < 0.9:
                continue
            trial.apply(op, 1)
            ops.append(op)
        if self.rng.random() < 0.2:
            ops.append(("check", self._some(model), 99999))
        return ("multi", tuple(ops))


class Writer:
    """One session at a time, several operations in flight.  refused: error codes that the server may
    answer instead of carrying out an operation."""

    def __init__(self, addr, root, seed=0, window=8, timeout=300000, refused=(), **choice):
        self.addr, self.root, self.window, self.timeout = addr, root, window, timeout
        self.refused, self.refusals = refused, 0
        self.choice = Choice(root, seed, **choice)
        self.model = Model()                        # after all that is acknowledged
        self.ahead = Model()                        # after all that is sent
        self.sent = collections.deque()             # not acknowledged
        self.done = []                              # Done, in the order of the replies
        self.acknowledged = 0
        self.zxid = 0                               # the largest seen in a reply
        self.conn = self.sid = self.passwd = None
        self.may_be_closed = False
        self.limit = None                           # stop after so many operations
        self.keep = False                           # fill self.done
        self.patience = 10.0                        # seconds a reply may take
        self.stopping = False
        self.failure = None

    # -- connection --------------------------------------------------------------

    def connect(self):
        """Renews the session, or opens a new one if it has been closed."""
        if self.sid:
            conn = wire.Conn(self.addr, timeout=self.timeout, sid=self.sid, passwd=self.passwd)
            if conn.sid == self.sid:
                self.conn, self.may_be_closed = conn, False
                return
            conn.close()
            assert self.may_be_closed, "%s: session %#x is gone" % (self.root, self.sid)
            left = [p for p, n in self.model.nodes.items() if n.owner == self.sid]
            assert not left, "session %#x is gone, its ephemerals are not: %r" % (self.sid, left)
        self.sid, self.may_be_closed = None, False
        self.conn = wire.Conn(self.addr, timeout=self.timeout)
        self.sid, self.passwd = self.conn.sid, self.conn.passwd

    # -- operations ----------------------------------------------------------------

    def _send(self):
        op = self.choice.next(self.ahead)
        self.ahead.apply(op, self.sid)
        self.sent.append(op)
        self.conn.send(request(op))
        return op

    def _receive(self):
        reply = self.conn.reply(self.patience)
        op = self.sent[0]
        if reply.err in self.refused:
            self.refusals += 1
            self.sent.popleft()
            self._recalculate()
            return op
        err, result = self.model.apply(op, self.sid)
        assert reply.err == err, "%r: error %d instead of %d" % (op, reply.err, err)
        if not err and op[0] == "create":
            got = wire.decode(wire.Op.CREATE, reply)
            assert got == result, "%r: %s instead of %s" % (op, got, result)
        if op[0] == "multi":
            codes = [r[1] if r[0] == -1 else 0 for r in wire.decode(wire.Op.MULTI, reply)]
            assert codes == result, "%r: %r instead of %r" % (op, codes, result)
        self.sent.popleft()
        self.acknowledged += 1
        self.zxid = max(self.zxid, reply.zxid)
        if self.keep:
            self.done.append(Done(reply.zxid, op, self.sid))
        return op

    def _recalculate(self):
        self.ahead = self.model.copy()
        for op in self.sent:
            self.ahead.apply(op, self.sid)

    def _closed(self):
        self.conn.expect_close()
        self.conn.close()
        self.conn = self.sid = None

    def _more(self):
        done = self.acknowledged + self.refusals + len(self.sent)
        return not self.stopping and (self.limit is None or done < self.limit)

    def drive(self):
        """Until it is told to stop, or the connection ends."""
        while self._more() or self.sent:
            if self.conn is None:
                self.connect()
            closing = bool(self.sent) and self.sent[-1] == ("close",)
            while not closing and self._more() and len(self.sent) < self.window:
                closing = self._send() == ("close",)
            if self.sent and self._receive() == ("close",):
                self._closed()

    def body(self):
        try:
            self.drive()
        except (wire.Closed, OSError):
            pass
        except BaseException as e:                  # shown by Load.check
            self.failure = e
        finally:
            if self.conn is not None:
                self.conn.close()
                self.conn = None

    # -- after a crash ---------------------------------------------------------------

    def _outcomes(self):
        """(number of operations, model after them) for all that may have become of the unanswered ones.
        Where the server may refuse, some may be left out."""
        skippable = [i for i, op in enumerate(self.sent) if self.refused and op[0] != "delete"]
        for skipped in range(1 << len(skippable)):
            model, left_out = self.model.copy(), {i for b, i in enumerate(skippable) if skipped >> b & 1}
            for n in range(len(self.sent) + 1):
                if skipped == 0 or n == len(self.sent):
                    yield n - len(left_out), model.copy()
                if n < len(self.sent) and n not in left_out:
                    model.apply(self.sent[n], self.sid)

    def settle(self, conn):
        """Finds out how many of the unacknowledged operations have been carried out.  Fails if the
        tree is at no point of their sequence.  Returns that number."""
        exists = conn.request(wire.exists(self.root)).err == 0
        tree = store.read_tree(conn, self.root, acl=False) if exists else {}
        for n, model in self._outcomes():
            if not model.differences(tree):
                break
        else:
            raise AssertionError(
                "%s after %d acknowledged operations: %d in flight were\n  %s\nthe tree fits no prefix; it "
                "differs from the acknowledged state in\n  %s" % (
                    self.root, self.acknowledged, len(self.sent),
                    "\n  ".join(repr(op)[:200] for op in self.sent),
                    "\n  ".join(self.model.differences(tree)[:20])))
        self.may_be_closed = ("close",) in self.sent
        self.model, self.ahead = model, model.copy()
        self.sent.clear()
        return n


class Load:
    """Several writers, each in a thread."""

    def __init__(self, addr, writers=5, seed=0, prefix="/w", **kw):
        self.writers = [Writer(addr, "%s%d" % (prefix, i), seed * 1000 + i, **kw) for i in range(writers)]
        self.threads = []

    def start(self, limit=None):
        for w in self.writers:
            w.stopping, w.limit = False, limit and w.acknowledged + w.refusals + limit
        self.threads = [threading.Thread(target=w.body, daemon=True) for w in self.writers]
        for t in self.threads:
            t.start()

    def join(self, timeout=50):
        deadline = time.monotonic() + timeout
        for t in self.threads:
            t.join(max(0, deadline - time.monotonic()))
            assert not t.is_alive(), "a writer does not end"
        self.check()

    def stop(self):
        """Every writer waits for its last replies."""
        for w in self.writers:
            w.stopping = True
        self.join()

    def check(self):
        for w in self.writers:
            if w.failure:
                raise w.failure

    def run(self, limit):
        """So many operations each, all of them acknowledged."""
        self.start(limit)
        self.join()
        for w in self.writers:
            assert not w.sent, "%s: the connection ended" % w.root

    def acknowledged(self):
        return sum(w.acknowledged for w in self.writers)

    def zxid(self):
        return max(w.zxid for w in self.writers)

    def settle(self, addr):
        """Checks the trees of all writers."""
        conn = wire.Conn(addr)
        try:
            conn.auth("digest", b"super:super")
            number = sum(w.settle(conn) for w in self.writers)
            conn.end_session()
            return number
        finally:
            conn.close()
