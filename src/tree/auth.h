/* Identities of a connection, authentication schemes, and the one authorisation check.
 * See docs/protocol/client-protocol.md section 10 and operations.md section 10. */
#ifndef ZABRA_TREE_AUTH_H
#define ZABRA_TREE_AUTH_H

#include "base/buf.h"
#include "base/strutil.h"
#include "tree/acl.h"

/* What is configured about authentication. Strings are owned by the configuration and outlive every user of this. */
struct auth_options {
    bool skip_acl;             /* skipACL=yes: everything is allowed */
    bool digest_enabled;       /* DigestAuthenticationProvider.enabled */
    const char *digest_alg;    /* OpenSSL name of the hash: "SHA1" by default */
    const char *super_digest;  /* super:<base64>, or NULL */
    bool ensemble_enabled;     /* scheme "ensemble" is registered */
    const char *ensemble_names; /* comma list, or NULL */
    bool sasl_registered;      /* sasl ACL ids are valid */
    const char *any_sasl_user; /* letAnySaslUserDoX, or NULL */
    bool x509_registered;
};

struct identity {
    struct slice scheme, id; /* memory owned by the set */
};

/* Identities in the order in which they were added; they only ever grow, so that a request can remember how many there
 * were when it was read. */
struct identity_set {
    struct identity *entries;
    uint32_t count, cap;
};

void identity_set_init(struct identity_set *s);
void identity_set_free(struct identity_set *s);
/* Copies the texts. Adding what is there already changes nothing. */
void identity_add(struct identity_set *s, struct slice scheme, struct slice id);
/* True if one of the first limit identities has this scheme. */
bool identity_has_scheme(const struct identity_set *s, uint32_t limit, struct slice scheme);

enum auth_result {
    AUTH_OK,           /* answered with err 0 */
    AUTH_FAILED,       /* answered with -115, then closed */
    AUTH_CLOSE_SILENT, /* closed without a reply (ensemble scheme) */
};
/* Handles an auth packet: adds what it proves to set. data.data may be NULL. */
enum auth_result auth_packet(const struct auth_options *o, struct identity_set *set, struct slice scheme, struct slice data);

/* The digest id of "user:password": user, colon, base64 of the hash. False if the hash algorithm is unknown. */
bool auth_digest_id(const char *alg, struct slice user_password, struct buf *out);

/* The one authorisation function. True if the first limit identities of set have any of the wanted bits by the list.
 * set NULL stands for the server itself: allowed. */
bool auth_allowed(const struct auth_options *o, const struct acl_table *t, acl_id_t acl, int32_t wanted,
                  const struct identity_set *set, uint32_t limit);

/* Validates and expands the vector<ACL> of a create or setACL, which starts at in->p, into its canonical encoded form,
 * appended to out: duplicates dropped, scheme auth expanded. Returns ZK_OK, ZK_INVALID_ACL, or ZK_MARSHALLING_ERROR (null
 * id where the scheme needs one, or bytes that run out). A list that only the expansion makes longer than 1 MiB is
 * ZK_INVALID_ACL, too. in is left behind the vector unless it failed to decode. */
int auth_fix_acl(const struct auth_options *o, struct jute_in *in, const struct identity_set *set, uint32_t limit,
                 struct buf *out);
/* Only skips over a vector<ACL>; sets in->failed if it does not decode. */
void auth_skip_acl(struct jute_in *in);

/* Appends the list as a requester without ADMIN sees it: digest ids cut at the first colon, ":x" put in its place. */
void auth_mask_acl(struct slice encoded, struct buf *out);

/* The user name that whoAmI shows for an identity: see client-protocol.md section 10.5. */
struct slice auth_user_name(const struct auth_options *o, const struct identity *identity);

/* True if the scheme has a provider (for enforce.auth.schemes). */
bool auth_scheme_known(const struct auth_options *o, struct slice scheme);

#endif
