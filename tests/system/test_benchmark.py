"""The load tool: each of its tests against a live server, and servers that break off in the middle."""
import json
import os
import socket
import subprocess
import tempfile
import threading
import unittest

from lib import wire
from lib.server import ServerTest, ZabraServer, free_ports

TESTS = """get set mixed create delete multi children watch watch-rearm watch-persistent connect ping""".split()


def binary():
    return os.path.join(os.path.dirname(ZabraServer.binary()), "zabra-benchmark")


def run(addr, *arguments, timeout=50):
    """Returns (exit status, results by test, messages)."""
    done = subprocess.run([binary(), "-s", "%s:%d" % addr, "-q", "--json", *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=timeout, check=False, text=True)
    results = json.loads(done.stdout)["tests"] if done.stdout else []
    return done.returncode, {r["test"]: r for r in results}, done.stderr


class Tests(ServerTest):
    def test_each_one(self):
        status, results, messages = run(self.server.addr, "-t", ",".join(TESTS), "-c", "7", "-n", "210", "-P", "3")
        self.assertEqual((status, messages), (0, ""))
        self.assertEqual(list(results), TESTS)
        for name, result in results.items():
            with self.subTest(name):
                self.assertEqual((result["complete"], result["errors"]), (True, 0))
                self.assertGreaterEqual(result["ops"], 210)
        self.assertEqual(self.connect().get_children("/"), ["zookeeper"])

    def test_large_replies_come_whole(self):
        """More than the tool reads at once."""
        for arguments in (["-t", "get", "-d", "700000", "--keyspace", "2"], ["-t", "children", "--children", "20000"]):
            status, results, messages = run(self.server.addr, "-c", "2", "-n", "20", *arguments)
            self.assertEqual((status, messages), (0, ""))
            self.assertEqual([r["ops"] for r in results.values()], [20])


class EchoServer(unittest.TestCase):
    def each_of_its_tests(self, *options):
        port, tokens = free_ports([0])
        self.addCleanup(tokens[0].close)
        with subprocess.Popen([binary(), "--echo-server", str(port), *options], stderr=subprocess.PIPE) as server:
            try:
                self.assertIn(b"echo server on", server.stderr.readline())
                status, results, messages = run(("127.0.0.1", port), "-t", "echo,echo-set,echo-watch", "-c", "5", "-n", "500")
            finally:
                server.terminate()
            self.assertEqual(server.stderr.read(), b"")
        self.assertEqual((status, messages), (0, ""))
        self.assertEqual([(r["ops"], r["errors"]) for r in results.values()], [(500, 0), (500, 0), (500, 0)])
        self.assertEqual(server.returncode, 0)

    def test_each_of_its_tests(self):
        self.each_of_its_tests()

    def test_the_same_with_a_sync_for_each_set(self):
        with tempfile.TemporaryDirectory(prefix="zabra-test-") as directory:
            self.each_of_its_tests("--echo-sync", directory)
            self.assertEqual(os.listdir(directory), [])

    def test_a_directory_that_is_not_there(self):
        port, tokens = free_ports([0])
        self.addCleanup(tokens[0].close)
        done = subprocess.run([binary(), "--echo-server", str(port), "--echo-sync", "/nowhere"], stderr=subprocess.PIPE,
                              timeout=20, check=False)
        self.assertEqual((done.returncode, done.stderr),
                         (1, b"zabra-benchmark: no file can be made in /nowhere: No such file or directory\n"))


class BrokenServer(unittest.TestCase):
    """The end of the stream is seen at once, also if it comes together with data."""

    def served(self, answer):
        """What the tool says of a server that reads a ConnectRequest, sends answer and closes, in one packet."""
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(40)
        self.addCleanup(listener.close)

        def serve():
            conn, _ = listener.accept()
            conn.settimeout(40)
            conn.recv(1000)
            conn.sendall(answer, socket.MSG_MORE)
            conn.shutdown(socket.SHUT_WR)
            try:
                while conn.recv(1000):
                    pass
            except ConnectionResetError:            # the tool has closed and not read all of it
                pass
            conn.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            status, _, messages = run(listener.getsockname(), "-t", "ping", "-c", "1", "-n", "10", timeout=40)
        finally:
            thread.join(40)
        self.assertEqual(status, 1)
        return messages

    def test_closes_without_an_answer(self):
        self.assertIn("instead of opening a session", self.served(b""))

    def test_closes_within_the_answer(self):
        self.assertIn("instead of opening a session", self.served(wire.i32(37) + bytes(20)))

    def test_closes_behind_the_answer(self):
        answer = wire.i32(0) + wire.i32(30000) + wire.i64(1) + wire.buf(bytes(16)) + wire.boolean(False)
        self.assertIn("closed by the server", self.served(wire.i32(len(answer)) + answer))


if __name__ == "__main__":
    unittest.main()
