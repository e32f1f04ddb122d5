"""Small filesystems that can be filled, grown and freed: a tmpfs in a mount namespace of its own, which ends with the process that
holds it."""
import os
import signal
import subprocess

MB = 1 << 20
RESERVE = "version-2", "zabra.ballast"


def size_of(path):
    """Of a file that a server may remove at any time: 0 if it has."""
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


class Space:
    """A mount namespace with a tmpfs at this directory."""

    def __init__(self, directory, size):
        os.makedirs(directory)
        script = 'mount -t tmpfs -o size=%d tmpfs "$1" && echo ready && exec cat' % size
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private"] + ["--map-root-user"] * (os.getuid() != 0)
            + ["sh", "-c", script, "sh", directory],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.mounted = self.process.stdout.readline() == b"ready\n"
        self.prefix = ["nsenter", "--target=%d" % self.process.pid, "--mount"]
        if os.getuid() != 0:
            self.prefix.insert(2, "--user")
        self.prefix.append("--wd=/")
        self.directory = directory

    def path(self, *names):
        """How a file in there is seen from outside."""
        return os.path.join("/proc/%d/root" % self.process.pid, self.directory.lstrip("/"), *names)

    def free(self):
        fs = os.statvfs(self.path())
        return fs.f_bavail * fs.f_frsize

    def take(self, leave=0):
        """A file that takes all space but so many bytes, while no server runs."""
        with open(self.path("filler"), "ab") as f:
            if self.free() > leave:
                os.posix_fallocate(f.fileno(), os.fstat(f.fileno()).st_size, self.free() - leave)

    def fill(self, server, leave=0):
        """The same under a server, which stands still meanwhile: what it gives up then must be its own."""
        server.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, server.process.pid, os.WSTOPPED)
        self.take(leave)
        server.process.send_signal(signal.SIGCONT)

    def reserve(self):
        """How many bytes the server keeps back for bad times."""
        return size_of(self.path(*RESERVE))

    def drop_reserve(self):
        """While no server runs; the last one may have used it up."""
        if self.reserve():
            os.unlink(self.path(*RESERVE))

    def resize(self, size):
        subprocess.check_call(self.prefix + ["mount", "-o", "remount,size=%d" % size, self.directory])

    def release(self):
        os.unlink(self.path("filler"))

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
