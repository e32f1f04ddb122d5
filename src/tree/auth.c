/* What Java spreads over one provider class per scheme stands here in three switches: what an auth packet proves, which
 * ACL ids are valid, which identity matches which ACL id. A scheme that is not registered is SCHEME_UNKNOWN everywhere. */
#include "tree/auth.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/mem.h"

/* An expanded list must still fit into one packet between servers; each auth entry counts once per identity. */
#define EXPANDED_MAX_BYTES (1u << 20)

enum scheme { SCHEME_UNKNOWN, SCHEME_IP, SCHEME_DIGEST, SCHEME_SASL, SCHEME_X509, SCHEME_ENSEMBLE };

static enum scheme scheme_of(const struct auth_options *o, struct slice name) {
    if (slice_is(name, "ip"))
        return SCHEME_IP;
    if (slice_is(name, "digest"))
        return o->digest_enabled ? SCHEME_DIGEST : SCHEME_UNKNOWN;
    if (slice_is(name, "sasl"))
        return o->sasl_registered ? SCHEME_SASL : SCHEME_UNKNOWN;
    if (slice_is(name, "x509"))
        return o->x509_registered ? SCHEME_X509 : SCHEME_UNKNOWN;
    if (slice_is(name, "ensemble"))
        return o->ensemble_enabled ? SCHEME_ENSEMBLE : SCHEME_UNKNOWN;
    return SCHEME_UNKNOWN;
}

bool auth_scheme_known(const struct auth_options *o, struct slice scheme) {
    return scheme_of(o, scheme) != SCHEME_UNKNOWN;
}

/* What stands before and behind the first mark; false (and all of it before) if there is none. */
static bool cut(struct slice text, char mark, struct slice *before, struct slice *behind) {
    const char *at = text.len ? memchr(text.data, mark, text.len) : NULL;
    *before = text;
    if (at == NULL)
        return false;
    before->len = (size_t)(at - text.data);
    *behind = (struct slice){at + 1, text.len - before->len - 1};
    return true;
}

/* ------------------------------------------------------------------ identities */

void identity_set_init(struct identity_set *s) { *s = (struct identity_set){0}; }

void identity_set_free(struct identity_set *s) {
    for (uint32_t i = 0; i < s->count; i++)
        mem_free((char *)s->entries[i].scheme.data);
    mem_free(s->entries);
    identity_set_init(s);
}

void identity_add(struct identity_set *s, struct slice scheme, struct slice id) {
    for (uint32_t i = 0; i < s->count; i++)
        if (slice_eq(s->entries[i].scheme, scheme) && slice_eq(s->entries[i].id, id))
            return;
    if (s->count == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 2;
        s->entries = mem_realloc(s->entries, s->cap * sizeof *s->entries);
    }
    char *text = mem_alloc(scheme.len + id.len);
    if (scheme.len)
        memcpy(text, scheme.data, scheme.len);
    if (id.len)
        memcpy(text + scheme.len, id.data, id.len);
    s->entries[s->count++] = (struct identity){{text, scheme.len}, {text + scheme.len, id.len}};
}

bool identity_has_scheme(const struct identity_set *s, uint32_t limit, struct slice scheme) {
    for (uint32_t i = 0; i < s->count && i < limit; i++)
        if (slice_eq(s->entries[i].scheme, scheme))
            return true;
    return false;
}

struct slice auth_user_name(const struct auth_options *o, const struct identity *identity) {
    struct slice user = identity->id, rest;
    switch (scheme_of(o, identity->scheme)) {
    case SCHEME_UNKNOWN:
        return SLICE_LIT("");
    case SCHEME_DIGEST:
        cut(identity->id, ':', &user, &rest);
        return user;
    default:
        return user;
    }
}

/* ------------------------------------------------------------------ scheme digest */

static bool is_surrogate(const uint8_t *p, uint8_t low, uint8_t high) {
    return p[0] == 0xed && p[1] >= low && p[1] <= high;
}

/* Appends the bytes as Java has them after reading them into a string: malformed sequences become U+FFFD. The hash is
 * taken over that, so a password in another encoding than UTF-8 keeps its ids. */
static void append_decoded(struct buf *out, struct slice text) {
    if (text.len == 0 || str_utf8_valid((const uint8_t *)text.data, text.len)) {
        buf_append(out, text.data, text.len);
        return;
    }
    size_t start = out->len;
    str_java_echo(out, (const uint8_t *)text.data, text.len);
    /* The echo writes characters above U+FFFF as two surrogates of three bytes: back to the one of four. */
    uint8_t *to = out->data + start;
    const uint8_t *p = to, *end = out->data + out->len;
    while (p < end) {
        if (end - p >= 6 && is_surrogate(p, 0xa0, 0xaf) && is_surrogate(p + 3, 0xb0, 0xbf)) {
            uint32_t high = (uint32_t)(p[1] & 15) << 6 | (p[2] & 63), low = (uint32_t)(p[4] & 15) << 6 | (p[5] & 63);
            uint32_t c = 0x10000 + (high << 10 | low);
            *to++ = (uint8_t)(0xf0 | c >> 18);
            *to++ = (uint8_t)(0x80 | (c >> 12 & 63));
            *to++ = (uint8_t)(0x80 | (c >> 6 & 63));
            *to++ = (uint8_t)(0x80 | (c & 63));
            p += 6;
        } else {
            *to++ = *p++;
        }
    }
    out->len = (size_t)(to - out->data);
}

bool auth_digest_id(const char *alg, struct slice user_password, struct buf *out) {
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned hash_len = 0;
    struct buf text = BUF_INIT;
    struct slice user, password;
    EVP_MD *md = EVP_MD_fetch(NULL, alg, NULL);
    append_decoded(&text, user_password);
    int ok = md != NULL && EVP_Digest(text.data, text.len, hash, &hash_len, md, NULL);
    if (ok) {
        cut((struct slice){(const char *)text.data, text.len}, ':', &user, &password);
        buf_append(out, user.data, user.len);
        buf_append(out, ":", 1);
        str_base64(out, hash, hash_len);
    } else {
        ERR_clear_error(); /* or the next TLS call of this thread would find it */
    }
    EVP_MD_free(md);
    buf_free(&text);
    return ok;
}

/* Split at the colons, trailing empty parts dropped, it must have two parts: a:b, :b, a:b: */
static bool digest_id_valid(struct slice id) {
    struct slice first, second, third;
    while (id.len > 0 && id.data[id.len - 1] == ':')
        id.len--;
    return cut(id, ':', &first, &second) && !cut(second, ':', &second, &third);
}

static enum auth_result digest_packet(const struct auth_options *o, struct identity_set *set, struct slice data) {
    struct buf id = BUF_INIT;
    if (data.data == NULL || !auth_digest_id(o->digest_alg, data, &id)) {
        buf_free(&id);
        return AUTH_FAILED;
    }
    struct slice text = {(const char *)id.data, id.len};
    if (o->super_digest != NULL && slice_is(text, o->super_digest))
        identity_add(set, SLICE_LIT("super"), SLICE_LIT(""));
    identity_add(set, SLICE_LIT("digest"), text);
    buf_free(&id);
    return AUTH_OK;
}

/* ------------------------------------------------------------------ scheme ip */

struct address {
    uint8_t bytes[16];
    unsigned size; /* 4 or 16 */
};

static bool parse_ipv4(struct slice text, struct address *a) {
    a->size = 4;
    for (int i = 0; i < 4; i++) {
        struct slice part, rest = SLICE_NULL;
        int64_t value;
        bool more = cut(text, '.', &part, &rest);
        if (more != (i < 3) || !str_to_i64(part, &value) || value < 0 || value > 255)
            return false;
        a->bytes[i] = (uint8_t)value;
        text = rest;
    }
    return true;
}

/* Groups separated by colons, two bytes each. Returns their number, 0 if one is wrong or there are more than 8. A group is
 * up to 4 characters for Integer.parseInt(text, 16), so it may even have a sign. */
static unsigned parse_groups(struct slice text, uint8_t out[16]) {
    bool more = true;
    for (unsigned count = 0; count < 8; count++) {
        struct slice group, rest = SLICE_NULL;
        int64_t value;
        more = cut(text, ':', &group, &rest);
        if (group.len > 4 || !str_hex_to_i64(group, &value))
            return 0;
        out[2 * count] = (uint8_t)((uint64_t)value >> 8);
        out[2 * count + 1] = (uint8_t)value;
        if (!more)
            return count + 1;
        text = rest;
    }
    return 0;
}

static bool parse_ipv6(struct slice text, struct address *a) {
    uint8_t tail[16];
    unsigned before = 0, behind = 0;
    *a = (struct address){.size = 16};
    const char *gap = memmem(text.data, text.len, "::", 2);
    if (gap == NULL)
        return parse_groups(text, a->bytes) == 8;
    struct slice left = {text.data, (size_t)(gap - text.data)};
    struct slice right = {gap + 2, text.len - left.len - 2};
    if (left.len > 0 && (before = parse_groups(left, a->bytes)) == 0)
        return false;
    if (right.len > 0 && (behind = parse_groups(right, tail)) == 0)
        return false;
    if (before + behind >= 8)
        return false;
    memset(a->bytes + 2 * before, 0, 16 - 2 * before);
    memcpy(a->bytes + 16 - 2 * behind, tail, 2 * behind);
    return true;
}

static bool parse_address(struct slice text, struct address *a) {
    return text.len > 0 && memchr(text.data, ':', text.len) != NULL ? parse_ipv6(text, a) : parse_ipv4(text, a);
}

/* addr or addr/bits */
static bool parse_ip_id(struct slice id, struct address *a, unsigned *bits) {
    struct slice text, prefix;
    int64_t value;
    bool has_prefix = cut(id, '/', &text, &prefix);
    if (!parse_address(text, a))
        return false;
    *bits = a->size * 8;
    if (!has_prefix)
        return true;
    if (!str_to_i64(prefix, &value) || value < 0 || value > (int64_t)*bits)
        return false;
    *bits = (unsigned)value;
    return true;
}

static bool ip_matches(struct slice peer_text, struct slice id) {
    struct address peer, a;
    unsigned bits;
    if (!parse_ip_id(id, &a, &bits) || !parse_address(peer_text, &peer) || peer.size != a.size)
        return false;
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(peer.bytes, a.bytes, whole) != 0)
        return false;
    return rest == 0 || (peer.bytes[whole] ^ a.bytes[whole]) >> (8 - rest) == 0;
}

/* ------------------------------------------------------------------ the other schemes */

/* The name is on the configured list, or there is none. An empty name passes: the client does not care. */
static enum auth_result ensemble_packet(const struct auth_options *o, struct slice name) {
    if (name.len == 0 || o->ensemble_names == NULL)
        return AUTH_OK;
    struct slice rest = slice_of(o->ensemble_names), item;
    for (bool more = true; more;) {
        more = cut(rest, ',', &item, &rest);
        while (item.len > 0 && (uint8_t)item.data[0] <= ' ')
            item = (struct slice){item.data + 1, item.len - 1};
        while (item.len > 0 && (uint8_t)item.data[item.len - 1] <= ' ')
            item.len--;
        if (slice_eq(item, name))
            return AUTH_OK;
    }
    return AUTH_CLOSE_SILENT;
}

/* Without @ anything goes, else it must look like a Kerberos name: [^/@]*(/[^/@]*)?@[^/@]* */
static bool sasl_id_valid(struct slice id) {
    struct slice name, realm, primary, instance;
    if (!cut(id, '@', &name, &realm))
        return true;
    if (realm.len > 0 && (memchr(realm.data, '@', realm.len) != NULL || memchr(realm.data, '/', realm.len) != NULL))
        return false;
    return !cut(name, '/', &primary, &instance) || !cut(instance, '/', &instance, &realm);
}

static bool id_valid(enum scheme scheme, struct slice id) {
    struct address a;
    unsigned bits;
    switch (scheme) {
    case SCHEME_IP:
        return parse_ip_id(id, &a, &bits);
    case SCHEME_DIGEST:
        return digest_id_valid(id);
    case SCHEME_SASL:
        return sasl_id_valid(id);
    case SCHEME_X509:
        return id.len > 0 && memchr(id.data, '=', id.len) != NULL;
    case SCHEME_ENSEMBLE:
    case SCHEME_UNKNOWN:
        break;
    }
    return false;
}

static bool id_matches(const struct auth_options *o, enum scheme scheme, struct slice identity, struct slice acl_id) {
    switch (scheme) {
    case SCHEME_IP:
        return ip_matches(identity, acl_id);
    case SCHEME_DIGEST:
    case SCHEME_X509:
        return slice_eq(identity, acl_id);
    case SCHEME_SASL:
        return slice_eq(identity, acl_id) || slice_is(identity, "super") ||
               (o->any_sasl_user != NULL && slice_is(acl_id, o->any_sasl_user));
    case SCHEME_ENSEMBLE:
    case SCHEME_UNKNOWN:
        break;
    }
    return false;
}

enum auth_result auth_packet(const struct auth_options *o, struct identity_set *set, struct slice scheme,
                             struct slice data) {
    switch (scheme_of(o, scheme)) {
    case SCHEME_IP: /* the connection has had its address from the start */
        return AUTH_OK;
    case SCHEME_DIGEST:
        return digest_packet(o, set, data);
    case SCHEME_ENSEMBLE:
        return ensemble_packet(o, data);
    case SCHEME_SASL: /* proved by other means than this packet */
    case SCHEME_X509:
    case SCHEME_UNKNOWN:
        break;
    }
    return AUTH_FAILED;
}

/* ------------------------------------------------------------------ authorisation */

bool auth_allowed(const struct auth_options *o, const struct acl_table *t, acl_id_t acl, int32_t wanted,
                  const struct identity_set *set, uint32_t limit) {
    if (LIKELY((acl_world_perms(t, acl) & wanted) != 0) || set == NULL || o->skip_acl)
        return true;
    if (identity_has_scheme(set, limit, SLICE_LIT("super")))
        return true;
    struct slice encoded = acl_bytes(t, acl);
    struct jute_in in = jute_in(encoded.data, encoded.len);
    int32_t count = jute_count(&in);
    for (int32_t i = 0; i < count; i++) {
        struct acl_entry e = acl_entry_get(&in);
        if (in.failed)
            break;
        enum scheme scheme = (e.perms & wanted) != 0 ? scheme_of(o, e.scheme) : SCHEME_UNKNOWN;
        if (scheme == SCHEME_UNKNOWN)
            continue;
        for (uint32_t j = 0; j < set->count && j < limit; j++)
            if (slice_eq(set->entries[j].scheme, e.scheme) && id_matches(o, scheme, set->entries[j].id, e.id))
                return true;
    }
    return false;
}

/* ------------------------------------------------------------------ lists in requests and replies */

void auth_skip_acl(struct jute_in *in) {
    int32_t count = jute_count(in);
    for (int32_t i = 0; i < count && !in->failed; i++)
        acl_entry_get(in);
}

/* The different entries of one list, as encoded bytes, by their hash. A frame holds tens of thousands of entries, so
 * comparing each with each is out of the question. */
struct seen {
    struct slice *slots;
    size_t mask;
    struct slice few[32];
};

static void seen_init(struct seen *s, size_t count) {
    size_t capacity = ARRAY_LEN(s->few);
    while (capacity < count * 2)
        capacity *= 2;
    memset(s->few, 0, sizeof s->few);
    s->slots = capacity > ARRAY_LEN(s->few) ? mem_calloc(capacity, sizeof *s->slots) : s->few;
    s->mask = capacity - 1;
}

static void seen_free(struct seen *s) {
    if (s->slots != s->few)
        mem_free(s->slots);
}

/* True if it was there already. */
static bool seen_add(struct seen *s, struct slice entry) {
    size_t i = (size_t)XXH3_64bits(entry.data, entry.len) & s->mask;
    for (; s->slots[i].data != NULL; i = (i + 1) & s->mask)
        if (slice_eq(s->slots[i], entry))
            return true;
    s->slots[i] = entry;
    return false;
}

/* One entry of scheme auth becomes one per identity that somebody has proved. False if there is none. */
static bool expand_auth(const struct auth_options *o, int32_t perms, const struct identity_set *set, uint32_t limit,
                        struct buf *out, int32_t *count) {
    int32_t before = *count;
    for (uint32_t i = 0; set != NULL && i < set->count && i < limit; i++) {
        const struct identity *identity = &set->entries[i];
        enum scheme scheme = scheme_of(o, identity->scheme);
        if (scheme != SCHEME_DIGEST && scheme != SCHEME_SASL && scheme != SCHEME_X509)
            continue;
        acl_entry_put(out, &(struct acl_entry){perms, identity->scheme, identity->id});
        ++*count;
    }
    return *count > before;
}

/* Appends what the entry stands for. A null id means something to scheme auth only; to the other known schemes it is a
 * request that cannot be read, and to unknown ones just as wrong as any other id. */
static int fix_entry(const struct auth_options *o, const struct acl_entry *e, const struct identity_set *set,
                     uint32_t limit, struct buf *out, int32_t *count) {
    if (e->scheme.data == NULL)
        return ZK_INVALID_ACL;
    if (slice_is(e->scheme, "auth"))
        return expand_auth(o, e->perms, set, limit, out, count) ? ZK_OK : ZK_INVALID_ACL;
    bool world = slice_is(e->scheme, "world");
    enum scheme scheme = scheme_of(o, e->scheme);
    if (e->id.data == NULL)
        return world || scheme != SCHEME_UNKNOWN ? ZK_MARSHALLING_ERROR : ZK_INVALID_ACL;
    if (!(world && slice_is(e->id, "anyone")) && !id_valid(scheme, e->id))
        return ZK_INVALID_ACL;
    acl_entry_put(out, e);
    ++*count;
    return ZK_OK;
}

int auth_fix_acl(const struct auth_options *o, struct jute_in *in, const struct identity_set *set, uint32_t limit,
                 struct buf *out) {
    struct jute_in reader = *in;
    auth_skip_acl(in);
    if (in->failed)
        return ZK_MARSHALLING_ERROR;
    int32_t entries = jute_count(&reader), count = 0;
    if (entries <= 0)
        return ZK_INVALID_ACL;

    struct seen seen;
    size_t start = out->len, max_bytes = size_max((size_t)(in->p - reader.p) + 4, EXPANDED_MAX_BYTES);
    int err = ZK_OK;
    seen_init(&seen, (size_t)entries);
    jute_put_int(out, 0);
    for (int32_t i = 0; i < entries && err == ZK_OK; i++) {
        const char *raw = (const char *)reader.p;
        struct acl_entry e = acl_entry_get(&reader);
        if (seen_add(&seen, (struct slice){raw, (size_t)((const char *)reader.p - raw)}))
            continue;
        err = fix_entry(o, &e, set, limit, out, &count);
        if (err == ZK_OK && out->len - start > max_bytes)
            err = ZK_INVALID_ACL;
    }
    seen_free(&seen);
    if (err == ZK_OK)
        jute_patch_int(out, start, count);
    else
        out->len = start;
    return err;
}

void auth_mask_acl(struct slice encoded, struct buf *out) {
    struct jute_in in = jute_in(encoded.data, encoded.len);
    int32_t count = jute_count(&in);
    size_t start = out->len;
    jute_put_int(out, count);
    for (int32_t i = 0; i < count; i++) {
        struct acl_entry e = acl_entry_get(&in);
        struct slice user, rest;
        if (in.failed) { /* a damaged list from a file: as much of it as there is */
            jute_patch_int(out, start, i);
            return;
        }
        if (!slice_is(e.scheme, "digest") || !cut(e.id, ':', &user, &rest)) {
            acl_entry_put(out, &e);
            continue;
        }
        jute_put_int(out, e.perms);
        jute_put_bytes(out, e.scheme);
        jute_put_int(out, (int32_t)user.len + 2);
        buf_append(out, user.data, user.len);
        buf_append(out, ":x", 2);
    }
}
