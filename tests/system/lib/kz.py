"""Test cases that use kazoo, a client written by others."""
import logging
import queue
import threading

from kazoo.client import KazooClient

from lib.server import ServerTest
from lib.wire import DEADLINE

# What kazoo says about lost connections is part of the tests, not news.
logging.getLogger("kazoo").addHandler(logging.NullHandler())
logging.getLogger("kazoo").propagate = False
# Endless attempts at short intervals, as dictionaries for KazooClient.
RETRY = dict(max_tries=-1, delay=0.02, backoff=1, max_delay=0.1, ignore_expire=True)


class KazooTest(ServerTest):
    def client(self, chroot="", **kw):
        """A started client, stopped at the end of the test."""
        kw.setdefault("timeout", 30.0)              # a connection that is silent for a third of it is given up
        kw.setdefault("connection_retry", dict(RETRY))
        client = KazooClient(hosts="127.0.0.1:%d%s" % (self.server.port, chroot), **kw)
        self.addCleanup(client.close)
        self.addCleanup(client.stop)
        client.start(DEADLINE)
        return client

    def run_in_thread(self, function, *args):
        """Start function(*args); returns a callable that waits for and returns its result."""
        results = queue.Queue()

        def body():
            try:
                results.put((True, function(*args)))
            except BaseException as e:              # shown in the test's own thread
                results.put((False, e))
        threading.Thread(target=body, daemon=True).start()

        def result(timeout=DEADLINE):
            ok, value = results.get(timeout=timeout)
            if not ok:
                raise value
            return value
        return result
