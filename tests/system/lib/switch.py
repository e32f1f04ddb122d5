"""The process behind lib/net.py: machines (network namespaces, with one interface each) and the switch between them.

    switch.py MACHINES

It prints what it has made, or why it cannot, as one line of JSON. Then each line on its standard input changes links, and is
answered with what has happened until then. At the end of its input everything is gone: nothing has a name, and what has none
lives only as long as somebody holds it.

The interfaces end here (they are TUN devices), so that links can be cut in one direction, and delay and lose packets, whatever the
kernel offers for that."""
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
PACKET_MAX = 65536
CONTROL = 0              # standard input
NETWORK = "10.99.0."     # the last part is the machine's number plus 1


def make_machine(number):
    """Moves this process to a new machine; (its namespace, its interface)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace: " + os.strerror(ctypes.get_errno()))
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"wire", IFF_TUN | IFF_NO_PI))
    commands = "link set lo up\naddr add %s%d/24 dev wire\nlink set wire txqueuelen 10000 up\n" % (NETWORK, number + 1)
    done = subprocess.run(["ip", "-batch", "-"], input=commands, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise OSError("ip: " + done.stdout.strip())
    return os.open("/proc/self/ns/net", os.O_RDONLY), tun


class Switch:
    def __init__(self, tuns):
        self.tuns, self.rng = tuns, random.Random(1)
        self.cut, self.delay, self.loss = set(), {}, {}      # by (from, to)
        self.waiting, self.count = [], 0                      # (when, number, link, packet)
        self.said = {"passed": 0, "cut": 0, "lost": 0}

    def arrived(self, source):
        """All that a machine sends."""
        for _ in range(100):                        # then it is the turn of the others
            try:
                packet = os.read(self.tuns[source], PACKET_MAX)
            except BlockingIOError:
                return
            if len(packet) < 20 or packet[0] >> 4 != 4 or packet[16:19] != bytes(map(int, NETWORK.split(".")[:3])):
                continue
            link = source, packet[19] - 1
            if not 0 <= link[1] < len(self.tuns):
                continue
            if self.rng.random() < self.loss.get(link, 0):
                self.said["lost"] += 1
            elif self.delay.get(link):
                self.count += 1
                heapq.heappush(self.waiting, (time.monotonic() + self.delay[link], self.count, link, packet))
            else:
                self.deliver(link, packet)

    def deliver(self, link, packet):
        if link in self.cut:
            self.said["cut"] += 1
            return
        try:
            os.write(self.tuns[link[1]], packet)
            self.said["passed"] += 1
        except OSError:                             # a full queue: as good as lost
            self.said["lost"] += 1

    def deliver_due(self):
        """Returns the seconds until there is more to deliver, or None."""
        while self.waiting:
            left = self.waiting[0][0] - time.monotonic()
            if left > 0:
                return left
            self.deliver(*heapq.heappop(self.waiting)[2:])
        return None

    def change(self, order):
        for link in map(tuple, order["links"]):
            (self.cut.add if order["cut"] else self.cut.discard)(link)
            self.delay[link], self.loss[link] = order["delay"], order["loss"]

    def run(self):
        poll = select.epoll()
        poll.register(CONTROL, select.EPOLLIN)
        by_handle = {}
        for number, tun in enumerate(self.tuns):
            poll.register(tun, select.EPOLLIN)
            by_handle[tun] = number
        orders = b""
        while True:
            left = self.deliver_due()
            for handle, _ in poll.poll(left):
                if handle != CONTROL:
                    self.arrived(by_handle[handle])
                    continue
                data = os.read(CONTROL, 65536)
                if not data:
                    return
                orders += data
                while b"\n" in orders:
                    line, _, orders = orders.partition(b"\n")
                    self.change(json.loads(line))
                    print(json.dumps(self.said), flush=True)


def main():
    try:
        machines = [make_machine(n) for n in range(int(sys.argv[1]))]
    except OSError as e:
        print(json.dumps({"problem": str(e)}), flush=True)
        return
    print(json.dumps({"handles": [namespace for namespace, _ in machines]}), flush=True)
    Switch([tun for _, tun in machines]).run()


if __name__ == "__main__":
    main()
