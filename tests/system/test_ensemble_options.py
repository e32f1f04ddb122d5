"""Options of members, as an operator sees them."""
import os
import socket

from lib import wire
from lib.ensemble import WAIT_TIME, EnsembleTest
from lib.wire import DEADLINE, Err


def taken(port):
    """A socket that listens there."""
    return socket.create_server(("127.0.0.1", port))


class Ports(EnsembleTest):
    def test_an_election_port_that_stays_taken(self):
        e = self.ensemble("zzz", {"electionPortBindRetry": 2})
        with taken(e[1].election_port):
            e[1].begin()
            self.assertEqual(e[1].process.wait(WAIT_TIME), 14)
        self.assertRegex(e[1].log(), "the election port cannot be opened: .*electionPortBindRetry")
        e[1].process = None
        e.start()

    def test_an_election_port_that_is_waited_for(self):
        e = self.ensemble("zzz", {"electionPortBindRetry": 0})
        with taken(e[1].election_port):
            e[1].begin()
            self.wait_for(lambda: "cannot listen on" in e[1].log(), what="the first attempt")
        e.start()

    def test_whoever_says_nothing_on_an_election_port(self):
        e = self.ensemble("zzz", {"quorumCnxnTimeoutMs": 300, "syncLimit": int(4 * WAIT_TIME)})
        e.start()
        with socket.create_connection(("127.0.0.1", e[1].election_port), DEADLINE) as silent:
            silent.settimeout(WAIT_TIME)            # half of syncLimit
            self.assertEqual(silent.recv(1), b"")

    def test_several_addresses(self):
        """The second address of each member is the one that works."""
        e = self.ensemble("zzz", {"multiAddress.enabled": "true"})
        for m in e.members:
            for other in e.members:
                nowhere = "127.0.0.9:%d:%d" % (other.quorum_port, other.election_port)
                place = "127.0.0.1:%d:%d" % (other.quorum_port, other.election_port)
                m.options["server.%d" % other.id] = place if m is other else nowhere + "|" + place
        e.start()
        conn = self.connect(e[1])
        conn.create("/x", b"1")
        self.assert_same_trees(e)


class Roles(EnsembleTest):
    def test_a_leader_without_clients(self):
        e = self.ensemble("zzz", {"leaderServes": "no"})
        leader = e.start()
        self.assertRaises((wire.Closed, OSError), wire.Conn, leader.addr)
        self.assertIn("Mode: leader", leader.word("srvr"))
        conn = self.connect(e.others(leader)[0])
        conn.create("/x", b"1")
        self.assertEqual(conn.get_data("/x")[0], b"1")

    def test_a_role_that_the_list_does_not_confirm(self):
        e = self.ensemble("zzz")
        e[1].options["peerType"] = "observer"
        e.start()
        self.assertIn(e[1].mode(), ("leader", "follower"))
        self.assertRegex(e[1].log(), "peerType is observer, but server.1 is a participant")

    def test_an_observer_without_a_log(self):
        e = self.ensemble("zzzZ", {"syncEnabled": "false"})
        e.start()
        observer = e[4]
        load = self.load(e, 3, members=[observer])
        load.run(200)
        self.assert_same_trees(e, load)
        directory = os.path.join(observer.data, "version-2")
        self.assertEqual([name for name in os.listdir(directory) if name.startswith("log.")], [])
        observer.kill()
        observer.start()
        self.assert_same_trees(e, load)


class Databases(EnsembleTest):
    def test_empty_databases(self):
        """Without leave to vote they wait; the file initialize is the leave, and is used up."""
        e = self.ensemble("zzz", {"db.autocreate": "false"})
        for m in e.members:
            m.begin()
        self.wait_for(lambda: all("looking for a leader" in m.log() for m in e.members), what="the start")
        e[1].kill()
        e[2].kill()
        for m in e.members[:2]:
            with open(os.path.join(m.data, "initialize"), "w"):
                pass
            m.begin()
        self.assertNotEqual(e.wait(), e[3])
        for m in e.members[:2]:
            self.assertFalse(os.path.exists(os.path.join(m.data, "initialize")))
        conn = self.connect(e[3])
        conn.create("/x", b"1")
        e.stop()
        e.start()                                   # they have a history now
        self.assert_same_trees(e)


class Denials(EnsembleTest):
    def test_refused_where_the_client_is(self):
        e = self.ensemble("zzz", {"enableEagerACLCheck": "true"})
        leader = e.start()
        owner = self.connect(leader)
        owner.auth("digest", b"owner:secret")
        owner.create("/mine", b"", acl=[(wire.ALL, "auth", "")])
        for m in e.members:
            other = self.connect(m)
            other.sync("/")
            before = leader.fields()["Zxid"]
            for request in (wire.set_data("/mine", b"x"), wire.create("/mine/child"), wire.delete("/mine/child")):
                reply = other.request(request)
                self.assertEqual((reply.err, reply.zxid), (Err.NO_AUTH, 0))
            self.assertEqual(leader.fields()["Zxid"], before)
