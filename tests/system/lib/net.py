"""Machines of their own for the members of an ensemble, and a network between them that can be cut, slow and lossy.

    net = Net(3)                          machines 1 to 3, and machine 0 for the clients
    net.enter()                           this thread, and all that it starts from now on, is on machine 0
    server.prefix = net.prefix(2)         a server on machine 2
    net.cut([2], [1, 3])                  nothing gets from 2 to the others; the other direction lives
    net.heal()

Nothing of it has a name in the system: it ends with the process that made it, whichever way that ends."""
import ctypes
import json
import os
import subprocess
import unittest

from lib.server import _die_with_parent
from lib.switch import NETWORK

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "switch.py")


class Net:
    def __init__(self, machines):
        """Raises SkipTest where namespaces cannot be made."""
        self.numbers = range(machines + 1)
        self.switch = subprocess.Popen(["/usr/bin/python3", SOURCE, str(machines + 1)], text=True, stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=_die_with_parent)
        answer = json.loads(self.switch.stdout.readline() or "{}")
        self.handles = answer.get("handles")
        self.home = None
        if not self.handles:
            said = self.switch.communicate()[1].strip()
            raise unittest.SkipTest("no network of our own: %s" % (answer.get("problem") or said))

    def _namespace(self, number):
        return "/proc/%d/fd/%d" % (self.switch.pid, self.handles[number])

    @staticmethod
    def address(number):
        return "%s%d" % (NETWORK, number + 1)

    def prefix(self, number):
        return ["nsenter", "--net=" + self._namespace(number)]

    def enter(self):
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self._move(self._namespace(0))

    def _move(self, path):
        handle = os.open(path, os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).setns(handle, 0) != 0:
            raise OSError(ctypes.get_errno(), "setns " + path)
        os.close(handle)

    def close(self):
        if self.home is not None:
            self._move("/proc/self/fd/%d" % self.home)
            os.close(self.home)
            self.home = None
        self.switch.kill()
        self.switch.communicate()

    def _order(self, sources, targets, cut=False, delay=0, loss=0):
        """Takes effect before it returns; gives the numbers of packets passed, cut and lost so far."""
        links = [(a, b) for a in sources for b in targets if a != b]
        self.switch.stdin.write(json.dumps({"links": links, "cut": cut, "delay": delay, "loss": loss}) + "\n")
        self.switch.stdin.flush()
        return json.loads(self.switch.stdout.readline())

    def cut(self, sources, targets):
        return self._order(sources, targets, cut=True)

    def split(self, some, others):
        self.cut(some, others)
        return self.cut(others, some)

    def weaken(self, delay=0, loss=0):
        """All links: delay in seconds, one way; loss as a share of the packets."""
        return self._order(self.numbers, self.numbers, delay=delay, loss=loss)

    def heal(self):
        return self.weaken()
