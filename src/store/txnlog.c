#include "store/txnlog.h"

#include <string.h>
#include <zlib.h>

#include "base/log.h"
#include "base/mem.h"

#define END_BYTE 0x42
#define ENTRY_HEAD 12 /* checksum and length */
#define CHUNK ((size_t)256 * 1024)

const uint8_t txnlog_header[TXNLOG_HEADER_BYTES] = {'Z', 'K', 'L', 'G', 0, 0, 0, 2};
#define MAGIC_BYTES 4 /* all of the header that is checked, as in Java */

_Static_assert(TXNLOG_ENTRY_OVERHEAD == ENTRY_HEAD + 1, "an entry is head, payload, end byte");

size_t txnlog_entry_begin(struct buf *b) {
    size_t start = b->len;
    memset(buf_tail(b, ENTRY_HEAD), 0, ENTRY_HEAD);
    b->len += ENTRY_HEAD;
    return start;
}

static uint32_t checksum(const uint8_t *payload, size_t size) { return (uint32_t)adler32_z(1, payload, size); }

void txnlog_entry_end(struct buf *b, size_t start) {
    size_t size = b->len - start - ENTRY_HEAD;
    zassert(size > 0 && size <= INT32_MAX);
    uint8_t *entry = b->data + start;
    be64_store(entry, checksum(entry + ENTRY_HEAD, size));
    be32_store(entry + 8, (uint32_t)size);
    *buf_tail(b, 1) = END_BYTE;
    b->len++;
}

/* ------------------------------------------------------------------ the window over the file */

struct txnlog_reader {
    const struct disk *disk;
    int handle;
    int err; /* the disk failed: sticky */
    int64_t size;
    size_t max_payload;
    int64_t next;     /* where the next entry begins; 0 = the header was not read yet */
    int64_t stopped;  /* where the last next() found no entry */
    zxid_t last_zxid; /* of the last entry given out */
    uint8_t *window;
    size_t window_cap, window_len;
    int64_t window_at; /* offset in the file of the first byte */
};

struct txnlog_reader *txnlog_reader_open(const struct disk *d, const char *name, size_t max_payload, int *err) {
    int handle = d->open(d->ctx, DISK_LOG, name, DISK_READ);
    if (handle < 0) {
        *err = handle;
        return NULL;
    }
    int64_t size = d->size(d->ctx, handle);
    if (size < 0) {
        *err = (int)size;
        d->close(d->ctx, handle);
        return NULL;
    }
    struct txnlog_reader *r = mem_calloc(1, sizeof *r);
    r->disk = d;
    r->handle = handle;
    r->size = size;
    r->max_payload = size_min(max_payload, INT32_MAX);
    r->last_zxid = -1;
    *err = 0;
    return r;
}

void txnlog_reader_close(struct txnlog_reader *r) {
    if (r == NULL)
        return;
    r->disk->close(r->disk->ctx, r->handle);
    mem_free(r->window);
    mem_free(r);
}

int64_t txnlog_reader_size(const struct txnlog_reader *r) { return r->size; }

int txnlog_reader_refresh(struct txnlog_reader *r) {
    int64_t size = r->disk->size(r->disk->ctx, r->handle);
    if (size < 0)
        return (int)size;
    r->size = size;
    r->window_len = 0;
    return 0;
}

/* Makes want bytes at offset readable at *p. Returns how many there are, fewer only at the end of the file (or, with
 * r->err set, when the disk failed). Offsets may jump, but going forward is what is cheap. */
static size_t window(struct txnlog_reader *r, int64_t offset, size_t want, const uint8_t **p) {
    int64_t window_end = r->window_at + (int64_t)r->window_len;
    want = (size_t)i64_min((int64_t)want, i64_max(r->size - offset, 0));
    *p = NULL;
    if (want == 0)
        return 0;
    if (offset >= r->window_at && offset + (int64_t)want <= window_end) {
        *p = r->window + (offset - r->window_at);
        return want;
    }
    size_t keep = 0;
    if (offset >= r->window_at && offset < window_end) {
        keep = (size_t)(window_end - offset);
        memmove(r->window, r->window + (offset - r->window_at), keep);
    }
    if (size_max(want, CHUNK) > r->window_cap) {
        r->window_cap = size_max(want, CHUNK);
        r->window = mem_realloc(r->window, r->window_cap);
    }
    r->window_at = offset;
    r->window_len = keep;
    ssize_t n = disk_read_full(r->disk, r->handle, r->window + keep, r->window_cap - keep, offset + (int64_t)keep);
    if (n < 0)
        r->err = (int)n;
    else
        r->window_len += (size_t)n;
    *p = r->window;
    return size_min(want, r->window_len);
}

/* ------------------------------------------------------------------ reading in order */

static struct txnlog_result stop(struct txnlog_reader *r, enum txnlog_status status, enum txnlog_damage damage,
                                 int64_t at) {
    r->stopped = at;
    if (r->err != 0)
        return (struct txnlog_result){.status = TXNLOG_IO, .err = r->err, .offset = at};
    return (struct txnlog_result){.status = status, .damage = damage, .offset = at};
}

static bool all_zero(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (p[i] != 0)
            return false;
    return true;
}

static bool length_fits(const struct txnlog_reader *r, uint32_t len) {
    return len >= TXN_HEADER_BYTES && len <= r->max_payload;
}

struct txnlog_result txnlog_reader_next(struct txnlog_reader *r) {
    const uint8_t *p;
    if (r->next == 0) {
        size_t n = window(r, 0, TXNLOG_HEADER_BYTES, &p);
        if (r->err != 0 || n < TXNLOG_HEADER_BYTES)
            return stop(r, TXNLOG_TORN, TXNLOG_BAD_NONE, 0);
        if (memcmp(p, txnlog_header, MAGIC_BYTES) != 0)
            return stop(r, TXNLOG_DAMAGED, TXNLOG_BAD_MAGIC, 0);
        r->next = TXNLOG_HEADER_BYTES;
    }
    int64_t at = r->next;
    size_t n = window(r, at, ENTRY_HEAD, &p);
    if (r->err != 0 || n < ENTRY_HEAD)
        return stop(r, all_zero(p, n) ? TXNLOG_END : TXNLOG_TORN, TXNLOG_BAD_NONE, at);
    if (all_zero(p, ENTRY_HEAD))
        return stop(r, TXNLOG_END, TXNLOG_BAD_NONE, at);
    uint64_t sum = be64_load(p);
    uint32_t len = be32_load(p + 8);
    if (!length_fits(r, len))
        return stop(r, TXNLOG_DAMAGED, TXNLOG_BAD_LENGTH, at);
    size_t whole = (size_t)len + TXNLOG_ENTRY_OVERHEAD;
    n = window(r, at, whole, &p);
    if (r->err != 0 || n < whole)
        return stop(r, TXNLOG_TORN, TXNLOG_BAD_NONE, at);
    if (p[whole - 1] != END_BYTE)
        return stop(r, TXNLOG_DAMAGED, TXNLOG_BAD_END_BYTE, at);
    if (sum != checksum(p + ENTRY_HEAD, len))
        return stop(r, TXNLOG_DAMAGED, TXNLOG_BAD_CHECKSUM, at);
    r->next = at + (int64_t)whole;
    r->last_zxid = txnlog_payload_zxid((struct slice){(const char *)p + ENTRY_HEAD, len});
    return (struct txnlog_result){
        .status = TXNLOG_RECORD, .offset = at, .payload = {(const char *)p + ENTRY_HEAD, len}};
}

zxid_t txnlog_payload_zxid(struct slice payload) {
    /* TxnHeader: long clientId, int cxid, long zxid, ... */
    return payload.len < TXN_HEADER_BYTES ? -1 : (zxid_t)be64_load(payload.data + 12);
}

/* ------------------------------------------------------------------ looking behind damage */

static bool known_type(int32_t type) {
    switch (type) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
    case OP_DELETE:
    case OP_DELETE_CONTAINER:
    case OP_SET_DATA:
    case OP_RECONFIG:
    case OP_SET_ACL:
    case OP_MULTI:
    case OP_CREATE_SESSION:
    case OP_CLOSE_SESSION:
    case OP_ERROR:
        return true;
    default:
        return false;
    }
}

/* The first place in p where an entry could begin: four zero bytes (the checksum is a long) and a possible length. n if
 * there is none before the last ENTRY_HEAD - 1 bytes. */
static size_t next_candidate(const struct txnlog_reader *r, const uint8_t *p, size_t n) {
    size_t i = 0;
    while (i + ENTRY_HEAD <= n) {
        size_t zeros = i;
        uint64_t word;
        while (zeros + 8 <= n && (memcpy(&word, p + zeros, 8), word == 0))
            zeros += 8;
        /* In a run of zeros no length stands; this keeps the padding of a log from costing a second. */
        if (zeros > i + ENTRY_HEAD)
            i = zeros - ENTRY_HEAD;
        if (i + ENTRY_HEAD <= n && be32_load(p + i) == 0 && length_fits(r, be32_load(p + i + 8)))
            return i;
        i++;
    }
    return n;
}

static bool valid_entry_at(struct txnlog_reader *r, int64_t at, zxid_t above, zxid_t *zxid) {
    const uint8_t *p;
    if (window(r, at, ENTRY_HEAD, &p) < ENTRY_HEAD || !length_fits(r, be32_load(p + 8)))
        return false;
    size_t whole = (size_t)be32_load(p + 8) + TXNLOG_ENTRY_OVERHEAD;
    if (at + (int64_t)whole > r->size || window(r, at, whole, &p) < whole || p[whole - 1] != END_BYTE)
        return false;
    struct jute_in in = jute_in(p + ENTRY_HEAD, TXN_HEADER_BYTES);
    struct txn_header h = txn_header_get(&in);
    if (h.zxid <= above || !known_type(h.type) ||
        be64_load(p) != checksum(p + ENTRY_HEAD, whole - TXNLOG_ENTRY_OVERHEAD))
        return false;
    *zxid = h.zxid;
    return true;
}

bool txnlog_reader_resync(struct txnlog_reader *r, zxid_t above, int64_t *offset, zxid_t *zxid) {
    int64_t at = r->stopped + 1;
    while (r->err == 0 && at + TXNLOG_ENTRY_OVERHEAD + TXN_HEADER_BYTES <= r->size) {
        const uint8_t *p;
        size_t n = window(r, at, CHUNK, &p);
        if (n < ENTRY_HEAD)
            break;
        size_t i = next_candidate(r, p, n);
        if (i == n) {
            at += (int64_t)(n - ENTRY_HEAD + 1);
        } else if (valid_entry_at(r, at + (int64_t)i, above, zxid)) {
            *offset = at + (int64_t)i;
            return true;
        } else {
            at += (int64_t)i + 1;
        }
    }
    return false;
}

bool txnlog_reader_skip(struct txnlog_reader *r, zxid_t *zxid) {
    const uint8_t *p;
    int64_t at = r->stopped;
    if (at < TXNLOG_HEADER_BYTES || window(r, at, ENTRY_HEAD, &p) < ENTRY_HEAD)
        return false;
    at += (int64_t)be32_load(p + 8) + TXNLOG_ENTRY_OVERHEAD;
    if (!valid_entry_at(r, at, r->last_zxid, zxid))
        return false;
    r->next = at;
    return true;
}

int64_t txnlog_reader_data_end(struct txnlog_reader *r, int64_t from) {
    uint8_t *chunk = mem_alloc(CHUNK);
    int64_t end = r->size, found = from;
    while (end > from && r->err == 0) {
        int64_t start = i64_max(from, end - (int64_t)CHUNK);
        ssize_t n = disk_read_full(r->disk, r->handle, chunk, (size_t)(end - start), start);
        if (n < 0) {
            r->err = (int)n;
            break;
        }
        while (n > 0 && chunk[n - 1] == 0)
            n--;
        if (n > 0) {
            found = start + n;
            break;
        }
        end = start;
    }
    mem_free(chunk);
    return found;
}

int txnlog_reader_err(const struct txnlog_reader *r) { return r->err; }

const char *txnlog_damage_text(enum txnlog_damage damage) {
    switch (damage) {
    case TXNLOG_BAD_CHECKSUM:
        return "bad checksum";
    case TXNLOG_BAD_LENGTH:
        return "impossible length";
    case TXNLOG_BAD_END_BYTE:
        return "no end of record";
    case TXNLOG_BAD_MAGIC:
        return "no log header";
    case TXNLOG_BAD_NONE:
        break;
    }
    return "incomplete record";
}
