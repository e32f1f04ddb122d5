#include "server/role.h"

#include "base/log.h"
#include "server/server.h"

/* A quorum of one: what is synced here is committed. */
static void standalone_logged(struct server *s, zxid_t zxid) { s->committed = zxid; }

static void looking_logged(struct server *s, zxid_t zxid) {
    (void)s;
    (void)zxid;
}

const struct role_ops role_standalone = {
    .orders = true, .standalone = true, .mode = "standalone", .logged = standalone_logged};

const struct role_ops role_looking = {.mode = "looking", .logged = looking_logged};
