"""The rows of utils/compare about ensembles: three servers of one kind, which share all CPUs with the load."""
import os
import shutil
import signal
import socket
import statistics
import struct
import threading
import time

from compare_rows import DATA_BYTES, Check, Row, get, ratio
from compare_servers import KINDS, CompareError, free_port, receive, resident_bytes, run_benchmark

MEMBERS = 3


class Ensemble:
    """Members of one kind, under the names that a single server has where one is asked for."""

    def __init__(self, setup, kind):
        self.setup = setup
        ports = [(free_port(), free_port()) for _ in range(MEMBERS)]
        lines = {"server.%d" % (i + 1): "127.0.0.1:%d:%d" % pair for i, pair in enumerate(ports)}
        options = dict(lines, initLimit=10, syncLimit=5, **{"4lw.commands.whitelist": "srvr,mntr"})
        self.servers = [KINDS[kind](setup, None, options) for _ in range(MEMBERS)]
        for number, server in enumerate(self.servers):
            os.makedirs(server.data)
            with open(os.path.join(server.data, "myid"), "w") as f:
                f.write("%d\n" % (number + 1))

    @property
    def address(self):
        return ",".join(server.address for server in self.servers)

    @property
    def pid(self):
        return ",".join(str(server.pid) for server in self.servers)

    def __enter__(self):
        threads = [threading.Thread(target=self.start_one, args=(server,)) for server in self.servers]
        os.sched_setaffinity(0, self.setup.all_cpus)
        self.errors = []
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.errors:
            self.__exit__()
            raise CompareError(self.errors[0])
        return self

    def start_one(self, server):
        try:
            server.start(self.setup.all_cpus)
        except CompareError as e:
            self.errors.append(str(e))

    def __exit__(self, *exc):
        for server in self.servers:
            server.end()
        for server in self.servers:
            shutil.rmtree(server.dir, ignore_errors=True)
        os.sched_setaffinity(0, {self.setup.client_cpu})

    def leader(self):
        for server in self.servers:
            if server.process.poll() is None and b"Mode: leader" in word(server.port, b"srvr"):
                return server
        return None


def word(port, text):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as s:
            s.sendall(text)
            return receive(s, 1 << 20)
    except OSError:
        return b""


class EnsembleThroughput(Row):
    def __init__(self, name, title, required, test, pipeline, java, cpu_max):
        super().__init__(name, title, required)
        self.test, self.pipeline, self.java, self.cpu_max = test, pipeline, java, cpu_max

    def measure(self, context, kind):
        sizes = context.sizes
        with Ensemble(context.setup, kind) as ensemble:
            result = run_benchmark(ensemble, "-t", self.test, "-c", 150, "-P", self.pipeline, "-d", DATA_BYTES, "--duration",
                                   sizes.measure_s, "--warmup", sizes.warm_s[kind] * 2, "--keep")[self.test]
        return {"ops_per_second": result["ops_per_second"], "cpu_us": result["server_cpu_us_per_op"],
                "mean_ms": result["latency"]["mean_ms"], "p99_ms": result["latency"]["p99_ms"],
                "client_busy": result["client_busy"]}

    def checks(self, figures, sizes):
        rate = ratio(get(figures, "zabra", "ops_per_second"), get(figures, "java", "ops_per_second"))
        checks = [Check("throughput x Java", rate, self.java, True)]
        if self.cpu_max:
            checks.append(Check("CPU per op, summed over the servers", get(figures, "zabra", "cpu_us"), self.cpu_max, False, " us"))
        return checks


class EnsembleIdle(Row):
    def measure(self, context, kind):
        with Ensemble(context.setup, kind) as ensemble:
            time.sleep(context.sizes.settle_s)
            return {"resident_mb": sum(resident_bytes(server.pid) for server in ensemble.servers) / 1e6}

    def checks(self, figures, sizes):
        return [Check("resident size of the three", get(figures, "zabra", "resident_mb"), 30, False, " MB")]


class Writer(threading.Thread):
    """One client that writes without a pause, and after a lost connection tries the members in turn."""

    def __init__(self, ports):
        super().__init__()
        self.ports, self.times, self.stopping = ports, [], False

    def connect(self, port):
        s = socket.create_connection(("127.0.0.1", port), timeout=1)
        s.sendall(struct.pack(">iiqiq", 45, 0, 0, 10000, 0) + struct.pack(">i", 16) + bytes(16) + b"\0")
        if len(receive(s, 41)) < 41:
            raise OSError("refused")
        return s

    def run(self):
        turn = 0
        while not self.stopping:
            try:
                with self.connect(self.ports[turn % len(self.ports)]) as s:
                    self.write(s)
            except OSError:
                time.sleep(0.001)
            turn += 1

    def write(self, s):
        path = b"/"
        body = struct.pack(">ii", 1, 5) + struct.pack(">i", len(path)) + path + struct.pack(">i", 1) + b"x" + struct.pack(">i", -1)
        while not self.stopping:
            s.sendall(struct.pack(">i", len(body)) + body)
            if len(receive(s, 20)) < 20:
                return
            self.times.append(time.monotonic())


class LeaderGap(Row):
    """The longest time without an acknowledged write when the leader is killed; the client is on a follower or the leader."""

    def measure(self, context, kind):
        with Ensemble(context.setup, kind) as ensemble:
            run_benchmark(ensemble, "-t", "set", "-c", 10, "--duration", context.sizes.warm_s[kind], "--keep")
            writer = Writer([server.port for server in ensemble.servers])
            writer.start()
            time.sleep(1)
            leader = ensemble.leader()
            if leader is None:
                writer.stopping = True
                raise CompareError("nobody leads")
            leader.process.send_signal(signal.SIGKILL)
            killed = time.monotonic()
            time.sleep(4)
            writer.stopping = True
            writer.join()
        times = [t for t in writer.times if t > killed - 0.5]
        gaps = [after - before for before, after in zip(times, times[1:])]
        if len(gaps) < 10 or times[-1] < killed + 3:
            raise CompareError("writes did not go on")
        return {"gap_ms": max(gaps) * 1000, "usual_ms": statistics.median(gaps) * 1000}

    def checks(self, figures, sizes):
        return [Check("longest gap", get(figures, "zabra", "gap_ms"), 100, False, " ms")]


ROWS = [
    EnsembleThroughput("ensemble-set4", "three members: set 100 B durable through all, 4 outstanding",
                       "4x Java; CPU per write over the three <= 15 us", "set", 4, 4, 15),
    EnsembleThroughput("ensemble-set1", "three members: the same, one outstanding", "2.5x Java; <= 22 us", "set", 1, 2.5, 22),
    EnsembleThroughput("ensemble-get16", "three members: get through all, 16 outstanding", "4x Java; CPU per read <= 3 us", "get",
                       16, 4, 3),
    LeaderGap("ensemble-gap", "three members: longest write gap when the leader is killed", "<= 100 ms"),
    EnsembleIdle("ensemble-idle", "three members: resident size, idle, together", "<= 30 MB"),
]
