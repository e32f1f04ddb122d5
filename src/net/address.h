/* The address of a client as text. */
#ifndef ZABRA_NET_ADDRESS_H
#define ZABRA_NET_ADDRESS_H

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>

struct address_text {
    char ip[INET6_ADDRSTRLEN + IF_NAMESIZE + 8];
    char peer[INET6_ADDRSTRLEN + IF_NAMESIZE + 18]; /* ip:port, an IPv6 address in brackets */
    bool loopback;
};

/* As Java writes it: IPv6 in eight groups without compression, mapped IPv4 as IPv4, link-local with its zone. sa is of
 * AF_INET or AF_INET6. */
void address_format(const struct sockaddr *sa, struct address_text *out);

#endif
