"""ACLs: which are accepted, how they are stored and shown, what they allow; authentication."""
import base64
import hashlib
import socket
import unittest

from lib import wire
from lib.server import ServerTest, not_on_java
from lib.wire import ADMIN, ALL, CREATE, DELETE, EPHEMERAL, OPEN, READ, WRITE, Err


def digest(text, alg="sha1"):
    """ACL id of the digest scheme for "user:password"."""
    hashed = base64.b64encode(hashlib.new(alg, text.encode()).digest()).decode()
    return text.split(":")[0] + ":" + hashed


def only(perms, scheme="world", ident="anyone"):
    return [(perms, scheme, ident)]


class Stored(ServerTest):
    """What is accepted, and how it comes back."""

    def stored(self, c, acl):
        """The list as returned after create and after setACL (which must agree)."""
        path = c.create(self.root + "/s", acl=acl, flags=wire.SEQUENTIAL)
        got, _ = c.get_acl(path)
        other = c.create(self.root + "/s", flags=wire.SEQUENTIAL)
        c.set_acl(other, acl)
        self.assertEqual(c.get_acl(other)[0], got)
        return got

    def refused(self, c, acl, code=Err.INVALID_ACL):
        self.fails(code, c.create, self.root + "/refused", acl=acl)
        self.fails(code, c.set_acl, self.root, acl)

    def test_permission_bits_are_kept_as_they_are(self):
        c = self.connect()
        for perms in (16, 17, 31, 255, 0x7FFFFFFF, -1):
            self.assertEqual(self.stored(c, only(perms)), only(perms))
        path = c.create(self.root + "/none", acl=only(0) + only(1))
        self.assertEqual(c.get_acl(path)[0], only(0) + only(1))

    def test_order_is_kept_and_duplicates_go(self):
        c = self.connect()
        a, b, d = (31, "world", "anyone"), (1, "ip", "127.0.0.1"), (1, "world", "anyone")
        self.assertEqual(self.stored(c, [a, b, a, d, b]), [a, b, d])
        self.assertEqual(self.stored(c, [d, b, d, a]), [d, b, a])

    def test_empty_null_and_unknown(self):
        c = self.connect()
        c.auth("digest", b"a:b")
        for acl in ([], None, only(31, "world", "x"), only(31, "world", ""), only(31, "", "anyone"),
                    only(31, "nonsense", "x"), only(31, "super", ""), only(31, "sasl", "bob"),
                    only(31, "x509", "CN=a"), only(31, "World", "anyone")):
            with self.subTest(acl):
                self.refused(c, acl)

    def test_one_bad_entry_spoils_the_list(self):
        self.refused(self.connect(), OPEN + only(1, "nonsense", "x"))

    def test_digest_ids(self):
        c = self.connect()
        for ident in ("a:b", ":b", "a:b:", "a:b::", digest("bob:secret"), "\u00e9:x"):
            with self.subTest(ident):
                acl = OPEN + only(31, "digest", ident)
                self.assertEqual(self.stored(c, acl), acl)
        for ident in ("", "a", "a:", ":", "a:b:c", "::b"):
            with self.subTest(ident):
                self.refused(c, only(31, "digest", ident))

    def test_ip_ids(self):
        c = self.connect()
        for ident in ("127.0.0.1", "0.0.0.0", "255.255.255.255", "10.1.2.3/0", "10.1.2.3/8", "10.1.2.3/32",
                      "127.000.00.01", "+127.0.0.1", "127.0.0.1/+8", "127.0.0.1/008"):
            with self.subTest(ident):
                acl = OPEN + only(31, "ip", ident)
                self.assertEqual(self.stored(c, acl), acl)
        for ident in ("", "127", "127.0.0", "127.0.0.1.1", "127.0.0.256", "127.0.0.-1", "a.b.c.d",
                      "127.0.0.1/33", "127.0.0.1/-1", "127.0.0.1/", "127.0.0.1/x", "127.0.0.1/8/8",
                      " 127.0.0.1", "127.0.0.1 ", "127..0.1", "localhost", "1:2", "12345::", "fe80::1%lo",
                      ":::", "1::2::3", "1:2:3:4:5:6:7:8:9"):
            with self.subTest(ident):
                self.refused(c, only(31, "ip", ident))

    @not_on_java("no IPv6 in ip ACLs before 3.9.4")
    def test_ipv6_ids(self):
        c = self.connect()
        for ident in ("::1", "::", "0:0:0:0:0:0:0:1", "fe80::1", "fe80::/10", "::/0", "1::8/128",
                      "ABCD:ef01:2:3:4:5:6:7"):
            with self.subTest(ident):
                acl = OPEN + only(31, "ip", ident)
                self.assertEqual(self.stored(c, acl), acl)
        for ident in ("::/129", "::/-1", "::/", "::/x", "::ffff:127.0.0.1", "1:2:3:4:5:6:7", "g::"):
            with self.subTest(ident):
                self.refused(c, only(31, "ip", ident))

    def test_auth_stands_for_the_identities(self):
        c = self.connect()
        c.auth("digest", b"bob:secret")
        self.assertEqual(self.stored(c, only(31, "auth", "")), only(31, "digest", digest("bob:secret")))
        self.assertEqual(self.stored(c, only(31, "auth", "whatever:x")),
                         only(31, "digest", digest("bob:secret")))
        c.auth("digest", b"al:pw")
        both = {(17, "digest", digest("bob:secret")), (17, "digest", digest("al:pw"))}
        got = self.stored(c, OPEN + only(17, "auth", ""))
        self.assertEqual(got[0], OPEN[0])
        self.assertEqual((set(got[1:]), len(got)), (both, 3))

    def test_duplicates_go_before_the_expansion_only(self):
        c = self.connect()
        c.auth("digest", b"bob:pw")
        bob = only(31, "digest", digest("bob:pw"))
        self.assertEqual(self.stored(c, only(31, "auth", "") + only(31, "auth", "x") + bob), bob * 3)
        self.assertEqual(self.stored(c, only(31, "auth", "") * 2), bob)

    def test_null_ids_and_schemes(self):
        c = self.connect()
        c.auth("digest", b"bob:pw")
        for scheme in ("world", "digest", "ip"):
            self.refused(c, only(31, scheme, None), Err.MARSHALLING)
            self.refused(c, OPEN + only(31, scheme, None), Err.MARSHALLING)
        for scheme, ident in ((None, "x"), (None, None), ("nonsense", None)):
            self.refused(c, only(31, scheme, ident))
        # The entries are looked at one by one, so the first bad one decides.
        self.refused(c, only(31, "nonsense", "x") + only(31, "digest", None))

    def test_null_id_with_auth_is_what_some_clients_send(self):
        c = self.connect()
        self.refused(c, only(31, "auth", None))
        c.auth("digest", b"bob:pw")
        self.assertEqual(self.stored(c, only(31, "auth", None)), only(31, "digest", digest("bob:pw")))

    def test_auth_without_identity(self):
        c = self.connect()
        self.refused(c, only(31, "auth", ""))
        c.auth("ip", b"")
        self.refused(c, only(31, "auth", ""))


class Allowed(ServerTest):
    def test_digest_vectors(self):
        self.assertEqual(digest("super:secret"), "super:lK75jTNcA+U9vtVEw5vB51mj/w4=")
        c, root = self.connect(), self.root
        c.create(root + "/a", b"x", only(READ, "digest", "x:MEJqKszm5QjsB/DDYgSVr5oDjb4="))
        self.fails(Err.NO_AUTH, c.get_data, root + "/a")
        c.auth("digest", b"x:z")
        self.fails(Err.NO_AUTH, c.get_data, root + "/a")
        c.auth("digest", b"x:y")
        self.assertEqual(c.get_data(root + "/a")[0], b"x")

    def test_odd_digest_texts(self):
        c, root = self.connect(), self.root
        for text in ("bob:a:b", "nocolon", ":empty user", "bob:", "\u00e9:\u4e2d", "", ":"):
            with self.subTest(text):
                c.set_acl(root, only(ALL, "digest", digest(text)))
                self.fails(Err.NO_AUTH, self.connect().get_data, root)
                d = self.connect()
                d.auth("digest", text.encode())
                d.get_data(root)
                self.assertIn(("digest", text.split(":")[0]), d.who_am_i())
                d.set_acl(root, OPEN)

    def test_digest_text_that_is_no_utf8(self):
        c, root = self.connect(), self.root
        c.auth("digest", b"\xff:\x80x")
        c.set_acl(root, only(ALL, "digest", digest("\ufffd:\ufffdx")))
        c.get_data(root)

    def test_each_bit_for_its_operation(self):
        c, root = self.connect(), self.root
        wanted = {
            READ: [wire.get_data("N"), wire.get_children("N"), wire.get_children2("N"),
                   wire.get_all_children_number("N"), wire.get_acl("N")],
            WRITE: [wire.set_data("N", b"")], CREATE: [wire.create("N/x"), wire.create2("N/y"),
                                                       wire.create_container("N/z")],
            DELETE: [wire.delete("N/c")], ADMIN: [wire.set_acl("N", OPEN)],
        }
        for bit, requests in wanted.items():
            for op, body in requests:
                for granted in (READ, WRITE, CREATE, DELETE, ADMIN):
                    node = c.create(root + "/n", flags=wire.SEQUENTIAL)
                    c.create(node + "/c")
                    c.set_acl(node, only(granted))
                    request = op, body.replace(wire.ustr("N"), wire.ustr(node)).replace(
                        body[:4] + b"N/", wire.i32(len(node) + 2) + node.encode() + b"/")
                    allowed = granted == bit or (op, granted) == (wire.Op.GET_ACL, ADMIN)
                    with self.subTest(op=op, granted=granted):
                        self.assertEqual(c.request(request).err, 0 if allowed else Err.NO_AUTH)

    def test_entries_add_up(self):
        c, root = self.connect(), self.root
        c.auth("digest", b"bob:pw")
        c.set_acl(root, only(READ, "digest", digest("bob:pw")) + only(WRITE) + only(ADMIN, "ip", "10.0.0.1"))
        c.get_data(root)
        c.set_data(root, b"")
        self.fails(Err.NO_AUTH, c.create, root + "/a")
        self.fails(Err.NO_AUTH, c.set_acl, root, OPEN)

    def test_any_identity_of_the_connection_will_do(self):
        c, root = self.connect(), self.root
        c.auth("digest", b"a:1")
        c.auth("digest", b"b:2")
        for text in ("a:1", "b:2"):
            c.create(root + "/" + text[0], acl=only(ALL, "digest", digest(text)))
            c.get_data(root + "/" + text[0])

    def test_scheme_must_agree(self):
        c, root = self.connect(), self.root
        c.auth("digest", b"127.0.0.1")
        c.set_acl(root, only(ALL, "ip", "127.0.0.2"))
        self.fails(Err.NO_AUTH, c.get_data, root)

    def test_ip_addresses_and_masks(self):
        c, root = self.connect(), self.root
        other = self.connect(source="127.0.0.2")
        self.assertEqual(other.who_am_i(), [("ip", "127.0.0.2")])
        for n, (ident, mine, others) in enumerate((
                ("127.0.0.1", True, False), ("127.0.0.2", False, True), ("127.0.0.1/32", True, False),
                ("127.0.0.0/31", True, False), ("127.0.0.0/30", True, True), ("127.9.9.9/8", True, True),
                ("10.0.0.0/0", True, True), ("126.0.0.0/7", True, True), ("10.0.0.0/8", False, False),
                ("127.000.00.01", True, False), ("127.0.0.3/+8", True, True), ("127.0.0.2/31", False, True))):
            with self.subTest(ident):
                path = c.create("%s/n%d" % (root, n), acl=only(READ, "ip", ident))
                for conn, allowed in ((c, mine), (other, others)):
                    self.assertEqual(conn.request(wire.get_data(path)).err, 0 if allowed else Err.NO_AUTH)

    @not_on_java("no IPv6 in ip ACLs before 3.9.4")
    def test_ipv6_never_matches_an_ipv4_peer(self):
        c, root = self.connect(), self.root
        for n, ident in enumerate(("::/0", "::1", "::/96")):
            path = c.create("%s/n%d" % (root, n), acl=only(ALL, "ip", ident))
            self.fails(Err.NO_AUTH, c.get_data, path)

    def test_masking_of_digests(self):
        c, root = self.connect(), self.root
        acl = [(READ, "world", "anyone"), (ALL, "digest", digest("bob:pw")), (WRITE, "digest", ":hash"),
               (READ, "ip", "10.0.0.0/8")]
        c.create(root + "/a", acl=acl)
        masked = [acl[0], (ALL, "digest", "bob:x"), (WRITE, "digest", ":x"), acl[3]]
        self.assertEqual(c.get_acl(root + "/a")[0], masked)
        c.auth("digest", b"bob:pw")
        self.assertEqual(c.get_acl(root + "/a")[0], acl)

    def test_authentication_counts_for_requests_read_after_it(self):
        c, root = self.connect(), self.root
        path = c.create(root + "/a", acl=only(ALL, "digest", digest("bob:pw")))
        xids = [c.send(r) for r in (wire.get_data(path), wire.auth("digest", b"bob:pw"),
                                    wire.get_data(path))]
        replies = {r.xid: r.err for r in (c.reply(), c.reply(), c.reply())}
        self.assertEqual([replies[x] for x in xids], [Err.NO_AUTH, 0, 0])

    def test_authentication_is_of_the_connection(self):
        c, root = self.connect(), self.root
        c.auth("digest", b"bob:pw")
        path = c.create(root + "/a", acl=only(ALL, "digest", digest("bob:pw")))
        again = self.renew(c)
        self.fails(Err.NO_AUTH, again.get_data, path)
        again.auth("digest", b"bob:pw")
        again.get_data(path)


class AuthPackets(ServerTest):
    def test_reply(self):
        c = self.connect()
        for xid in (-4, 0, 17, -1000):
            c.send(wire.auth("digest", b"a:b", kind=99), xid=xid)
            self.assertEqual(c.reply(), (xid, 0, 0, b""))

    def test_failures_close_the_connection(self):
        for scheme, data in (("world", b"anyone"), ("auth", b""), ("super", b""), ("nonsense", b"x"),
                             ("", b""), (None, b"x"), ("sasl", b"bob"), ("x509", b"CN=a"), ("digest", None)):
            with self.subTest(scheme):
                c = self.connect()
                c.send(wire.auth(scheme, data), xid=-4)
                self.assertEqual(c.reply(), (-4, 0, Err.AUTH_FAILED, b""))
                c.expect_close()
                self.assert_usable(self.renew(c))

    def test_ip_adds_nothing(self):
        c = self.connect()
        for data in (b"", b"10.0.0.1", None):
            c.auth("ip", data)
        self.assertEqual(c.who_am_i(), [("ip", "127.0.0.1")])


class Super(ServerTest):
    options = {"DigestAuthenticationProvider.superDigest": "super:lK75jTNcA+U9vtVEw5vB51mj/w4="}

    def boss(self):
        c = self.connect()
        c.auth("digest", b"super:secret")
        return c

    def test_identities(self):
        self.assertEqual(sorted(self.boss().who_am_i()),
                         [("digest", "super"), ("ip", "127.0.0.1"), ("super", "")])

    def test_everything_is_allowed(self):
        c, root = self.connect(), self.root
        c.create(root + "/a", b"x", acl=only(0))
        boss = self.boss()
        self.assertEqual(boss.get_data(root + "/a")[0], b"x")
        boss.create(root + "/a/b")
        boss.set_data(root + "/a", b"y")
        boss.delete(root + "/a/b")
        boss.set_acl(root + "/a", OPEN)
        c.get_data(root + "/a")

    def test_sees_digests(self):
        c, root = self.connect(), self.root
        acl = only(READ | ADMIN, "digest", "a:b")
        c.set_acl(root, acl)
        self.assertEqual(self.boss().get_acl(root)[0], acl)

    def test_may_write_the_config_node(self):
        boss = self.boss()
        self.assertEqual(boss.set_data("/zookeeper/config", b"x").version, 1)
        self.assertEqual(boss.set_acl("/zookeeper/config", only(READ)).aversion, 0)
        self.fails(Err.BAD_ARGUMENTS, boss.delete, "/zookeeper/config")

    def test_auth_acl_means_the_digest_identity(self):
        boss, root = self.boss(), self.root
        boss.create(root + "/a", acl=only(ALL, "auth", ""))
        self.assertEqual(boss.get_acl(root + "/a")[0], only(ALL, "digest", digest("super:secret")))

    def test_other_passwords_and_users(self):
        root = self.root
        self.connect().set_acl(root, only(0))
        for text in (b"super:wrong", b"other:secret", b"super:lK75jTNcA+U9vtVEw5vB51mj/w4="):
            c = self.connect()
            c.auth("digest", text)
            self.fails(Err.NO_AUTH, c.get_data, root)


class SkipAcl(ServerTest):
    options = {"skipACL": "yes"}

    def test_nothing_is_denied(self):
        c, root = self.connect(), self.root
        c.create(root + "/a", b"x", acl=only(0))
        self.assertEqual(c.get_data(root + "/a")[0], b"x")
        c.create(root + "/a/b", acl=only(0, "digest", "a:b"))
        c.set_data(root + "/a/b", b"")
        self.assertEqual(c.multi(wire.check(root + "/a/b", 1)), [(wire.Op.CHECK, None)])
        c.delete(root + "/a/b")
        c.set_acl(root + "/a", only(READ))
        self.assertEqual(c.set_data("/zookeeper/config", b"").version, 1)

    def test_form_is_checked_all_the_same(self):
        c, root = self.connect(), self.root
        for acl in ([], None, only(31, "nonsense", "x"), only(31, "digest", "a"), only(31, "auth", "")):
            self.fails(Err.INVALID_ACL, c.create, root + "/a", acl=acl)
            self.fails(Err.INVALID_ACL, c.set_acl, root, acl)


class DigestAlgorithm(ServerTest):
    options = {"DigestAuthenticationProvider.digestAlg": "SHA-256"}

    def test_sha256(self):
        c, root = self.connect(), self.root
        c.auth("digest", b"bob:pw")
        c.create(root + "/a", acl=only(ALL, "auth", ""))
        self.assertEqual(c.get_acl(root + "/a")[0], only(ALL, "digest", digest("bob:pw", "sha256")))


class DigestDisabled(ServerTest):
    options = {"DigestAuthenticationProvider.enabled": "false"}

    def test_scheme_is_unknown(self):
        c, root = self.connect(), self.root
        self.fails(Err.INVALID_ACL, c.create, root + "/a", acl=only(31, "digest", "a:b"))
        c.send(wire.auth("digest", b"a:b"))
        self.assertEqual(c.reply().err, Err.AUTH_FAILED)
        c.expect_close()


class EnforcedAuth(ServerTest):
    options = {"enforce.auth.enabled": "true", "enforce.auth.schemes": "digest"}

    @property
    def root(self):
        return "/zookeeper/quota"

    def test_everything_else_is_refused_and_closed(self):
        for request in (wire.exists("/"), wire.create(self.root + "/a"), wire.ping(), wire.close_session(),
                        wire.sync("/"), wire.set_watches(0), wire.who_am_i(), wire.multi(),
                        wire.get_ephemerals("/")):
            with self.subTest(request[0]):
                c = self.connect()
                xid = c.send(request)
                self.assertEqual(c.reply(), (xid, 0, Err.AUTH_REQUIRED, b""))
                c.expect_close()

    def test_allowed_after_authentication(self):
        c = self.connect()
        c.auth("digest", b"bob:pw")
        path = c.create(self.root + "/b", flags=EPHEMERAL)
        self.assertEqual(c.get_data(path)[0], b"")
        c.end_session()

    def test_another_scheme_is_not_enough(self):
        c = self.connect()
        c.auth("ip", b"")
        c.send(wire.exists("/"))
        self.assertEqual(c.reply().err, Err.AUTH_REQUIRED)
        c.expect_close()

    def test_the_session_exists_all_the_same(self):
        c = self.connect()
        c.send(wire.exists("/"))
        c.reply()
        c.expect_close()
        again = self.renew(c)
        again.auth("digest", b"bob:pw")
        self.assert_usable(again)


class EnsembleAuth(ServerTest):
    options = {"authProvider.1": "org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider",
               "ensembleAuthName": "green,blue"}

    def test_right_names(self):
        for name in (b"green", b"blue", b""):
            c = self.connect()
            c.auth("ensemble", name)
            self.assertEqual(c.who_am_i(), [("ip", "127.0.0.1")])

    def test_wrong_name_closes_without_a_reply(self):
        c = self.connect()
        c.send(wire.auth("ensemble", b"red"))
        c.expect_close()

    def test_useless_in_acls(self):
        c, root = self.connect(), self.root
        self.fails(Err.INVALID_ACL, c.create, root + "/a", acl=only(31, "ensemble", "green"))


def has_ipv6_loopback():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


@unittest.skipUnless(has_ipv6_loopback(), "no IPv6 loopback here")
class Ipv6(ServerTest):
    options = {"clientPortAddress": "::1"}

    def test_text_of_the_address(self):
        self.assertEqual(self.connect().who_am_i(), [("ip", "0:0:0:0:0:0:0:1")])

    @not_on_java("no IPv6 in ip ACLs before 3.9.4")
    def test_acls(self):
        c, root = self.connect(), self.root
        for n, (ident, allowed) in enumerate((("::1", True), ("0:0:0:0:0:0:0:1", True), ("::/127", True),
                                              ("::/0", True), ("::2", False), ("::3/128", False),
                                              ("0.0.0.0/0", False))):
            path = c.create("%s/n%d" % (root, n), acl=only(READ, "ip", ident))
            self.assertEqual(c.request(wire.get_data(path)).err, 0 if allowed else Err.NO_AUTH, ident)


if __name__ == "__main__":
    unittest.main()
