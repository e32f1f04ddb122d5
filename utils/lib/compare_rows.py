"""The rows of utils/compare: what is measured against which servers, and what must be reached.

A row is a function that takes a server kind and returns a dictionary of figures; it is called once per round and kind.
Its checks look at the medians. To add a row, write its class and put an object of it into ROWS.
"""
import os
import shutil
import time

import zk_datadir
from compare_servers import KINDS, Benchmark, CompareError, resident_bytes, run_benchmark, run_fdatasync

PREFIX = "/bench"
DATA_BYTES, NAME_BYTES = 100, 20
BUSY = 0.90        # a client that uses its CPU to this degree is what limits the throughput


class Sizes:
    """How long and how much; --quick trades precision for time and says so in the result."""

    def __init__(self, quick):
        self.quick = quick
        self.measure_s = 1.5 if quick else 5
        self.warm_s = {"zabra": 0.5, "echo": 0.2, "redis": 0.5, "java": 2} if quick else \
                      {"zabra": 1, "echo": 0.5, "redis": 1, "java": 6}
        self.znodes = 100000 if quick else 1000000
        self.log_records = 10000 if quick else 100000
        self.sessions = 2000 if quick else 10000
        self.storm_clients = 1000 if quick else 5000
        self.watches_per_session = 1000
        self.settle_s = 1 if quick else 3
        self.open_loop_s = 8 if quick else 30


class Context:
    """What the rows share: setup, sizes, and the ready-made data directories."""

    def __init__(self, setup, quick):
        self.setup, self.sizes = setup, Sizes(quick)
        self.templates = {}

    def data_dir(self, log_records):
        """A directory with sizes.znodes znodes in a snapshot and a log of log_records behind it."""
        if log_records not in self.templates:
            path = self.setup.new_dir()
            zk_datadir.write(os.path.join(path, "data"), PREFIX, self.sizes.znodes, DATA_BYTES, log_records)
            self.templates[log_records] = path
        return self.templates[log_records]

    def server(self, kind, template=None, **options):
        """A server that is not started yet, on a copy of template if one is given."""
        directory = None
        if template:
            directory = self.setup.new_dir()
            shutil.copytree(os.path.join(template, "data"), os.path.join(directory, "data"))
        if kind in ("zabra", "java"):
            return KINDS[kind](self.setup, directory, options)
        return KINDS[kind](self.setup, **options)


class Check:
    """One condition on the medians. value and limit are None when a server that it needs was not measured."""

    def __init__(self, text, value, limit, at_least, unit=""):
        self.text, self.value, self.limit, self.at_least, self.unit = text, value, limit, at_least, unit

    @property
    def reached(self):
        if self.value is None or self.limit is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self):
        if self.value is None or self.limit is None:
            return "%s: not measured" % self.text
        sign = ">=" if self.at_least else "<="
        return "%s: %.3g%s (%s %.3g%s)" % (self.text, self.value, self.unit, sign, self.limit, self.unit)


def get(figures, kind, name):
    return figures.get(kind, {}).get(name)


def ratio(above, below):
    return above / below if above is not None and below else None


def throughput_check(figures, other, need):
    """zabra against another server: by throughput, or, where a load generator was the bottleneck, by CPU per op."""
    zabra = figures.get("zabra", {})
    text = "x " + {"java": "Java", "redis": "Redis"}[other]
    if not zabra or other not in figures:
        return Check("throughput " + text, None, need, True)
    by_rate = ratio(zabra["ops_per_second"], figures[other]["ops_per_second"])
    by_cpu = ratio(figures[other]["cpu_us"], zabra["cpu_us"])
    generator_bound = max(zabra["client_busy"], figures[other]["client_busy"]) >= BUSY
    if by_rate < need and generator_bound:
        return Check("CPU per op (the load generator is the bottleneck; throughput %.3g), %s" % (by_rate, text), by_cpu,
                     need, True)
    return Check("throughput " + text, by_rate, need, True)


class Row:
    kinds = ("zabra", "java")
    rounds_max = None      # rows whose figures hardly vary need not be repeated so often

    def __init__(self, name, title, required):
        self.name, self.title, self.required = name, title, required

    def measure(self, context, kind):
        raise NotImplementedError

    def checks(self, figures, sizes):
        raise NotImplementedError


class Throughput(Row):
    """A test of zabra-benchmark, and its counterpart in redis-benchmark if there is one."""

    def __init__(self, name, title, required, test, clients, pipeline, needs, redis=None, echo=None, cpu_max=None):
        super().__init__(name, title, required)
        self.test, self.clients, self.pipeline, self.needs = test, clients, pipeline, needs
        self.redis, self.echo, self.cpu_max = redis, echo, cpu_max
        self.kinds = ("zabra", "java") + (("redis",) if redis else ()) + (("echo",) if echo else ())

    def measure(self, context, kind):
        sizes = context.sizes
        with context.server(kind) as server:
            if kind == "redis":
                return self.measure_redis(server, sizes)
            test = self.echo if kind == "echo" else self.test
            result = run_benchmark(server, "-t", test, "-c", self.clients, "-P", self.pipeline, "-d", DATA_BYTES,
                                   "--duration", sizes.measure_s, "--warmup", sizes.warm_s[kind], "--keep")[test]
        return {"ops_per_second": result["ops_per_second"], "cpu_us": result["server_cpu_us_per_op"],
                "mean_ms": result["latency"]["mean_ms"], "p99_ms": result["latency"]["p99_ms"],
                "client_busy": result["client_busy"]}

    def measure_redis(self, server, sizes):
        server.run("set", 50, 16, DATA_BYTES, 20000)         # all keys of the range exist afterwards
        trial = server.run(self.redis, self.clients, self.pipeline, DATA_BYTES, 20000 * self.pipeline)
        count = int(trial["ops_per_second"] * sizes.measure_s) + 1
        return server.run(self.redis, self.clients, self.pipeline, DATA_BYTES, count)

    def checks(self, figures, sizes):
        checks = [throughput_check(figures, other, need) for other, need in self.needs]
        if self.cpu_max:
            checks.append(Check("CPU per op", get(figures, "zabra", "cpu_us"), self.cpu_max, False, " us"))
        return checks


class Watch(Row):
    """The echo server has one list of watchers: what it takes is what the sync and 1,000 sends take."""

    kinds = ("zabra", "java", "echo")

    def measure(self, context, kind):
        sizes = context.sizes
        tests = ["echo-watch"] if kind == "echo" else ["watch", "watch-rearm"]
        with context.server(kind, **({"sync": True} if kind == "echo" else {})) as server:
            results = run_benchmark(server, "-t", ",".join(tests), "-c", 1000, "-d", DATA_BYTES, "--duration",
                                    sizes.measure_s, "--warmup", sizes.warm_s[kind], "--keep")
        wall = results[tests[0]]["latency"]
        figures = {"wall_mean_ms": wall["mean_ms"], "wall_p50_ms": wall["p50_ms"], "wall_p99_ms": wall["p99_ms"]}
        if kind != "echo":
            figures["rearm_cpu_us_per_event"] = results["watch-rearm"]["server_cpu_us_per_op"]
            figures["rearm_wall_p50_ms"] = results["watch-rearm"]["latency"]["p50_ms"]
        return figures

    def checks(self, figures, sizes):
        # 5.5 ms where Java takes 18: on another machine the ratio of the two is what can be required.
        wall, java = get(figures, "zabra", "wall_p50_ms"), get(figures, "java", "wall_p50_ms")
        return [Check("wall to the last event over Java's, median", ratio(wall, java), round(5.5 / 18, 3), False)]


class SetOne(Row):
    """One client: how near a durable write comes to the sum of its unavoidable parts."""

    kinds = ("zabra", "java", "echo")
    RECORD_BYTES = 200     # about what a log record of such a set takes

    def measure(self, context, kind):
        sizes = context.sizes
        test = "echo-set" if kind == "echo" else "set"
        with context.server(kind) as server:
            result = run_benchmark(server, "-t", test, "-c", 1, "-d", DATA_BYTES, "--duration", sizes.measure_s,
                                   "--warmup", sizes.warm_s[kind], "--keep")[test]
        figures = {"mean_ms": result["latency"]["mean_ms"], "p50_ms": result["latency"]["p50_ms"],
                   "p99_ms": result["latency"]["p99_ms"], "cpu_us": result["server_cpu_us_per_op"]}
        if kind == "zabra":
            # Right behind the run that it is compared with: what a sync costs changes with the disk's mood.
            figures["fdatasync_mean_ms"] = run_fdatasync(context.setup, self.RECORD_BYTES,
                                                         sizes.measure_s)["latency"]["mean_ms"]
        return figures

    def checks(self, figures, sizes):
        echo, disk = get(figures, "echo", "mean_ms"), get(figures, "zabra", "fdatasync_mean_ms")
        parts = echo + disk if echo is not None and disk is not None else None
        over_parts = ratio(get(figures, "zabra", "mean_ms"), parts)
        return [Check("mean over echo round trip + append and fdatasync", over_parts, 1.3, False),
                Check("p99", get(figures, "zabra", "p99_ms"), get(figures, "java", "p99_ms"), False, " ms")]


class Memory(Row):
    """Growth of the resident size by something that zabra-benchmark puts into the server, per piece."""

    rounds_max = 3

    def __init__(self, name, title, required, limit, figure):
        super().__init__(name, title, required)
        self.limit, self.figure = limit, figure

    def grow(self, context, kind):
        """Returns the result of the benchmark's test that counts the pieces."""
        raise NotImplementedError

    def measure(self, context, kind):
        result = self.grow(context, kind)
        growth = result["server_rss_after"] - result["server_rss_before"]
        return {self.figure: growth / result["ops"], "resident_mb": result["server_rss_after"] / 1e6,
                "count": result["ops"]}

    def checks(self, figures, sizes):
        return [Check(self.figure.replace("_", " "), get(figures, "zabra", self.figure), self.limit, False, " B")]


class MemoryZnode(Memory):
    def grow(self, context, kind):
        with context.server(kind) as server:
            return run_benchmark(server, "--fill", context.sizes.znodes, "-d", DATA_BYTES, "--path-prefix", PREFIX,
                                 "--keep", "--hold", context.sizes.settle_s)["fill"]

    def measure(self, context, kind):
        figures = super().measure(context, kind)
        figures[self.figure] -= DATA_BYTES + NAME_BYTES
        return figures


class MemorySession(Memory):
    def grow(self, context, kind):
        with context.server(kind) as server:
            return run_benchmark(server, "--idle", context.sizes.sessions, "--timeout", 40000, "--hold",
                                 context.sizes.settle_s)["idle"]


class MemoryWatch(Memory):
    """Distinct: as many znodes as watches. Otherwise all sessions watch the same ones."""

    def __init__(self, *arguments, distinct):
        super().__init__(*arguments)
        self.distinct = distinct

    def grow(self, context, kind):
        sizes = context.sizes
        options = ["-t", "watch-many", "--hold", sizes.settle_s, "--timeout", 40000, "--path-prefix", PREFIX,
                   "--existing", "--watches", sizes.watches_per_session]
        if self.distinct:
            options += ["-c", sizes.znodes // sizes.watches_per_session, "--keyspace", sizes.znodes, "-P", 16]
        else:
            # One setWatches2 per session: ten million single requests would say nothing more about memory.
            options += ["-c", sizes.sessions, "--keyspace", sizes.watches_per_session, "--bulk-watches"]
        with context.server(kind, context.data_dir(0)) as server:
            return run_benchmark(server, *options)["watch-many"]


class Storm(Row):
    TIMEOUT_MS = 10000

    def measure(self, context, kind):
        sizes = context.sizes
        with context.server(kind) as server:
            benchmark = Benchmark(server, "-t", "storm", "-c", sizes.storm_clients, "--watches", 200, "--keyspace",
                                  10000, "-P", 16, "--timeout", self.TIMEOUT_MS, "--keep", watch_pid=False)
            try:
                benchmark.ready.wait()
                if benchmark.process.poll() is None:
                    server.end()
                    server.start()
            except BaseException:
                benchmark.abandon()
                raise
            result = benchmark.results()["storm"]
        return {name: result[name] for name in ("all_back_ms", "lost_sessions", "retries", "ping_p99_ms", "ping_max_ms",
                                                "client_lag_max_ms", "session_timeout_ms")}

    def checks(self, figures, sizes):
        timeout = get(figures, "zabra", "session_timeout_ms")
        third = timeout / 3 if timeout else None
        return [Check("all back after", get(figures, "zabra", "all_back_ms"), third, False, " ms"),
                Check("sessions lost", get(figures, "zabra", "lost_sessions"), 0, False),
                Check("longest ping of others", get(figures, "zabra", "ping_max_ms"), 20, False, " ms")]


class IdleSize(Row):
    def measure(self, context, kind):
        with context.server(kind) as server:
            time.sleep(context.sizes.settle_s)
            return {"resident_mb": resident_bytes(server.pid) / 1e6}

    def checks(self, figures, sizes):
        return [Check("resident size", get(figures, "zabra", "resident_mb"), 8, False, " MB")]


class StartTime(Row):
    def __init__(self, name, title, required, limit_s, znodes, log):
        super().__init__(name, title, required)
        self.limit_s, self.znodes, self.log = limit_s, znodes, log

    def measure(self, context, kind):
        template = None
        if self.znodes:
            template = context.data_dir(context.sizes.log_records if self.log else 0)
        server = context.server(kind, template)
        try:
            return {"start_s": server.start()}
        finally:
            server.stop()

    def checks(self, figures, sizes):
        return [Check("start to first served request", get(figures, "zabra", "start_s"), self.limit_s, False, " s")]


class OpenLoop(Row):
    """4,000 requests per second whatever the server does, with and without snapshots being written."""

    RATE, SNAP_COUNT = 4000, 2000

    def measure(self, context, kind):
        quiet = self.run(context, kind, 1000000000)
        busy = self.run(context, kind, self.SNAP_COUNT)
        return {"reads_p999_ms": busy["reads"]["p999_ms"], "writes_p999_ms": busy["writes"]["p999_ms"],
                "p999_ms": busy["latency"]["p999_ms"], "reads_p999_without_ms": quiet["reads"]["p999_ms"],
                "writes_p999_without_ms": quiet["writes"]["p999_ms"], "snapshots": busy["snapshots"],
                "client_lag_max_ms": busy["client_send_lag_max_ms"]}

    def run(self, context, kind, snap_count):
        sizes = context.sizes
        with context.server(kind, context.data_dir(0), snapCount=snap_count) as server:
            before = self.snapshots(server)
            result = run_benchmark(server, "-t", "mixed", "-c", 50, "-P", 4, "-d", DATA_BYTES, "--rate", self.RATE,
                                   "--duration", sizes.open_loop_s, "--warmup", sizes.warm_s[kind], "--path-prefix",
                                   PREFIX, "--existing", "--keyspace", sizes.znodes)["mixed"]
            result["snapshots"] = len(self.snapshots(server) - before)
        if snap_count == self.SNAP_COUNT and result["snapshots"] == 0:
            raise CompareError("no snapshot was written during the measurement")
        return result

    @staticmethod
    def snapshots(server):
        return {name for name in os.listdir(os.path.join(server.data, "version-2")) if name.startswith("snapshot.")}

    def checks(self, figures, sizes):
        without = get(figures, "zabra", "writes_p999_without_ms")
        # Absolute times are those of the disk as well: where Java is there to compare with, its 30 ms over both are the measure.
        java = ratio(get(figures, "zabra", "reads_p999_ms"), get(figures, "java", "p999_ms"))
        reads = Check("reads' p99.9 over Java's over both", java, round(2 / 30, 3), False) if java else \
            Check("reads' p99.9", get(figures, "zabra", "reads_p999_ms"), 2, False, " ms")
        return [reads,
                Check("writes' p99.9", get(figures, "zabra", "writes_p999_ms"), 2 * without if without else None, False,
                      " ms")]


ROWS = [
    Throughput("get1", "get 100 B, 50 connections, one outstanding", "Redis's GET; 2x Java", "get", 50, 1,
               [("redis", 1), ("java", 2)], redis="get", echo="echo"),
    Throughput("get16", "get, 50 connections, 16 outstanding", "Redis's pipelined GET; 15x Java", "get", 50, 16,
               [("redis", 1), ("java", 15)], redis="get", echo="echo"),
    Throughput("set50", "set 100 B durable, 50 connections, one outstanding", "Redis, appendfsync always; 1.7x Java",
               "set", 50, 1, [("redis", 1), ("java", 1.7)], redis="set"),
    Throughput("set200", "set durable, 200 connections, 4 outstanding", "Redis; 6x Java", "set", 200, 4,
               [("redis", 1), ("java", 6)], redis="set"),
    Throughput("mix", "90/10 mix, 50 connections, one outstanding", "2x Java; CPU per op <= 10 us", "mixed", 50, 1,
               [("java", 2)], cpu_max=10),
    Throughput("create", "create, 200 connections, 4 outstanding", "5x Java", "create", 200, 4, [("java", 5)]),
    Watch("watch", "one event to 1,000 watching connections", "wall <= 5.5 ms where Java takes 18, 0.306 of Java's"),
    Throughput("connect", "session open and close", "4x Java", "connect", 50, 1, [("java", 4)], echo="connect"),
    SetOne("set1", "set durable, 1 connection, one outstanding", "mean <= 1.3x (echo + fdatasync); p99 <= Java's"),
    MemoryZnode("memory-znode", "memory per znode (100 B data, 20-byte names), beyond name and data", "<= 150 B", 150,
                "bytes_per_znode_over_name_and_data"),
    MemorySession("memory-session", "memory per idle session with its connection", "<= 1.5 KB", 1536,
                  "bytes_per_session"),
    MemoryWatch("memory-watch", "memory per watch, distinct znodes", "<= 64 B", 64, "bytes_per_watch", distinct=True),
    MemoryWatch("memory-watch-shared", "memory per watch, many sessions on the same 1,000 znodes", "<= 16 B", 16,
                "bytes_per_watch", distinct=False),
    Storm("storm", "clients with 200 watches each reconnect at once after a restart",
          "all back within timeout/3, none lost, pings <= 20 ms"),
    IdleSize("idle-size", "resident size of an idle server", "<= 8 MB"),
    StartTime("start-snapshot", "start, snapshot of 1,000,000 znodes", "<= 1.0 s", 1.0, znodes=True, log=False),
    StartTime("start-log", "start, the same and 100,000 log records", "<= 1.3 s", 1.3, znodes=True, log=True),
    StartTime("start-empty", "start, empty", "<= 20 ms", 0.020, znodes=False, log=False),
    OpenLoop("open-loop", "open-loop 90/10 mix at 4,000/s over 1,000,000 znodes while snapshots are written",
             "reads' p99.9 <= 2 ms where Java takes 30 over both, 0.067 of Java's; writes' <= 2x without snapshots"),
]
