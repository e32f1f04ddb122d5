"""Reconfigurations that a Java leader carries out, and the configuration files of the members that follow them."""
import os
import unittest

from lib.kz import KazooClient
from test_ensemble_mixed import MixedTest


def keep_config(member):
    """From now on the member starts with the zoo.cfg that is there."""
    member.write_config = lambda options: os.path.join(member.dir, "zoo.cfg")


def read(member, name):
    with open(os.path.join(member.dir, name)) as f:
        return f.read()


def settings(member):
    lines = [line for line in read(member, "zoo.cfg").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


class Reconfiguration(MixedTest):
    def client(self, member):
        client = KazooClient("%s:%d" % member.addr, timeout=20)
        client.start(20)
        self.addCleanup(client.close)
        self.addCleanup(client.stop)
        client.add_auth("digest", "super:super")
        return client

    def config(self, client):
        """(lines, version) of /zookeeper/config."""
        lines = client.get("/zookeeper/config")[0].decode().splitlines()
        return sorted(lines[:-1]), lines[-1].partition("version=")[2]

    def wait_files(self, member, lines, version):
        """Until zoo.cfg names the dynamic file of this version; that one has these lines."""
        path = os.path.join(member.dir, "zoo.cfg.dynamic." + version)
        self.wait_for(lambda: settings(member).get("dynamicConfigFile") == path, what="zoo.cfg with version " + version)
        self.assertEqual(sorted(read(member, "zoo.cfg.dynamic." + version).splitlines()), lines)
        self.wait_for(lambda: not os.path.exists(os.path.join(member.dir, "zoo.cfg.dynamic.next")), what="the end of the proposal")
        self.assertFalse([name for name in settings(member) if name.startswith(("server.", "group.", "weight.", "peerType"))])

    def test_files_follow(self):
        e = self.lead_by_3("zjj", {"reconfigEnabled": "true"})
        zabra, second = e[1], e[2]
        client, at_zabra = self.client(e[3]), self.client(zabra)
        lines, version = self.config(client)
        self.assertEqual(len(lines), 3)
        self.wait_files(zabra, lines, version)
        self.assertEqual(settings(zabra)["tickTime"], "500")
        self.assertIn("server.1=", read(zabra, "zoo.cfg.bak"))
        self.assertNotIn("dynamicConfigFile", read(zabra, "zoo.cfg.bak"))

        client.reconfig(joining=None, leaving="2", new_members=None)
        lines, without = self.config(client)
        self.assertEqual(len(lines), 2)
        self.assertNotEqual(without, version)
        self.wait_files(zabra, lines, without)
        client.reconfig(joining="server.2=%s;127.0.0.1:%d" % (second.line(), second.port), leaving=None, new_members=None)
        lines, version = self.config(client)
        self.wait_files(zabra, lines, version)
        self.wait_for(lambda: self.config(at_zabra) == (lines, version), what="the new configuration at the follower")

        # With what it has written itself,
        keep_config(zabra)
        zabra.restart()
        e.wait()
        self.assertEqual(self.config(self.client(zabra)), (lines, version))
        # as a Java server,
        zabra.stop()
        zabra.java = True
        zabra.start()
        e.wait()
        self.assertEqual(self.config(self.client(zabra)), (lines, version))
        # and with what a Java server has written: there the client port stands in the dynamic file alone.
        second.stop()
        second.java = False
        keep_config(second)
        self.assertNotIn("clientPort", settings(second))
        second.start()
        e.wait()
        self.assertEqual(self.config(self.client(second)), (lines, version))
        self.assert_same_trees(e)


if __name__ == "__main__":
    unittest.main()
