/* Interned access control lists.
 *
 * A list is kept as its wire bytes (vector<ACL>: int count, then entries), once per distinct ordered list, and named by a
 * small id. Id 0 (ACL_OPEN) is the built-in world:anyone:ALL list of the system nodes, which is not in the table that a
 * snapshot carries (there it is -1); every other id is reference-counted. See docs/protocol/disk-format.md section 4. */
#ifndef ZABRA_TREE_ACL_H
#define ZABRA_TREE_ACL_H

#include "base/strutil.h"
#include "wire/records.h"

typedef uint32_t acl_id_t;
#define ACL_OPEN 0u

struct acl_table;

struct acl_table *acl_table_new(void);
void acl_table_free(struct acl_table *t);

/* Finds or adds the list and takes one reference. The bytes (a complete encoded vector) are copied. */
acl_id_t acl_intern(struct acl_table *t, struct slice encoded);
void acl_ref(struct acl_table *t, acl_id_t id);
/* Gives one reference back; the list is freed with the last one and its id may be used again. */
void acl_unref(struct acl_table *t, acl_id_t id);
/* The encoded vector; valid as long as a reference is held. */
struct slice acl_bytes(const struct acl_table *t, acl_id_t id);
/* Union of the permission bits that the list's world:anyone entries grant: the fast path of every check. */
int32_t acl_world_perms(const struct acl_table *t, acl_id_t id);
/* Iteration over all lists but ACL_OPEN, by ascending id: start with 0, returns the next id above, or 0 at the end. */
acl_id_t acl_next(const struct acl_table *t, acl_id_t after);
size_t acl_count(const struct acl_table *t);
/* Bytes of memory held. */
size_t acl_table_bytes(const struct acl_table *t);

#endif
