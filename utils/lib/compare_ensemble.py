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
from compare_servers import KINDS, Benchmark, CompareError, free_port, receive, resident_bytes, run_benchmark

MEMBERS = 3


class Ensemble:
    """Members of one kind, or of a list of kinds, under the names that a single server has where one is asked for. Observers come
    last."""

    def __init__(self, setup, kind, observers=0, **options):
        self.setup = setup
        kinds = [kind] * (MEMBERS + observers) if isinstance(kind, str) else kind
        ports = [(free_port(), free_port()) for _ in range(MEMBERS + observers)]
        lines = {"server.%d" % (i + 1): "127.0.0.1:%d:%d%s" % (*pair, ":observer" if i >= MEMBERS else "")
                 for i, pair in enumerate(ports)}
        options = {**lines, "initLimit": 10, "syncLimit": 5, "4lw.commands.whitelist": "srvr,mntr", **options}
        self.servers = [KINDS[each](setup, None, options) for each in kinds]
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

    def wait_leader(self, but=None, timeout_s=60):
        """The server that leads, and is not the one given."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            leader = self.leader()
            if leader not in (None, but):
                return leader
            time.sleep(0.01)
        raise CompareError("nobody leads")


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

    def __init__(self, ports, patience_s=1):
        super().__init__()
        self.ports, self.patience_s, self.times, self.stopping = ports, patience_s, [], False

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.stopping = True
        self.join()

    def connect(self, port):
        s = socket.create_connection(("127.0.0.1", port), timeout=self.patience_s)
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

    def gap(self, since):
        """The longest and the usual time between two acknowledged writes from this moment on."""
        times = [t for t in self.times if t > since - 0.5]
        gaps = [after - before for before, after in zip(times, times[1:])]
        if len(gaps) < 10 or times[-1] < since + 3:
            raise CompareError("writes did not go on")
        return {"gap_ms": max(gaps) * 1000, "usual_ms": statistics.median(gaps) * 1000}


class LeaderGap(Row):
    """The longest time without an acknowledged write when the leader is killed; the client is on a follower or the leader."""

    WATCHED_S = 4

    def measure(self, context, kind):
        return self.measure_kinds(context, kind, context.sizes.warm_s[kind])

    def measure_kinds(self, context, kinds, warm_s):
        with Ensemble(context.setup, kinds) as ensemble:
            run_benchmark(ensemble, "-t", "set", "-c", 10, "--duration", warm_s, "--keep")
            with Writer([server.port for server in ensemble.servers]) as writer:
                time.sleep(1)
                ensemble.wait_leader().process.send_signal(signal.SIGKILL)
                killed = time.monotonic()
                time.sleep(self.WATCHED_S)
        return writer.gap(killed)

    def checks(self, figures, sizes):
        return [Check("longest gap", get(figures, "zabra", "gap_ms"), 100, False, " ms")]


class MixedLeaderGap(LeaderGap):
    """The same with members of both kinds, beside Java's alone."""

    WATCHED_S = 20

    def __init__(self, name, title, required, mix):
        super().__init__(name, title, required)
        self.mix = mix

    def measure(self, context, kind):
        return self.measure_kinds(context, self.mix if kind == "zabra" else kind, context.sizes.warm_s["java"])

    def checks(self, figures, sizes):
        return [Check("longest gap over that of Java's alone", ratio(get(figures, "zabra", "gap_ms"), get(figures, "java", "gap_ms")),
                      1, False)]


class StoppedLeaderGap(Row):
    """The same when the leader is stopped: the others have only its silence to go by. The client is on a follower."""

    TICK_MS, SYNC_LIMIT = 500, 4

    def measure(self, context, kind):
        limit_s = self.TICK_MS * self.SYNC_LIMIT / 1000
        with Ensemble(context.setup, kind, tickTime=self.TICK_MS, syncLimit=self.SYNC_LIMIT) as ensemble:
            run_benchmark(ensemble, "-t", "set", "-c", 10, "--duration", context.sizes.warm_s[kind], "--keep")
            leader = ensemble.wait_leader()
            ports = [server.port for server in ensemble.servers if server is not leader]
            with Writer(ports, patience_s=4 * limit_s) as writer:
                time.sleep(1)
                leader.process.send_signal(signal.SIGSTOP)
                stopped = time.monotonic()
                time.sleep(limit_s + 5)
                leader.process.send_signal(signal.SIGCONT)
        return dict(writer.gap(stopped), limit_ms=limit_s * 1000)

    def checks(self, figures, sizes):
        return [Check("longest gap beyond syncLimit x tickTime",
                      get(figures, "zabra", "gap_ms") - get(figures, "zabra", "limit_ms"), 200, False, " ms")]


class LargeFailover(Row):
    """The leader of an ensemble with many znodes and sessions is killed: the gap, and when all sessions are back."""

    TIMEOUT_MS = 10000

    def measure(self, context, kind):
        sizes = context.sizes
        with Ensemble(context.setup, kind) as ensemble:
            benchmark = Benchmark(ensemble, "-t", "storm", "-c", sizes.sessions, "--watches", 10, "--fill", sizes.znodes, "-d",
                                  DATA_BYTES, "-P", 16, "--timeout", self.TIMEOUT_MS, "--keep", watch_pid=False)
            try:
                benchmark.ready.wait()
                if benchmark.process.poll() is not None:
                    raise CompareError("the sessions could not be opened: " + "".join(benchmark.messages))
                leader = ensemble.wait_leader()
                with Writer([server.port for server in ensemble.servers]) as writer:
                    time.sleep(1)
                    leader.process.send_signal(signal.SIGKILL)
                    killed = time.monotonic()
                    result = benchmark.results()["storm"]
                    time.sleep(max(0, killed + 4 - time.monotonic()))
                    snapshots = keys(ensemble.wait_leader(leader).port).get("zk_snap_count", 0)
            except BaseException:
                benchmark.abandon()
                raise
        return dict(writer.gap(killed), snapshots_sent=snapshots,
                    **{name: result[name] for name in ("all_back_ms", "lost_sessions", "session_timeout_ms", "ping_max_ms")})

    def checks(self, figures, sizes):
        timeout = get(figures, "zabra", "session_timeout_ms")
        return [Check("longest gap", get(figures, "zabra", "gap_ms"), 300, False, " ms"),
                Check("snapshots sent", get(figures, "zabra", "snapshots_sent"), 0, False),
                Check("all sessions back after", get(figures, "zabra", "all_back_ms"), timeout / 3 if timeout else None, False, " ms"),
                Check("sessions lost", get(figures, "zabra", "lost_sessions"), 0, False)]


class ObserverCost(Row):
    """What the leader pays for an observer at 1,000 writes per second."""

    OBSERVERS = 4

    def measure(self, context, kind):
        sizes, figures = context.sizes, {}
        for data in (100, 10000):
            alone, followed = (self.leader_us(context, kind, observers, data) for observers in (0, self.OBSERVERS))
            figures["leader_us_%d" % data] = alone
            figures["us_per_observer_%d" % data] = (followed - alone) / self.OBSERVERS
        return figures

    @staticmethod
    def leader_us(context, kind, observers, data):
        sizes = context.sizes
        with Ensemble(context.setup, kind, observers) as ensemble:
            pid = ensemble.wait_leader().pid
            result = Benchmark(ensemble, "-t", "set", "-c", 10, "-d", data, "--rate", 1000, "--duration", sizes.measure_s, "--warmup",
                               sizes.warm_s[kind], "--server-pid", pid, watch_pid=False).results()["set"]
        return result["server_cpu_us_per_op"]

    def checks(self, figures, sizes):
        return []


def keys(port):
    """The numbers in mntr."""
    pairs = (line.split("\t") for line in word(port, b"mntr").decode("utf-8", "replace").splitlines() if line.count("\t") == 1)
    return {name: float(value) for name, value in pairs if value.replace(".", "", 1).lstrip("-").isdigit()}


ROWS = [
    EnsembleThroughput("ensemble-set4", "three members: set 100 B durable through all, 4 outstanding",
                       "4x Java; CPU per write over the three <= 15 us", "set", 4, 4, 15),
    EnsembleThroughput("ensemble-set1", "three members: the same, one outstanding", "2.5x Java; <= 22 us", "set", 1, 2.5, 22),
    EnsembleThroughput("ensemble-get16", "three members: get through all, 16 outstanding", "4x Java; CPU per read <= 3 us", "get",
                       16, 4, 3),
    LeaderGap("ensemble-gap", "three members: longest write gap when the leader is killed", "<= 100 ms"),
    MixedLeaderGap("ensemble-gap-jzz", "one Java and two zabra, a zabra leads: the same", "no worse than Java's alone",
                   ("java", "zabra", "zabra")),
    MixedLeaderGap("ensemble-gap-jjz", "two Java and one zabra, zabra leads: the same", "no worse than Java's alone",
                   ("java", "java", "zabra")),
    MixedLeaderGap("ensemble-gap-zjj", "one zabra and two Java, a Java leads: the same", "no worse than Java's alone",
                   ("zabra", "java", "java")),
    StoppedLeaderGap("ensemble-stop", "three members: the same when the leader is stopped", "<= syncLimit x tickTime + 200 ms"),
    LargeFailover("ensemble-large", "three members, 1,000,000 znodes, 10,000 sessions: leader killed",
                  "gap <= 300 ms, no snapshot sent; all back within timeout/3, none lost"),
    ObserverCost("ensemble-observers", "CPU of the leader per write at 1,000/s, and for each of 4 observers", "measured"),
    EnsembleIdle("ensemble-idle", "three members: resident size, idle, together", "<= 30 MB"),
]
