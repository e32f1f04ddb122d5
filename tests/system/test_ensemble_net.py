"""Ensembles whose members are on machines of their own, with a network between them that is cut, slow or lossy: nothing that was
acknowledged is lost, one member leads, and what was apart comes together again.

The machines are network namespaces: without the right to make them all of this is skipped."""
import os
import shutil
import subprocess
import sys
import time

from kazoo.client import KazooState

from lib import wire
from lib.dirs import longer
from lib.ensemble import FULL, WAIT_TIME, EnsembleTest
from lib.net import Net

HEAL_TIME = 45.0         # seconds within which a member is back when the network is
JAVA = shutil.which("java") and os.path.exists("/usr/share/java/zookeeper.jar")
# A silent peer is given up after five seconds.
OPTIONS = {"tickTime": 500, "syncLimit": 10}

net = None


def setUpModule():
    global net
    net = Net(3)
    net.enter()


def tearDownModule():
    net.close()


class NetTest(EnsembleTest):
    def setUp(self):
        net.heal()

    def ensemble(self, kinds="zzz", options=None):
        return super().ensemble(kinds, dict(OPTIONS, **(options or {})), net)

    def epoch(self, e):
        return max(int(m.fields()["Zxid"], 16) >> 32 for m in e.members)

    def assert_nothing_but_the_end(self, conn):
        """The connection is closed without an answer."""
        self.assertRaises(wire.Closed, conn.reply, WAIT_TIME)

    def back_together(self, e, load, leader, old):
        """The network is whole again: who has led the majority goes on."""
        net.heal()
        self.wait_for(lambda: old.mode() == "follower", HEAL_TIME, "the return of %r" % old)
        self.assertEqual(e.wait(), leader)
        load.go_on()
        load.stop()
        return self.assert_same_trees(e, load, shaken=True)

    def leader_cut_off(self, kinds, cut, mute=False):
        """cut: takes the leader's number and those of the others. mute: nothing that it proposes gets out"""
        e = self.ensemble(kinds)
        old = e.start()
        others = e.others(old)
        load = self.under_load(e, 3)
        writer, reader = (self.connect(old) for _ in range(2))
        writer.create("/before", b"x")
        epoch = self.epoch(e)
        before = cut([old.id], [m.id for m in others])
        writer.send(wire.create("/never"))
        reader.send(wire.sync("/before"))
        reader.send(wire.get_data("/before"))
        self.assert_nothing_but_the_end(writer)
        self.assert_nothing_but_the_end(reader)
        new = self.wait_for(lambda: [m for m in others if m.mode() == "leader"], HEAL_TIME, "another leader")[0]
        self.assertIsNone(old.mode())
        conn = self.connect(new)
        conn.create("/after", b"y")
        self.assertEqual(conn.get_data("/before")[0], b"x")
        load.go_on(100)
        self.assertIsNone(old.mode())
        self.assertGreater(net.heal()["cut"], before["cut"])
        tree = self.back_together(e, load, new, old)
        self.assertIn("/after", tree)
        if mute:
            self.assertNotIn("/never", tree)
        self.assertGreater(self.epoch(e), epoch)

    def test_the_leader_is_cut_off(self):
        self.leader_cut_off("zzz", net.split, True)

    def test_nothing_of_the_leader_arrives(self):
        self.leader_cut_off("zzz", net.cut, True)

    def test_nothing_arrives_at_the_leader(self):
        self.leader_cut_off("zzz", lambda leader, others: net.cut(others, leader))

    def test_the_leader_of_java_is_cut_off(self):
        """A leader of zabra's that loses a follower of each kind; FULL: and a leader of Java's."""
        if not JAVA:
            self.skipTest("no Java server here")
        for kinds in ("jzz", "zzj")[:1 + FULL]:
            with self.subTest(kinds):
                longer(120)
                net.heal()
                self.leader_cut_off(kinds, net.split, True)

    def test_a_follower_is_cut_off(self):
        """Its clients go elsewhere; the others do not mind. Each direction, and both."""
        e = self.ensemble()
        leader = e.start()
        follower = e.others(leader)[0]
        load = self.under_load(e, 3, members=e.others(follower))
        rest = [m.id for m in e.others(follower)]
        for cut in (net.split, net.cut, lambda some, others: net.cut(others, some)):
            conn = self.connect(follower)
            conn.sync("/")
            cut([follower.id], rest)
            conn.send(wire.sync("/"))
            self.assert_nothing_but_the_end(conn)
            load.go_on(50)
            self.assertIsNone(follower.mode())
            net.heal()
            self.wait_for(lambda: follower.mode() == "follower", HEAL_TIME, "the return of the follower")
        load.stop()
        self.assertEqual(e.wait(), leader)
        self.assertEqual([w.outages for w in load.writers], [0] * 3)
        self.assert_same_trees(e, load)

    def test_everybody_is_alone(self):
        """No service; it comes back with the network."""
        e = self.ensemble()
        e.start()
        load = self.under_load(e, 3)
        for m in e.members:
            net.split([m.id], [other.id for other in e.members])
        self.wait_for(lambda: not any(m.mode() for m in e.members), what="no service")
        net.heal()
        e.wait(HEAL_TIME)
        load.go_on()
        load.stop()
        self.assert_same_trees(e, load)

    def weak(self, **weakness):
        """An ensemble comes to be on a weak network, serves, and survives its leader there."""
        net.weaken(**weakness)
        e = self.ensemble(options={"syncLimit": 16})
        leader = e.start()
        client = self.kazoo(e, timeout=6.0)
        states = []
        client.add_listener(states.append)
        client.create("/e", ephemeral=True)
        load = self.load(e, 3)
        load.start()
        begin = time.monotonic()
        load.go_on(10)
        self.wait_for(lambda: time.monotonic() - begin > 7, what="more time than the session's timeout")
        self.assertEqual(client.retry(client.get, "/e")[1].owner_session_id, client.client_id[0])
        self.assertEqual(e.wait(), leader)
        leader.kill()
        new = e.wait_leader()
        load.go_on(10)
        self.assertNotIn(KazooState.LOST, states)
        leader.begin()
        said = net.heal()
        self.assertEqual(e.wait(), new)
        load.go_on()
        load.stop()
        self.assert_same_trees(e, load, shaken=True)
        return said

    def test_a_delay_of_200_ms(self):
        self.weak(delay=0.2)

    def test_a_loss_of_5_percent(self):
        said = self.weak(loss=0.05)
        self.assertGreater(said["lost"], 50)


class Ending(EnsembleTest):
    def test_nothing_stays_behind(self):
        """Of a network whose maker is killed."""
        child = subprocess.Popen(
            [sys.executable, "-c", "from lib.net import Net; n = Net(1); print(n.switch.pid, flush=True); input()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=os.path.dirname(os.path.abspath(__file__)))
        self.addCleanup(child.communicate)
        self.addCleanup(child.kill)
        switch = "/proc/%s/ns/net" % child.stdout.readline().strip()
        self.assertTrue(os.path.exists(switch))
        child.kill()
        self.wait_for(lambda: not os.path.exists(switch), what="the end of the switch")
