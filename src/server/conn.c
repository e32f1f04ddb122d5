#include "server/conn.h"

#include "base/mem.h"
#include "server/server.h"

static struct conn_segment *segment_new(struct conn *c) {
    struct conn_segment *seg = mem_calloc(1, sizeof *seg);
    list_push(&c->segments, &seg->link);
    return seg;
}

struct buf *conn_out(struct conn *c) {
    if (LIKELY(list_empty(&c->segments)))
        return &c->out;
    return &CONTAINER_OF(c->segments.prev, struct conn_segment, link)->bytes;
}

void conn_dirty(struct conn *c) {
    if (list_unlinked(&c->dirty_link))
        list_push(&c->server->dirty, &c->dirty_link);
}

#define LISTING_AHEAD_BYTES (256 * 1024)

void conn_forget_sent(struct conn *c) {
    if (c->out_sent == 0)
        return;
    buf_consume(&c->out, c->out_sent);
    c->out_sent = 0;
}

bool conn_refill(struct conn *c, size_t low_water) {
    if (c->out_sent == c->out.len) {
        buf_clear(&c->out);
        c->out_sent = 0;
    }
    while (!list_empty(&c->segments) && c->out.len - c->out_sent < low_water) {
        struct conn_segment *seg = LIST_FIRST(&c->segments, struct conn_segment, link);
        conn_forget_sent(c);
        if (seg->listing != NULL) {
            if (!tree_listing_next(seg->listing, &c->out, size_min(low_water, LISTING_AHEAD_BYTES)))
                continue;
            tree_listing_free(seg->listing);
            seg->listing = NULL;
        }
        buf_append(&c->out, seg->bytes.data, seg->bytes.len);
        buf_free(&seg->bytes);
        list_remove(&seg->link);
        mem_free(seg);
    }
    return c->out_sent < c->out.len;
}

size_t conn_output_bytes(const struct conn *c) {
    size_t bytes = c->out.len - c->out_sent;
    for (const struct list *l = c->segments.next; l != &c->segments; l = l->next)
        bytes += CONTAINER_OF(l, struct conn_segment, link)->bytes.len;
    return bytes;
}

void conn_reply_header(struct conn *c, int32_t xid, zxid_t zxid, int32_t err) {
    struct buf *out = conn_out(c);
    uint8_t *p = be32_store(buf_tail(out, 4 + REPLY_HEADER_BYTES), REPLY_HEADER_BYTES);
    reply_header_store(p, &(struct reply_header){.xid = xid, .zxid = zxid, .err = err});
    out->len += 4 + REPLY_HEADER_BYTES;
    c->sent++;
    c->last_zxid = zxid;
    c->server->metrics.packets_sent++;
    metrics_response_size(&c->server->metrics, REPLY_HEADER_BYTES);
    conn_dirty(c);
}

struct conn_segment *conn_add_listing(struct conn *c, struct tree_listing *listing) {
    struct conn_segment *seg = segment_new(c);
    seg->listing = listing;
    return seg;
}

void conn_drop_output(struct conn *c) {
    buf_free(&c->out);
    c->out_sent = 0;
    struct conn_segment *seg;
    LIST_FOREACH(seg, &c->segments, struct conn_segment, link) {
        if (seg->listing != NULL)
            tree_listing_free(seg->listing);
        buf_free(&seg->bytes);
        list_remove(&seg->link);
        mem_free(seg);
    }
}

void conn_close_later(struct conn *c, enum conn_close how) {
    if (how > c->close)
        c->close = how;
    conn_dirty(c);
}
