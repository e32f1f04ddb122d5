"""Ensembles of zabra servers: nothing acknowledged is lost, all members are the same, whoever dies, stalls or lies.

ZABRA_TEST_FULL=1 makes the runs longer."""
import os
import queue
import random
import re
import socket
import struct
import threading
import time

from kazoo.client import KazooState

from lib import store, wire
from lib.dirs import longer
from lib.ensemble import FULL, SEED, WAIT_TIME, EnsembleTest
from lib.wire import DEADLINE, EPHEMERAL, Err

KILLS = 20 if FULL else 5
LEADER_KILLS = 20


class Working(EnsembleTest):
    def test_writes_through_every_member(self):
        e = self.ensemble("zzz")
        leader = e.start()
        self.assertEqual(sorted(m.mode() for m in e.members), ["follower", "follower", "leader"])
        conns = {m: self.connect(m) for m in e.members}
        for m, conn in conns.items():
            path = "/of%d" % m.id
            conn.create(path, b"x")
            conn.multi(wire.create(path + "/a"), wire.set_data(path, b"y"), wire.create(path + "/b"))
            conn.create(path + "/e", flags=EPHEMERAL)
            conn.create(path + "/s", flags=wire.SEQUENTIAL)
            self.fails(Err.NODE_EXISTS, conn.create, path)
            self.fails(Err.BAD_VERSION, conn.set_data, path, b"z", 7)
            failed = conn.multi(wire.create(path + "/c"), wire.delete(path, 7))
            self.assertEqual(failed, [(-1, 0), (-1, Err.BAD_VERSION)])
        for m, conn in conns.items():
            conn.sync("/")
            self.assertEqual(sorted(conn.get_children("/")), ["of1", "of2", "of3", "zookeeper"])
            for other in e.members:
                self.assertEqual(conn.get_data("/of%d" % other.id)[0], b"y")
                self.assertEqual(conn.get_data("/of%d/e" % other.id)[1].ephemeralOwner, conns[other].sid)
        self.assert_same_trees(e)
        conns[leader].end_session()
        tree = self.assert_same_trees(e)
        self.assertNotIn("/of%d/e" % leader.id, tree)
        load = self.load(e, 6)
        load.run(400)
        self.assert_same_trees(e, load)
        e.stop()
        for m in e.members:
            self.assertNotRegex(m.log(), r" ERROR ")
        e.start()
        tree = self.assert_same_trees(e, load)
        self.assertIn("/of1", tree)

    def test_reads_after_sync(self):
        """What one member has acknowledged, a sync on another one makes visible there."""
        e = self.ensemble("zzzZ")
        e.start()
        conns = [self.connect(m) for m in e.members]
        conns[0].create("/n", b"0")
        rng = random.Random(SEED)
        for n in range(1, 400):
            writer, reader = rng.sample(conns, 2)
            writer.set_data("/n", b"%d" % n)
            reader.send(wire.sync("/n"))
            reader.send(wire.get_data("/n"))
            self.assertEqual(reader.reply().err, 0)
            self.assertEqual(wire.decode(wire.Op.GET_DATA, reader.reply())[0], b"%d" % n)

    def test_an_observer(self):
        e = self.ensemble("zzzZ")
        leader = e.start()
        observer = e[4]
        self.assertEqual(observer.mode(), "observer")
        load = self.load(e, 3, members=[observer])
        load.run(200)
        self.assert_same_trees(e, load)
        self.wait_until_logged(observer)
        observer.kill()                             # the others do not care
        rest = self.load(e, 3, SEED + 1, prefix="/x", members=[leader])
        rest.run(200)
        before = len(leader.log())
        observer.start()
        self.assertRegex(leader.said(before), r"learner 4 is at 0x\w+, we are at 0x\w+: DIFF")
        self.assert_same_trees(e, rest)
        for m in e.others(leader, observer):
            m.kill()
        self.wait_for(lambda: observer.mode() is None and leader.mode() is None, what="no service without a quorum")

    def test_no_quorum_no_service(self):
        e = self.ensemble("zzz")
        leader = e.start()
        conn = self.connect(leader)
        conn.create("/kept", b"x")
        one, two = e.others(leader)
        one.kill()
        conn.create("/kept/with two")
        two.kill()
        self.wait_for(lambda: leader.mode() is None, what="no service without a quorum")
        conn.rest()                                 # the client has been sent away
        self.assertIn("not currently serving", leader.word("srvr"))
        self.assertRaises((wire.Closed, OSError), wire.Conn, leader.addr)
        two.begin()
        e.wait()
        back = self.renew(conn, two)
        self.assertEqual(back.sid, conn.sid)
        back.sync("/")
        self.assertEqual(back.get_children("/kept"), ["with two"])

    def test_sessions_move(self):
        """A session belongs to the connection that renewed it last, on whatever member."""
        e = self.ensemble("zzzZ")
        e.start()
        conn = self.connect(e[1])
        conn.create("/e", flags=EPHEMERAL)
        for n, m in enumerate(e.members + e.members[::-1]):
            conn = self.renew(conn, m, last_zxid=conn.last.zxid)
            conn.set_data("/e", b"%d" % n)
            self.assertEqual(conn.get_data("/e")[1].version, n + 1)
        other = self.connect(e[2], sid=conn.sid, passwd=bytes(16))       # the wrong password
        self.assertEqual(other.sid, 0)
        conn.end_session()
        last = self.connect(e[3])
        last.sync("/")
        self.fails(Err.NO_NODE, last.get_data, "/e")

    def test_sessions_expire(self):
        """Of clients that are gone, not of those that ping any member."""
        e = self.ensemble("zzzZ")
        e.start()
        for n, m in enumerate(e.members):
            conn = self.connect(m, timeout=3000)
            conn.create("/gone%d" % n, flags=EPHEMERAL)
            conn.close()
        alive = [self.connect(m, timeout=6000) for m in e.members]
        for n, conn in enumerate(alive):
            conn.create("/alive%d" % n, flags=EPHEMERAL)
        begin = time.monotonic()

        def left():
            """What they see, at each member, after more time than they would have without their pings."""
            for conn in alive:
                conn.ping()
            return time.monotonic() - begin > 7.5 and [sorted(conn.get_children("/")) for conn in alive]

        def no_others():
            names = left()
            return names and not any("gone" in name for each in names for name in each) and names
        for each in self.wait_for(no_others, what="the end of the others"):
            self.assertEqual(each, ["alive0", "alive1", "alive2", "alive3", "zookeeper"])


class Dying(EnsembleTest):
    def test_the_leader_is_killed_under_load(self):
        longer(60 + 20 * LEADER_KILLS)
        e = self.ensemble("zzz")
        leader = e.start()
        load = self.load(e, 6)
        load.start()
        for n in range(LEADER_KILLS):
            load.go_on(50)
            leader.kill()
            dead = leader
            leader = e.wait()
            load.go_on(50)
            dead.begin()
            leader = e.wait()
        load.go_on(50)
        load.stop()
        self.assert_same_trees(e, load)
        self.assertGreater(sum(w.outages for w in load.writers), LEADER_KILLS)
        self.assertEqual(max(int(m.fields()["Zxid"], 16) >> 32 for m in e.members), LEADER_KILLS + 1)

    def test_all_are_killed_under_load(self):
        longer(60 + 20 * KILLS)
        e = self.ensemble("zzz")
        e.start()
        load = self.load(e, 6)
        load.start()
        for n in range(2 if not FULL else 10):
            load.go_on(100)
            for m in e.members:
                m.kill()
            e.start()
        load.go_on(50)
        load.stop()
        self.assert_same_trees(e, load)

    def test_a_follower_is_killed_under_load(self):
        """It gets what it has missed, no more; nobody else notices."""
        longer(60 + 20 * KILLS)
        e = self.ensemble("zzz")
        leader = e.start()
        load = self.under_load(e, 4, members=[leader], count=100)
        self.wait_until_logged(*e.others(leader))
        for n in range(KILLS):
            follower = e.others(leader)[n % 2]
            follower.kill()
            load.go_on(40)
            before = len(leader.log())
            follower.start()
            self.assertRegex(leader.said(before), r"learner %d is at 0x\w+, we are at 0x\w+: DIFF" % follower.id)
        load.stop()
        self.assertEqual([w.outages for w in load.writers], [0] * 4)
        self.assert_same_trees(e, load)

    def test_members_that_were_away_get_the_log_files(self):
        """They have missed more than the leader has in memory; no snapshot is sent, and writes go on."""
        longer(180)
        # However large they are by then.
        e = self.ensemble("zzzZ", {"logWindowBytes": 1000, "snapshotSizeFactor": 0})
        leader = e.start()
        load = self.under_load(e, 3, members=[leader])
        conn = self.connect(leader)
        for count, member in enumerate((e.others(leader)[0], e[4]), 1):
            self.wait_until_logged(member)
            member.kill()
            self.write_many(conn, "/many%d" % count)
            before, snaps = len(leader.log()), leader.mntr()["zk_snap_count"]
            member.start()
            self.assertRegex(leader.said(before), r"learner %d is at 0x\w+, we are at 0x\w+: DIFF, from the log files" % member.id)
            self.assertEqual(leader.mntr()["zk_snap_count"], snaps)
            self.assertEqual(leader.mntr()["zk_zabra_log_diff_count"], str(count))
            load.go_on()
        load.stop()
        self.assertEqual([w.outages for w in load.writers], [0] * 3)
        self.assert_same_trees(e, load)
        for m in e.members:
            m.kill()
        e.start()
        self.assert_same_trees(e, load)

    def test_a_wiped_member_gets_a_snapshot(self):
        e = self.ensemble("zzzZ")
        leader = e.start()
        load = self.load(e, 4, members=[leader])
        load.run(300)
        for member in (e.others(leader)[0], e[4]):
            member.kill()
            member.wipe()
            load.start()
            member.start()
            self.assertIn("the leader sends a snapshot", member.log())
            load.go_on()
            load.stop()
            self.assert_same_trees(e, load)
            member.restart()                        # what it has on its disk is complete
            self.assert_same_trees(e, load)

    def test_a_large_tree_goes_to_a_wiped_member(self):
        longer(240)
        e = self.ensemble("zzz")
        leader = e.start()
        conn = self.connect(leader)
        conn.create("/big")
        for n in range(0, 20000, 500):
            conn.multi(*[wire.create("/big/%05d" % i, bytes(200) if i % 100 else bytes(100000)) for i in range(n, n + 500)
                         if i % 100 or n % 2000 == 0])
        follower = e.others(leader)[0]
        follower.kill()
        follower.wipe()
        load = self.load(e, 3, members=[leader])
        load.start()
        follower.start()
        load.go_on()
        load.stop()
        self.assertEqual([w.outages for w in load.writers], [0] * 3)
        self.assert_same_trees(e, load)
        follower.restart(crash=True)
        self.assert_same_trees(e, load)

    def test_what_only_the_dead_leader_had(self):
        """Proposals that no follower got are cut from its log when it comes back."""
        e = self.ensemble("zzz")
        for _ in range(KILLS):
            leader = e.start()
            base = self.connect(leader)
            base.create("/n", flags=wire.SEQUENTIAL)
            followers = e.others(leader)
            for m in followers:
                m.pause()
            for n in range(20):
                base.send(wire.create("/never%d" % n))
            self.wait_for(lambda: b"/never19" in store.read(store.named(leader.path("version-2"), "log")[-1]), what="them in its log")
            self.assertRaises(wire.Timeout, base.reply, 0.3)
            leader.kill()
            for m in followers:
                m.kill()
                m.begin()                           # what was in its sockets is gone
            new = e.wait()
            other = self.connect(new)
            other.create("/after", flags=wire.SEQUENTIAL)
            names = set(other.get_children("/"))
            self.assertFalse([n for n in names if n.startswith("never")])
            before = len(new.log())
            leader.start()
            self.assert_same_trees(e)
            self.assertRegex(new.said(before), r"learner %d is at 0x\w+(, we are at 0x\w+: TRUNC|: it gets the snapshot)" % leader.id)
            leader.restart(crash=True)
            self.assert_same_trees(e)


class Clients(EnsembleTest):
    def test_ephemerals_and_watches_across_a_leader_change(self):
        e = self.ensemble("zzz")
        leader = e.start()
        owner, watcher = self.kazoo(e), self.kazoo(e)
        states, events = queue.Queue(), queue.Queue()
        owner.add_listener(states.put)
        sid = owner.client_id
        owner.create("/e", b"0", ephemeral=True)
        owner.create("/p", b"0")
        watcher.sync("/")
        watcher.DataWatch("/p", lambda data, stat: events.put(data))     # sets its watch anew after each loss
        watcher.ChildrenWatch("/", lambda names: events.put(sorted(names)))
        told = []

        def news():
            """After a loss kazoo's watches may tell once more what they have told; a set may have been carried out twice."""
            while True:
                event = events.get(timeout=WAIT_TIME)
                if event not in told:
                    told.append(event)
                    return event
        self.assertEqual([news(), news()], [b"0", ["e", "p", "zookeeper"]])
        for n in range(1, 3):
            leader.kill()
            dead, leader = leader, e.wait()
            owner.retry(owner.set, "/p", b"%d" % n)  # it may not have noticed yet that its connection is lost
            self.assertEqual(news(), b"%d" % n)
            dead.start()
        owner.create("/new", ephemeral=True)
        self.assertEqual(news(), ["e", "new", "p", "zookeeper"])
        self.assertEqual(owner.client_id, sid)
        self.assertNotIn(KazooState.LOST, list(states.queue))
        self.assertEqual(owner.get("/e")[1].owner_session_id, sid[0])
        owner.stop()
        watcher.sync("/")
        self.assertIsNone(watcher.exists("/e"))
        self.assert_same_trees(e)

    def test_a_change_while_the_watcher_is_away(self):
        e = self.ensemble("zzz")
        leader = e.start()
        one, two = e.others(leader)
        writer, watcher = self.connect(leader), self.connect(one)
        writer.create("/n")
        watcher.sync("/")
        zxid = watcher.last.zxid
        one.kill()
        writer.set_data("/n", b"changed")
        back = self.renew(watcher, two, last_zxid=zxid)
        back.sync("/")
        back.set_watches(zxid, data=["/n"], exist=["/none"])
        self.assertEqual(back.event()[:2], (wire.Ev.CHANGED, "/n"))
        writer.create("/none")
        self.assertEqual(back.event()[:2], (wire.Ev.CREATED, "/none"))

    def test_a_client_ahead_of_a_member(self):
        """Is turned away: it would see the past."""
        e = self.ensemble("zzz")
        leader = e.start()
        conn = self.connect(leader)
        conn.create("/n")
        raw = wire.Raw(e.others(leader)[0].addr)
        self.addCleanup(raw.close)
        raw.send_frame(wire.connect_request(last_zxid=conn.last.zxid + 1000))
        raw.expect_close()


class Stalling(EnsembleTest):
    def test_a_leader_that_stands_still(self):
        """The others elect another one in syncLimit and a bit; what it acknowledges afterwards is true."""
        limit, gaps = 5.0, []
        e = self.ensemble("zzz", {"syncLimit": int(limit / 0.5)})
        leader = e.start()
        load = self.load(e, 4)
        load.start()
        stale = self.connect(leader)
        stale.create("/n", b"old")
        for n in range(1, 3 if not FULL else 10):
            load.go_on()
            old = leader
            old.pause()
            begin = time.monotonic()
            leader = e.wait()
            gaps.append(time.monotonic() - begin)
            writer = self.connect(leader)
            writer.set_data("/n", b"new%d" % n)
            xid = stale.send(wire.sync("/n"))
            stale.send(wire.get_data("/n"))
            stale.send(wire.set_data("/n", b"stale"))
            old.go_on()
            try:
                reply = stale.reply()
                self.assertEqual(reply.xid, xid)
                self.assertEqual(wire.decode(wire.Op.GET_DATA, stale.reply())[0], b"new%d" % n)
                self.fail("an old leader has confirmed that it still leads, and was right?")
            except wire.Closed:
                pass
            leader = e.wait()
            self.assertEqual(old.mode(), "follower")
            stale = self.renew(stale, leader)
            stale.sync("/n")
            self.assertEqual(stale.get_data("/n")[0], b"new%d" % n)
        self.assertLess(min(gaps), limit + 3)       # the machine itself may have stood still during one of them
        load.go_on()
        load.stop()
        self.assert_same_trees(e, load)

    def test_a_follower_that_stands_still(self):
        """Is dropped and comes back; the others go on."""
        # The window has all that is written until then, or it would get a snapshot.
        e = self.ensemble("zzz", {"syncLimit": 10, "logWindowBytes": 512 << 20})
        leader = e.start()
        load = self.load(e, 4, members=[leader])
        load.start()
        follower = e.others(leader)[0]
        load.go_on()
        self.connect(follower).sync("/")            # it has something, or it would get a snapshot
        before = len(leader.log())
        follower.pause()
        self.wait_for(lambda: "learner %d " % follower.id in leader.said(before), what="the drop")
        load.go_on()
        follower.go_on()
        self.wait_for(lambda: re.search("learner %d is at .*: DIFF" % follower.id, leader.said(before)), what="the DIFF")
        self.assertEqual(e.wait(), leader)
        load.stop()
        self.assertEqual([w.outages for w in load.writers], [0] * 4)
        self.assert_same_trees(e, load)


class Strangers(EnsembleTest):
    def test_a_member_with_a_wrong_id(self):
        e = self.ensemble("zzz")
        e[3].options["server.3"] = None             # it is 3 and knows of no 3
        e[1].begin()
        e[2].begin()
        e[3].begin()
        self.assertNotEqual(e[3].process.wait(WAIT_TIME), 0)
        self.assertRegex(e[3].log(), "My id 3 not in the peer list")
        e[3].process = None
        e.wait()
        load = self.load(e, 2, members=e.members[:2])
        load.run(50)
        self.assert_same_trees(e, load)

    def test_two_members_with_one_id(self):
        """Server 3 says that it is 1. Whatever it can do, nothing is lost, and 2 goes on with one of them."""
        e = self.ensemble("zzz")
        leader = e.start(1, 2)
        load = self.under_load(e, 3, members=e.members[:2])
        e[3].write_myid = lambda number: type(e[3]).write_myid(e[3], 1)
        e[3].begin()
        self.wait_for(lambda: "is ready" in e[3].log(), what="the start")
        load.go_on(200)
        e[3].kill()
        del e[3].write_myid
        e[3].wipe()
        e[3].start()
        load.go_on()
        load.stop()
        self.assert_same_trees(e, load)
        self.assertIsNotNone(leader)

    def test_a_member_with_wrong_ports(self):
        """It listens where nobody looks for it, and looks for server 1 where that is not."""
        e = self.ensemble("zzz")
        spare = self.ensemble("z")[1]               # never started: its ports are free
        right = e[3].options["server.3"], e[3].options["server.1"]
        leader = e.start(1, 2)
        load = self.load(e, 3, members=e.members[:2])
        load.start()
        e[3].options["server.1"] = "127.0.0.1:%d:%d" % (e[3].port, e[3].port)
        e[3].options["server.3"] = "127.0.0.1:%d:%d" % (spare.quorum_port, spare.election_port)
        e[3].begin()
        load.go_on(100)
        e[3].options["server.3"], e[3].options["server.1"] = right
        e[3].kill()
        e[3].start()
        load.go_on()
        load.stop()
        self.assertEqual(e.wait(), leader)
        self.assertEqual([w.outages for w in load.writers], [0] * 3)
        self.assert_same_trees(e, load)


class Noise(EnsembleTest):
    def attack(self, addr, rng):
        """One connection that does not behave."""
        with socket.create_connection(addr, DEADLINE) as s:
            s.settimeout(0.5)
            kind = rng.randrange(10)
            hello = struct.pack(">qqi", -65536, 3, 15) + b"127.0.0.1:20000"
            # One that says it is a member replaces that member's connection; so this is somebody unknown.
            follower_info = struct.pack(">iqi", 11, 0, 20) + struct.pack(">qiq", 9, 0x10000, 0) + struct.pack(">i", -1)
            data = {
                0: b"", 1: rng.randbytes(rng.randrange(1, 2000)), 2: hello[:rng.randrange(1, len(hello))], 3: hello,
                4: hello + rng.randbytes(400), 5: follower_info[:rng.randrange(1, len(follower_info))],
                6: follower_info, 7: follower_info + rng.randbytes(500), 8: struct.pack(">i", 0x7fffffff) * 20,
                9: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            }[kind]
            try:
                s.sendall(data)
                if rng.random() < 0.3:
                    s.shutdown(socket.SHUT_WR)
                while rng.random() < 0.7 and s.recv(4096):
                    pass
            except OSError:                         # the server has closed it, at whatever moment, or says nothing
                pass
            if rng.random() < 0.3:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def test_garbage_on_the_ports_of_the_members(self):
        e = self.ensemble("zzz")
        leader = e.start()
        epoch = int(leader.fields()["Zxid"], 16) >> 32
        load = self.load(e, 4, patience=20.0)
        load.start()
        targets = [("127.0.0.1", m.election_port) for m in e.members] + [("127.0.0.1", leader.quorum_port)] * 2
        # Those that say nothing stay open all the time.
        silent = [socket.create_connection(t, DEADLINE) for t in targets for _ in range(20)]
        self.addCleanup(lambda: [s.close() for s in silent])
        refused = []

        def body(seed):
            rng = random.Random(seed)
            for _ in range(60 if not FULL else 1000):
                try:
                    self.attack(rng.choice(targets), rng)
                except OSError as error:
                    refused.append(error)
        threads = [threading.Thread(target=body, args=(SEED * 100 + n,)) for n in range(8)]
        longer(120 if not FULL else 300)
        for t in threads:
            t.start()
        while any(t.is_alive() for t in threads):
            load.go_on(5)
        for t in threads:
            t.join()
        load.go_on(100)
        load.stop()
        self.assertEqual(refused, [])
        self.assertEqual([w.outages for w in load.writers], [0] * 4)
        self.assertEqual(e.wait(), leader)
        self.assertIn(int(leader.fields()["Zxid"], 16) >> 32, (epoch, 1))
        self.assert_same_trees(e, load)
        for s in silent:
            s.close()
        # Nothing of it is left behind, and the members still find each other.
        for m in e.members:
            self.wait_for(lambda m=m: len(os.listdir("/proc/%d/fd" % m.process.pid)) < 60, what="closed connections")
        leader.kill()
        e.wait()
        leader.start()
        self.assert_same_trees(e)
