#include "wire/election.h"

/* Parses "host:port", IPv6 hosts in brackets. Blanks and control characters are refused, because the host goes to the log
 * and to the resolver. */
static bool address_parse(struct slice s, struct hello_address *a) {
    size_t colon = s.len;
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.data[i] <= ' ' || s.data[i] == 0x7f)
            return false;
        if (s.data[i] == ':')
            colon = i;
    }
    if (colon == s.len || colon == 0)
        return false;
    a->host = (struct slice){s.data, colon};
    if (s.data[0] == '[') {
        if (colon < 3 || s.data[colon - 1] != ']')
            return false;
        a->host = (struct slice){s.data + 1, colon - 2};
        if (memchr(a->host.data, ']', a->host.len) != NULL || memchr(a->host.data, '[', a->host.len) != NULL)
            return false;
    } else if (memchr(s.data, ':', colon) != NULL) {
        return false;
    }
    int64_t port;
    if (!str_to_i64((struct slice){s.data + colon + 1, s.len - colon - 1}, &port) || port < 0 || port > 65535)
        return false;
    a->port = (int)port;
    return true;
}

static struct slice next_element(struct slice *text) {
    const char *bar = memchr(text->data, '|', text->len);
    struct slice element = {text->data, bar != NULL ? (size_t)(bar - text->data) : text->len};
    size_t taken = element.len + (bar != NULL);
    text->data += taken;
    text->len -= taken;
    return element;
}

/* Separators at the end are nothing, an empty element before is an error. */
static bool text_is_well_formed(struct slice text) {
    struct hello_address a;
    while (text.len > 0 && text.data[text.len - 1] == '|')
        text.len--;
    while (text.len > 0)
        if (!address_parse(next_element(&text), &a))
            return false;
    return true;
}

enum hello_result hello_get(const uint8_t *data, size_t len, struct hello *h, size_t *used) {
    if (len < 8)
        return HELLO_INCOMPLETE;
    struct jute_in in = jute_in(data, len);
    *h = (struct hello){.version = jute_long(&in)};
    if (h->version >= 0) {
        h->sid = h->version;
        h->version = HELLO_OLD;
        *used = 8;
        return h->sid == INT64_MAX ? HELLO_MALFORMED : HELLO_COMPLETE;
    }
    if (h->version != HELLO_V1 && h->version != HELLO_V2)
        return HELLO_MALFORMED;
    if (len < HELLO_HEADER_BYTES)
        return HELLO_INCOMPLETE;
    h->sid = jute_long(&in);
    int32_t n = jute_int(&in);
    if (h->sid < 0 || h->sid == INT64_MAX || n <= 0 || n > HELLO_TEXT_MAX)
        return HELLO_MALFORMED;
    if (jute_left(&in) < (size_t)n)
        return HELLO_INCOMPLETE;
    h->text = (struct slice){(const char *)jute_take(&in, (size_t)n), (size_t)n};
    *used = HELLO_HEADER_BYTES + (size_t)n;
    return text_is_well_formed(h->text) ? HELLO_COMPLETE : HELLO_MALFORMED;
}

static bool names_no_host(struct slice host) {
    if (slice_is(host, "0.0.0.0"))
        return true;
    if (memchr(host.data, ':', host.len) == NULL)
        return false;
    for (size_t i = 0; i < host.len; i++) /* every spelling of :: */
        if (host.data[i] != ':' && host.data[i] != '0')
            return false;
    return true;
}

bool hello_next_address(struct slice *text, struct hello_address *a) {
    while (text->len > 0)
        if (address_parse(next_element(text), a) && a->port != 0 && !names_no_host(a->host))
            return true;
    return false;
}

void hello_put(struct buf *out, int64_t version, int64_t sid, const struct hello_address *addresses, int count) {
    jute_put_long(out, version);
    jute_put_long(out, sid);
    jute_put_int(out, 0);
    size_t start = out->len;
    for (int i = 0; i < (version == HELLO_V1 ? 1 : count); i++) {
        const struct hello_address *a = &addresses[i];
        size_t before = out->len;
        bool brackets = memchr(a->host.data, ':', a->host.len) != NULL;
        buf_printf(out, "%s%s%.*s%s:%d", before == start ? "" : "|", brackets ? "[" : "", (int)a->host.len, a->host.data,
                   brackets ? "]" : "", a->port);
        if (out->len - start > HELLO_TEXT_MAX)
            out->len = before;
    }
    jute_patch_int(out, start - 4, (int32_t)(out->len - start));
}

bool notification_get(const void *data, size_t len, struct notification *n) {
    struct jute_in in = jute_in(data, len);
    *n = (struct notification){.state = jute_int(&in)};
    n->leader = jute_long(&in);
    n->zxid = jute_long(&in);
    n->election_epoch = jute_long(&in);
    if (len == 28) {
        n->peer_epoch = zxid_epoch(n->zxid);
        return true;
    }
    n->peer_epoch = jute_long(&in);
    if (len == 40) /* whatever the last four bytes are: servers of that time sent something else there */
        return true;
    n->version = jute_int(&in);
    if (n->version > 1)
        n->config = jute_bytes_not_null(&in);
    return !in.failed;
}

void notification_put(struct buf *out, const struct notification *n) {
    jute_put_int(out, n->state);
    jute_put_long(out, n->leader);
    jute_put_long(out, n->zxid);
    jute_put_long(out, n->election_epoch);
    jute_put_long(out, n->peer_epoch);
    jute_put_int(out, NOTIFICATION_VERSION);
    jute_put_bytes(out, n->config.data != NULL ? n->config : SLICE_LIT(""));
}
