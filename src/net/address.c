#include "net/address.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* By hand, since it is done for every connection: snprintf was a tenth of what our own code does for one. */
static char *put_decimal(char *at, unsigned value) {
    char digits[10];
    int n = 0;
    do
        digits[n++] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    while (n > 0)
        *at++ = digits[--n];
    return at;
}

static void put_ipv4(struct address_text *out, const uint8_t v4[4], unsigned port) {
    char *at = out->ip;
    for (int i = 0; i < 4; i++) {
        if (i > 0)
            *at++ = '.';
        at = put_decimal(at, v4[i]);
    }
    *at = '\0';
    memcpy(out->peer, out->ip, (size_t)(at - out->ip));
    at = out->peer + (at - out->ip);
    *at++ = ':';
    *put_decimal(at, port) = '\0';
    out->loopback = v4[0] == 127;
}

static void put_ipv6(struct address_text *out, const struct sockaddr_in6 *in6) {
    const uint8_t *a = in6->sin6_addr.s6_addr;
    char zone[IF_NAMESIZE];
    size_t n = 0;
    for (int i = 0; i < 8; i++)
        n += (size_t)snprintf(out->ip + n, sizeof out->ip - n, "%s%x", i ? ":" : "", (unsigned)a[2 * i] << 8 | a[2 * i + 1]);
    if (in6->sin6_scope_id != 0 && if_indextoname(in6->sin6_scope_id, zone) != NULL)
        snprintf(out->ip + n, sizeof out->ip - n, "%%%s", zone);
    snprintf(out->peer, sizeof out->peer, "[%s]:%u", out->ip, ntohs(in6->sin6_port));
    out->loopback = IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

void address_format(const struct sockaddr *sa, struct address_text *out) {
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;
    if (sa->sa_family == AF_INET)
        put_ipv4(out, (const uint8_t *)&in->sin_addr, ntohs(in->sin_port));
    else if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
        put_ipv4(out, in6->sin6_addr.s6_addr + 12, ntohs(in6->sin6_port));
    else
        put_ipv6(out, in6);
}
