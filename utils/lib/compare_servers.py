"""Starts and stops the servers that utils/compare puts side by side, and runs the load against them.

Every server gets the server CPU, everything else the client CPU. A server is a process of ours: it is ended by its id.
"""
import csv
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time

JAVA_CLASSPATH = "/usr/share/java/zookeeper.jar"
JAVA_MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
START_LIMIT_S = 120
STOP_LIMIT_S = 60
# Java leaves a client that comes in the middle of its start without an answer for ever, so an attempt is given up and
# repeated; twice as patient each time, since the first answer of a cold JVM takes its time, too.
ATTEMPT_S, ATTEMPT_MAX_S = 0.05, 2


class CompareError(Exception):
    """Something that a row needs did not work; the text says what."""


class Setup:
    """What all measurements share: CPUs, programs, a place on the disk under test."""

    def __init__(self, build, scratch, java_options):
        cpus = sorted(os.sched_getaffinity(0))
        self.all_cpus, self.server_cpu, self.client_cpu = set(cpus), cpus[0], cpus[-1]
        self.build, self.scratch, self.java_options = build, scratch, java_options
        self.benchmark = self.find("zabra-benchmark")
        self.zabra = self.find("zabra-server")
        os.sched_setaffinity(0, {self.client_cpu})

    def find(self, name):
        for directory in (self.build, os.path.join(self.build, "src")):
            path = os.path.join(directory, name)
            if os.access(path, os.X_OK):
                return path
        return None

    def missing(self, kind):
        """Why this kind of server cannot be started, or None."""
        if kind == "zabra" and not self.zabra:
            return "no zabra-server in %s" % self.build
        if kind == "java" and not (shutil.which("java") and os.path.exists(JAVA_CLASSPATH)):
            return "Debian's package zookeeper is not installed"
        if kind == "redis" and not (shutil.which("redis-server") and shutil.which("redis-benchmark")):
            return "Debian's packages redis-server and redis-tools are not installed"
        return None

    def new_dir(self):
        return tempfile.mkdtemp(dir=self.scratch)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def first_request(port, limit_s=START_LIMIT_S, alive=lambda: True):
    """Waits until a ZooKeeper server on this port has opened a session and answered a request in it."""
    connect = struct.pack(">iqiq", 0, 0, 10000, 0) + struct.pack(">i", 16) + bytes(16) + b"\0"
    exists = struct.pack(">ii", 1, 3) + struct.pack(">i", 1) + b"/" + b"\0"
    close = struct.pack(">ii", 2, -11)
    frames = b"".join(struct.pack(">i", len(body)) + body for body in (connect, exists, close))
    end = time.monotonic() + limit_s
    patience = ATTEMPT_S
    while time.monotonic() < end and alive():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=patience) as s:
                s.sendall(frames)
                if len(receive(s, 41 + 20)) >= 41 + 20:      # ConnectResponse and the header of the reply to exists
                    return
        except socket.timeout:
            patience = min(2 * patience, ATTEMPT_MAX_S)
        except OSError:
            pass
        time.sleep(0.0005)
    raise CompareError("the server on port %d does not answer" % port)


def receive(s, size):
    """At least size bytes, or what came before the end."""
    data = b""
    while len(data) < size:
        piece = s.recv(4096)
        if not piece:
            break
        data += piece
    return data


def cpu_us(pid):
    """CPU time of all threads of a process, from the scheduler's own count."""
    total = 0
    for task in os.listdir("/proc/%d/task" % pid):
        try:
            with open("/proc/%d/task/%s/schedstat" % (pid, task)) as f:
                total += int(f.read().split()[0])
        except OSError:
            pass                                             # a thread that just ended
    return total / 1000.0


def resident_bytes(pid):
    with open("/proc/%d/status" % pid) as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    raise CompareError("process %d has no resident size" % pid)


class Server:
    """A server process on the server CPU, with a directory of its own on the disk under test."""

    def __init__(self, setup, directory=None):
        self.setup = setup
        self.port = free_port()
        self.dir = directory or setup.new_dir()
        self.process = None
        self.log = None

    def command(self):
        raise NotImplementedError

    def wait(self):
        first_request(self.port, alive=lambda: self.process.poll() is None)

    @property
    def address(self):
        return "127.0.0.1:%d" % self.port

    def start(self, cpus=None):
        """Starts and waits for the first answer; returns the seconds that took."""
        command = self.command()
        self.log = open(os.path.join(self.dir, "output"), "ab")
        # The affinity is inherited: no helper process stands between us and the server's start.
        os.sched_setaffinity(0, cpus or {self.setup.server_cpu})
        begin = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        cwd=self.dir)
        os.sched_setaffinity(0, cpus or {self.setup.client_cpu})
        try:
            self.wait()
        except CompareError as e:
            with open(os.path.join(self.dir, "output"), errors="replace") as f:
                raise CompareError("%s: %s\n%s" % (command[0], e, f.read()[-2000:])) from None
        return time.monotonic() - begin

    def end(self):
        """Ends the process in an orderly way and keeps the directory."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.log:
            self.log.close()

    def stop(self):
        self.end()
        shutil.rmtree(self.dir, ignore_errors=True)

    @property
    def pid(self):
        return self.process.pid

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc):
        self.stop()


class ZooKeeper(Server):
    """Zabra and Java take the same zoo.cfg and the same data directory."""

    def __init__(self, setup, directory=None, options=None):
        super().__init__(setup, directory)
        self.options = options or {}

    def write_config(self):
        config = {"tickTime": 2000, "dataDir": os.path.join(self.dir, "data"), "clientPort": self.port,
                  "clientPortAddress": "127.0.0.1", "maxClientCnxns": 0, "admin.enableServer": "false"}
        config.update(self.options)
        path = os.path.join(self.dir, "zoo.cfg")
        with open(path, "w") as f:
            f.writelines("%s=%s\n" % item for item in config.items())
        return path

    @property
    def data(self):
        return os.path.join(self.dir, "data")


class Zabra(ZooKeeper):
    def command(self):
        return [self.setup.zabra, self.write_config()]


class Java(ZooKeeper):
    def command(self):
        return ["java"] + self.setup.java_options + ["-cp", JAVA_CLASSPATH, JAVA_MAIN, self.write_config()]


class Redis(Server):
    def command(self):
        return ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.dir, "--save", "",
                "--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"]

    def wait(self):
        end = time.monotonic() + START_LIMIT_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as s:
                    s.sendall(b"PING\r\n")
                    if s.recv(100).startswith(b"+PONG"):
                        return
            except OSError:
                pass
            time.sleep(0.01)
        raise CompareError("redis-server does not answer")

    def run(self, test, clients, pipeline, data_bytes, count):
        """One run of redis-benchmark; returns its figures with the server's CPU time per request."""
        command = ["redis-benchmark", "-h", "127.0.0.1", "-p", str(self.port), "-t", test, "-c", str(clients), "-P",
                   str(pipeline), "-d", str(data_bytes), "-n", str(count), "-r", "1000", "--csv"]
        before, begin = cpu_us(self.pid), time.monotonic()
        client = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  text=True)
        output = client.stdout.read()
        client.stdout.close()
        _, status, usage = os.wait4(client.pid, 0)
        client.returncode = os.waitstatus_to_exitcode(status)
        wall, spent = time.monotonic() - begin, cpu_us(self.pid) - before
        if client.returncode != 0:
            raise CompareError("redis-benchmark ended with %d" % client.returncode)
        row = list(csv.DictReader(output.splitlines()))[-1]
        return {"ops_per_second": float(row["rps"]), "cpu_us": spent / count, "mean_ms": float(row["avg_latency_ms"]),
                "p99_ms": float(row["p99_latency_ms"]), "client_busy": (usage.ru_utime + usage.ru_stime) / wall}


class Echo(Server):
    """sync: it writes and syncs each setData, which other servers call durable."""

    def __init__(self, setup, sync=False):
        super().__init__(setup)
        self.sync = sync

    def command(self):
        return [self.setup.benchmark, "--echo-server", str(self.port), "-d", "100"] + \
               (["--echo-sync", self.dir] if self.sync else [])


KINDS = {"zabra": Zabra, "java": Java, "redis": Redis, "echo": Echo}


class Benchmark:
    """One run of zabra-benchmark, on the client CPU."""

    def __init__(self, server, *arguments, watch_pid=True):
        command = [server.setup.benchmark, "-s", server.address, "--json"]
        if watch_pid:
            command += ["--server-pid", str(server.pid)]
        self.process = subprocess.Popen(command + [str(a) for a in arguments], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.ready = threading.Event()
        self.messages = []
        self.output = ""
        self.readers = [threading.Thread(target=self._read_messages), threading.Thread(target=self._read_output)]
        for reader in self.readers:
            reader.start()

    def _read_messages(self):
        for line in self.process.stderr:
            self.messages.append(line)
            if "ready:" in line:
                self.ready.set()
        self.ready.set()

    def _read_output(self):
        self.output = self.process.stdout.read()

    def abandon(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for reader in self.readers:
            reader.join()
        self.process.stdout.close()
        self.process.stderr.close()

    def results(self):
        """Waits for the end; returns the results by test name."""
        try:
            for reader in self.readers:
                reader.join()
            self.process.wait()
        finally:
            self.abandon()
        if self.process.returncode != 0:
            raise CompareError("zabra-benchmark ended with %d: %s" % (self.process.returncode, "".join(self.messages)))
        return {test["test"]: test for test in json.loads(self.output)["tests"]}


def run_benchmark(server, *arguments):
    return Benchmark(server, *arguments).results()


def run_fdatasync(setup, data_bytes, duration_s):
    """What one append with fdatasync costs on the disk under test, on the CPU of the servers: on another one it can cost half,
    where the disk's interrupts go to that one."""
    output = subprocess.run(["taskset", "-c", str(setup.server_cpu), setup.benchmark, "--fdatasync-test", setup.scratch, "-d", str(data_bytes), "--duration",
                             str(duration_s), "--json"], check=True, capture_output=True, text=True).stdout
    return json.loads(output)["tests"][0]
