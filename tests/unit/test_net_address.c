/* Addresses of clients as text: identities of the scheme ip are compared with it, and Java's clients write it so. */
#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/address.h"

static struct address_text of_ipv4(const char *ip, uint16_t port) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct address_text out;
    ck_assert_int_eq(inet_pton(AF_INET, ip, &in.sin_addr), 1);
    address_format((const struct sockaddr *)&in, &out);
    return out;
}

static struct address_text of_ipv6(const char *ip, uint16_t port, uint32_t scope) {
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_scope_id = scope};
    struct address_text out;
    ck_assert_int_eq(inet_pton(AF_INET6, ip, &in6.sin6_addr), 1);
    address_format((const struct sockaddr *)&in6, &out);
    return out;
}

static void expect(struct address_text got, const char *ip, const char *peer, bool loopback) {
    ck_assert_str_eq(got.ip, ip);
    ck_assert_str_eq(got.peer, peer);
    ck_assert_int_eq(got.loopback, loopback);
}

START_TEST(ipv4) {
    expect(of_ipv4("0.9.10.99", 0), "0.9.10.99", "0.9.10.99:0", false);
    expect(of_ipv4("255.255.255.255", 65535), "255.255.255.255", "255.255.255.255:65535", false);
    expect(of_ipv4("100.200.101.1", 2181), "100.200.101.1", "100.200.101.1:2181", false);
    expect(of_ipv4("127.0.0.1", 10), "127.0.0.1", "127.0.0.1:10", true);
    expect(of_ipv4("127.9.8.7", 9), "127.9.8.7", "127.9.8.7:9", true);
}
END_TEST

/* Without compression, as Java's Inet6Address. */
START_TEST(ipv6) {
    expect(of_ipv6("::1", 2181, 0), "0:0:0:0:0:0:0:1", "[0:0:0:0:0:0:0:1]:2181", true);
    expect(of_ipv6("2001:db8::ff00:42:8329", 1, 0), "2001:db8:0:0:0:ff00:42:8329", "[2001:db8:0:0:0:ff00:42:8329]:1", false);
    expect(of_ipv6("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535, 0), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
           "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", false);
}
END_TEST

START_TEST(mapped_ipv4_is_ipv4) {
    expect(of_ipv6("::ffff:10.0.0.255", 443, 0), "10.0.0.255", "10.0.0.255:443", false);
    expect(of_ipv6("::ffff:127.0.0.1", 443, 0), "127.0.0.1", "127.0.0.1:443", true);
}
END_TEST

START_TEST(link_local_has_its_zone) {
    char name[IF_NAMESIZE], ip[64], peer[80];
    ck_assert_ptr_nonnull(if_indextoname(1, name)); /* the loopback device */
    snprintf(ip, sizeof ip, "fe80:0:0:0:0:0:0:7%%%s", name);
    snprintf(peer, sizeof peer, "[%s]:5", ip);
    expect(of_ipv6("fe80::7", 5, 1), ip, peer, false);
    expect(of_ipv6("fe80::7", 5, 0x7fffffff), "fe80:0:0:0:0:0:0:7", "[fe80:0:0:0:0:0:0:7]:5", false);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("net_address");
    TCase *tc = tcase_create("text");
    tcase_add_test(tc, ipv4);
    tcase_add_test(tc, ipv6);
    tcase_add_test(tc, mapped_ipv4_is_ipv4);
    tcase_add_test(tc, link_local_has_its_zone);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
