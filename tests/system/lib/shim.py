"""The preload library tests/system/shim/syncshim.c: builds it, reads its traces, and knows what a power
loss would leave.

    prefix(root, ...)   what to put before the server's command
    read_trace(path)    the events
    Disk                the files below the root, with what is synced and what is not
    Checker             is every reply covered by a sync?
"""
import atexit
import collections
import os
import re
import shutil
import struct
import subprocess
import tempfile

from lib import store

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.normpath(os.path.join(HERE, "../shim/syncshim.c"))
KINDS = """open close write truncate allocate rename unlink mkdir fdatasync fsync dirsync synced send
    sent""".split()
Event = collections.namedtuple("Event", "kind fd result flags a b p1 p2")
SECTOR = 512

# Functions that the shim stands in for, and others that change files, which the server must not call
# behind its back.  (The server's own log and pid file go through stdio and are not data.)
COVERED = set("""open open64 openat openat64 close closedir write writev pwrite pwrite64 pwritev pwritev64
    ftruncate ftruncate64 posix_fallocate posix_fallocate64 fallocate rename renameat unlink unlinkat mkdir
    fdatasync fsync send sendto sendmsg""".split())
OTHERS = set("""creat creat64 pwritev2 pwritev64v2 copy_file_range sendfile sendfile64 splice tee vmsplice
    truncate truncate64 renameat2 link linkat symlink symlinkat remove mkdirat rmdir mknod mknodat mmap
    mmap64 msync sync syncfs sync_file_range syscall sendmmsg aio_write aio_fsync io_submit io_uring_enter
    lio_listio dprintf vdprintf tmpfile mkstemp fdopen freopen open_memstream""".split())

_library = None


def library():
    """The path of the built library; AssertionError if there is no compiler."""
    global _library
    if _library is None:
        directory = tempfile.mkdtemp(prefix="zabra-shim-")
        atexit.register(shutil.rmtree, directory, True)
        target = os.path.join(directory, "syncshim.so")
        subprocess.run(["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", target, SOURCE, "-ldl"],
                       check=True)
        _library = target
    return _library


def imports(program):
    """Names of the functions that a program takes from shared libraries."""
    out = subprocess.run(["nm", "-D", "--undefined-only", program], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    return set(re.findall(r" [Uw] ([A-Za-z0-9_]+)", out))


def prefix(root, trace=None, fault=None, skip=(), stall=None, hold=None):
    """fault: (kind, n, what) or (kind, n, what, "forever"); stall: a file while which exists nothing is synced;
    hold: one while which exists a connection is closed only after its client has sent something more"""
    env = {"LD_PRELOAD": library(), "SHIM_ROOT": root, "ASAN_OPTIONS": "verify_asan_link_order=0"}
    if trace:
        env["SHIM_TRACE"] = trace
    if fault:
        env["SHIM_FAULT"] = ":".join(map(str, fault))
    if skip:
        env["SHIM_SKIP"] = ",".join(skip)
    if stall:
        env["SHIM_STALL"] = stall
    if hold:
        env["SHIM_HOLD"] = hold
    return ["env"] + ["%s=%s" % item for item in env.items()]


def _records(data):
    """(event, where it ends); a killed server may leave a part of the last one, which is not among them."""
    at, head = 0, struct.Struct("=IiiIqqII")
    while at + head.size <= len(data):
        kind, fd, result, flags, a, b, n1, n2 = head.unpack_from(data, at)
        at += head.size
        if at + n1 + n2 > len(data):
            return
        yield Event(KINDS[kind], fd, result, flags, a, b, data[at:at + n1], data[at + n1:at + n1 + n2]), at + n1 + n2
        at += n1 + n2


def read_trace(path):
    return [event for event, _ in _records(store.read(path))]


def end_trace(path):
    """After a kill, so that the records of the next server follow whole ones. Returns their number."""
    ends = [end for _, end in _records(store.read(path))]
    os.truncate(path, ends[-1] if ends else 0)
    return len(ends)


# --- what is on the disk -----------------------------------------------------------------

class Inode:
    """A file: what the system shows, what is safe, and the changes in between."""

    def __init__(self, content=b""):
        self.content, self.durable, self.pending = bytearray(content), bytearray(content), []
        self.broken = False                         # a sync has failed

    def change(self, index, op):
        _do(self.content, op)
        self.pending.append((index, op))

    def synced(self, begin):
        """A sync that began at this event has returned."""
        for index, op in self.pending:
            if index < begin:
                _do(self.durable, op)
        self.pending = [p for p in self.pending if p[0] >= begin]

    def sync_failed(self, begin):
        """The kernel may have dropped all that should have been written: no later sync brings it back."""
        self.pending = [p for p in self.pending if p[0] >= begin]
        self.broken = True

    def after_loss(self, rng):
        """Any part of what is not synced may be there, sector by sector."""
        content = bytearray(self.durable)
        for _, op in self.pending:
            if op[0] != "write":
                if rng.random() < 0.5:
                    _do(content, op)
                continue
            _, offset, data = op
            at = 0
            while at < len(data):
                size = min(SECTOR - (offset + at) % SECTOR, len(data) - at)
                if rng.random() < 0.5:
                    _do(content, ("write", offset + at, data[at:at + size]))
                at += size
        return content


def _do(content, op):
    kind, offset, value = op
    if kind == "truncate":
        del content[offset:]
        content.extend(bytes(offset - len(content)))
        return
    end = offset + (value if kind == "allocate" else len(value))
    content.extend(bytes(max(0, end - len(content))))
    if kind == "write":
        content[offset:end] = value


def _do_name(names, op):
    if op[0] == "link":
        names[op[1]] = op[2]
    elif op[0] == "unlink":
        names.pop(op[1], None)
    else:
        names[op[2]] = names.pop(op[1], None)


class Disk:
    """Fed with the events of a trace, one after the other."""

    def __init__(self, root):
        self.root = os.path.realpath(root)
        self.names, self.durable_names, self.pending_names = {}, {}, []
        self.dirs, self.durable_dirs = {self.root}, {self.root}
        self.fds, self.syncs = {}, {}

    def _change_name(self, index, *op):
        _do_name(self.names, op)
        self.pending_names.append((index, op))

    def _sync_dir(self, path, begin):
        """Renames happen within a directory."""
        left = []
        for index, op in self.pending_names:
            if index < begin and os.path.dirname(op[1]) == path:
                _do_name(self.durable_names, op)
            else:
                left.append((index, op))
        self.pending_names = left
        self.durable_dirs.update(d for d in self.dirs if os.path.dirname(d) == path)

    def restarted(self, index, directory):
        """Another process goes on.  directory: what the one before left, which may be more than it
        could record: the call during which it was killed."""
        self.fds, self.syncs = {}, {}
        home = os.path.join(self.root, "version-2")
        found = sorted(os.listdir(directory))
        gone = [path for path in self.names if os.path.dirname(path) == home and os.path.basename(path) not in found]
        for name in found:
            path = os.path.join(home, name)
            content = store.read(os.path.join(directory, name))
            if path not in self.names:
                renamed = [old for old in gone if self.names[old].content == content]
                if renamed:
                    gone.remove(renamed[0])
                    self._change_name(index, "rename", renamed[0], path)
                else:
                    self._change_name(index, "link", path, Inode())
            inode = self.names[path]
            if len(inode.content) != len(content):
                inode.change(index, ("truncate", len(content), 0))
            differ = [i for i, (a, b) in enumerate(zip(inode.content, content)) if a != b]
            if differ:
                inode.change(index, ("write", differ[0], content[differ[0]:differ[-1] + 1]))
        for path in gone:
            self._change_name(index, "unlink", path)

    def apply(self, index, e):
        handler = getattr(self, "_on_" + e.kind, None)
        if handler:
            handler(index, e)

    def _on_open(self, index, e):
        if e.result < 0:
            return
        path = os.path.normpath(e.p1.decode())
        if path in self.dirs:
            self.fds[e.fd] = path
            return
        if path not in self.names:
            assert e.flags & os.O_CREAT, path
            self._change_name(index, "link", path, Inode())
        inode = self.fds[e.fd] = self.names[path]
        if e.flags & os.O_TRUNC and inode.content:
            inode.change(index, ("truncate", 0, 0))

    def _on_close(self, index, e):
        self.fds.pop(e.fd, None)

    def _on_write(self, index, e):
        if e.result > 0:
            self.fds[e.fd].change(index, ("write", e.a, e.p1))

    def _on_truncate(self, index, e):
        if e.result == 0:
            self.fds[e.fd].change(index, ("truncate", e.a, 0))

    def _on_allocate(self, index, e):
        if e.result == 0:
            self.fds[e.fd].change(index, ("allocate", e.a, e.b))

    def _on_rename(self, index, e):
        if e.result == 0:
            self._change_name(index, "rename", e.p1.decode(), e.p2.decode())

    def _on_unlink(self, index, e):
        if e.result == 0:
            self._change_name(index, "unlink", e.p1.decode())

    def _on_mkdir(self, index, e):
        if e.result == 0:
            self.dirs.add(os.path.normpath(e.p1.decode()))

    def _begin(self, index, e):
        self.syncs[e.fd] = index

    _on_fdatasync = _on_fsync = _on_dirsync = _begin

    def _on_synced(self, index, e):
        begin, target = self.syncs.pop(e.fd), self.fds[e.fd]
        if isinstance(target, Inode):
            target.synced(begin) if e.result == 0 else target.sync_failed(begin)
        elif e.result == 0:
            self._sync_dir(target, begin)

    def write_image(self, target, rng=None):
        """Writes what a power loss now would leave, below target.  Without rng nothing that is not
        synced survives; with it, any part does."""
        names = dict(self.durable_names)
        if rng:
            for _, op in self.pending_names[:rng.randrange(len(self.pending_names) + 1)]:
                _do_name(names, op)
        os.makedirs(target)
        for path in sorted(self.durable_dirs):
            os.makedirs(os.path.join(target, os.path.relpath(path, self.root)), exist_ok=True)
        for path, inode in names.items():
            if inode is None or os.path.dirname(path) not in self.durable_dirs:
                continue
            content = inode.after_loss(rng) if rng else inode.durable
            with open(os.path.join(target, os.path.relpath(path, self.root)), "wb") as f:
                f.write(content)


# --- what may be sent ----------------------------------------------------------------------

Violation = collections.namedtuple("Violation", "event what zxid durable")
TWO_BATCHES = "a batch before the sync of the one before"


class Checker:
    """Replays a trace and notes every reply, and every name given to a file, that came before what it
    relies on was safe."""

    def __init__(self, root):
        self.disk = Disk(root)
        self.zxid, self.sessions = 0, set()         # what is safe
        self.read = collections.defaultdict(lambda: [16, 0, 0])      # of an inode: offset, first, last zxid
        self.streams = {}                           # of a socket: unparsed bytes; None: not a client
        self.sending = {}
        self.violations = []
        self.answered = []                          # (event, zxid): the largest zxid that has left
        self.replies = self.batches = 0
        self.started = -1

    def run(self, events):
        for index, event in enumerate(events):
            self.step(index, event)
        return self

    def step(self, index, e):
        if e.kind == "write":
            self._before_write(index, e)
        elif e.kind == "rename":
            self._before_rename(index, e)
        self.disk.apply(index, e)
        if e.kind == "synced" and e.result == 0:
            self._look()
        elif e.kind == "send":
            self.sending[e.fd] = (index, self.zxid, set(self.sessions), e.p1)
        elif e.kind == "sent":
            sent = self.sending.pop(e.fd)
            if e.result > 0:
                self._sent(e.fd, *sent[:3], sent[3][:e.result])
        elif e.kind == "close":
            self.streams.pop(e.fd, None)

    def restarted(self, index, directory):
        self.disk.restarted(index, directory)
        self.started = index
        self.streams, self.sending = {}, {}

    def _logs(self):
        return [(path, inode) for path, inode in self.disk.durable_names.items()
                if inode and os.path.basename(path).startswith("log.")
                and os.path.dirname(path) in self.disk.durable_dirs]

    def _look(self):
        """Finds entries that have become safe."""
        spans = []
        for path, inode in self._logs():
            state = self.read[inode]
            for entry in store.entries(inode.durable, state[0]):
                state[0] = entry.end
                state[1] = state[1] or entry.zxid
                state[2] = entry.zxid
                if entry.type == store.CREATE_SESSION:
                    self.sessions.add(entry.session)
            spans.append((state[1], state[2]))
        for first, last in sorted(spans):
            if first and first <= self.zxid + 1:
                self.zxid = max(self.zxid, last)

    def _note(self, index, what, zxid, durable):
        if zxid > durable:
            self.violations.append(Violation(index, what, zxid, durable))

    def _before_write(self, index, e):
        """Batch N+1 only after the sync of batch N."""
        inode = self.disk.fds.get(e.fd)
        if e.result <= 0 or e.a < 16 or inode not in [i for _, i in self._logs()]:
            return
        self.batches += 1
        if any(i > self.started and op[0] == "write" and op[1] >= 16 for i, op in inode.pending):
            self.violations.append(Violation(index, TWO_BATCHES, 0, 0))

    def _before_rename(self, index, e):
        """A name is given to what is complete and safe, and a snapshot only behind its log."""
        name = os.path.basename(e.p2.decode())
        if e.result != 0 or not name.startswith(("log.", "snapshot.")):
            return
        inode = self.disk.names[e.p1.decode()]
        if inode.pending or inode.broken:
            self.violations.append(Violation(index, "rename to %s before its sync" % name, 0, 0))
        if name.startswith("snapshot."):
            self._note(index, "rename to " + name, store.zxid_of(name), self.zxid)

    def _sent(self, fd, index, zxid, sessions, data):
        first = fd not in self.streams
        stream = self.streams.get(fd, b"")
        if stream is None:
            return
        stream += data
        if first and struct.unpack_from(">i", stream.ljust(4, b"\xff"))[0] not in (36, 37):
            self.streams[fd] = None                 # the answer to a four-letter word
            return
        while len(stream) >= 4:
            size = struct.unpack_from(">i", stream)[0]
            if len(stream) < 4 + size:
                break
            frame, stream = stream[4:4 + size], stream[4 + size:]
            if first:
                sid = struct.unpack_from(">q", frame, 8)[0]
                if sid and sid not in sessions:
                    self.violations.append(Violation(index, "session %#x" % sid, 0, 0))
                first = False
                continue
            reply = struct.unpack_from(">q", frame, 4)[0]
            self.replies += 1
            self._note(index, "reply", reply, zxid)
            self.answered.append((index, reply))
        self.streams[fd] = stream
