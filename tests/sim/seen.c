/* What a client sees of single znodes, noted for the search at the end of a run (linear.c). */
#include <stdio.h>
#include <stdlib.h>

#include "sim/sim.h"

static uint64_t value_of(int client, uint32_t value) { return (uint64_t)client << 32 | value; }

/* "c12.34.": what sim_value_put has written. 0: something else. */
static uint64_t value_in(struct slice data) {
    char text[40];
    int client;
    unsigned value;
    if (data.len == 0)
        return LINEAR_FIRST_VALUE;
    snprintf(text, sizeof text, "%.*s", (int)size_min(data.len, sizeof text - 1), data.data);
    return sscanf(text, "c%d.%u.", &client, &value) == 2 ? value_of(client, value) : 0;
}

static bool is_sequential(int32_t flags) {
    return flags == CREATE_PERSISTENT_SEQUENTIAL || flags == CREATE_EPHEMERAL_SEQUENTIAL ||
           flags == CREATE_PERSISTENT_SEQUENTIAL_TTL;
}

static void note(struct sim_client *c, struct sim_op *op) {
    struct linear_op seen = {.asked_us = sim_now(c->sim), .answered_us = INT64_MAX, .version = -1};
    snprintf(seen.path, sizeof seen.path, "%s", op->path);
    switch (op->op) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
        if (is_sequential(op->flags)) /* nobody else looks at it */
            return;
        seen.kind = LINEAR_CREATE;
        seen.value = value_of(c->id, op->value);
        seen.passes = op->flags != CREATE_PERSISTENT;
        break;
    case OP_SET_DATA:
        seen.kind = LINEAR_SET;
        seen.value = value_of(c->id, op->value);
        seen.version = op->version;
        break;
    case OP_DELETE:
        seen.kind = LINEAR_DELETE;
        seen.version = op->version;
        break;
    default:
        return;
    }
    op->seen = linear_add(&c->sim->linear, &seen) + 1;
}

void sim_request_note(struct sim_client *c, struct sim_request *r) {
    for (int i = 0; i < r->count; i++) {
        r->parts[i].seen = 0;
        note(c, &r->parts[i]);
    }
}

/* Does this error say something about the znode itself? */
static bool tells(const struct linear_op *op, int32_t err) {
    switch (op->kind) {
    case LINEAR_CREATE:
        return err == ZK_NODE_EXISTS;
    case LINEAR_SET:
    case LINEAR_DELETE:
        return err == ZK_NO_NODE || err == ZK_BAD_VERSION;
    default:
        return false;
    }
}

static void answered(struct sim_client *c, const struct sim_op *op, zxid_t zxid, int32_t err) {
    struct linear *l = &c->sim->linear;
    if (op->seen == 0)
        return;
    struct linear_op *seen = linear_at(l, op->seen - 1);
    if (err != ZK_OK && !tells(seen, err)) {
        linear_drop(l, op->seen - 1);
        return;
    }
    seen->answered_us = sim_now(c->sim);
    seen->zxid = zxid;
    seen->err = err;
}

/* Only of a session that has asked for something newer does anybody know since when its reads are new. */
static void read_answered(struct sim_client *c, const struct sim_op *op, int32_t err, struct jute_in *body) {
    struct linear_op seen = {.kind = LINEAR_READ, .asked_us = c->fresh_us, .answered_us = sim_now(c->sim)};
    struct stat_view stat;
    if (c->fresh_us == 0 || (err != ZK_NO_NODE && (err != ZK_OK || op->op != OP_GET_DATA)))
        return;
    snprintf(seen.path, sizeof seen.path, "%s", op->path);
    if (err == ZK_OK) {
        seen.value = value_in(jute_bytes(body));
        if (!stat_view_get(body, &stat))
            return;
        seen.version = stat.version;
    }
    linear_add(&c->sim->linear, &seen);
}

void sim_request_seen(struct sim_client *c, const struct sim_request *r, zxid_t zxid, int32_t err, struct jute_in body) {
    if (r->op == OP_MULTI) {
        int32_t result = err != ZK_OK || multi_header_get(&body).type == OP_ERROR ? ZK_RUNTIME_INCONSISTENCY : ZK_OK;
        for (int i = 0; i < r->count; i++)
            answered(c, &r->parts[i], zxid, result);
    } else if (r->op == OP_GET_DATA || r->op == OP_EXISTS) {
        read_answered(c, &r->parts[0], err, &body);
    } else if (r->count > 0) {
        answered(c, &r->parts[0], zxid, err);
    }
    if (err == ZK_OK && (r->op == OP_SYNC || sim_request_is_write(r)))
        c->fresh_us = i64_max(c->fresh_us, r->sent_us);
}
