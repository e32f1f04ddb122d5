"""The configuration files of an ensemble, as utils/create-cluster and utils/gen-config write them."""
import os
import re

SERVER_IDS = range(1, 256)         # ZooKeeper keeps the id of a server in one byte


class Member:
    """One server of an ensemble, as the others see it."""

    def __init__(self, number, host, quorum_port, election_port, observer=False):
        self.id, self.host, self.observer = number, host, observer
        self.quorum_port, self.election_port = quorum_port, election_port

    def line(self):
        return "server.%d=%s:%d:%d:%s" % (self.id, in_brackets(self.host), self.quorum_port, self.election_port,
                                          "observer" if self.observer else "participant")


def in_brackets(host):
    return "[%s]" % host if ":" in host else host


def check_members(voters, observers):
    """What is wrong with so many servers, or None."""
    if voters < 1 or observers < 0 or voters + observers > SERVER_IDS[-1]:
        return "1 to %d servers, observers included, are possible" % SERVER_IDS[-1]
    if observers > 0 and voters < 2:
        return "observers need an ensemble of at least two voting servers"
    return None


def check_host(host):
    """What is wrong with a host name or address, or None."""
    if re.fullmatch(r"[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%[\w.-]+)?", host):
        return None if host.count(":") >= 2 else "%s: ports are given by options of their own" % host
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?\.?", host):
        return "%s is neither a host name nor an address" % (host or "an empty text")
    return None


def zoo_cfg(members, own, options, comment):
    """The text of the zoo.cfg of one member; options are name, value pairs in order."""
    lines = ["# " + line for line in comment.splitlines()]
    lines += ["%s=%s" % tuple(item) for item in options]
    # One voting server alone is a standalone server, as for Java: members would not change that.
    if len(members) > 1:
        if own.observer:
            lines.append("peerType=observer")
        lines += [member.line() for member in members]
    return "\n".join(lines) + "\n"


def write_file(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
