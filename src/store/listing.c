#include "store/listing.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/txnlog.h"

struct listing {
    struct store_files *out;
    const char *prefix;
};

static void add_entry(void *ctx, const char *name, int64_t size) {
    const struct listing *l = ctx;
    struct store_files *out = l->out;
    zxid_t zxid = l->prefix != NULL ? store_name_zxid(name, l->prefix) : -1;
    if (l->prefix != NULL && zxid < 0)
        return;
    if (out->count == out->cap) {
        out->cap = out->cap ? out->cap * 2 : 16;
        out->items = mem_realloc(out->items, (size_t)out->cap * sizeof *out->items);
    }
    out->items[out->count++] = (struct store_file){.zxid = zxid, .size = size, .name = mem_strdup(name)};
}

static int compare(const void *left, const void *right) {
    const struct store_file *a = left, *b = right;
    if (a->zxid != b->zxid)
        return a->zxid < b->zxid ? -1 : 1;
    return strcmp(a->name, b->name);
}

int store_files_list(const struct disk *d, enum disk_dir dir, const char *prefix, struct store_files *out) {
    *out = (struct store_files){0};
    struct listing l = {out, prefix};
    int err = d->list(d->ctx, dir, add_entry, &l);
    if (err < 0)
        store_files_free(out);
    else if (out->count > 0)
        qsort(out->items, (size_t)out->count, sizeof *out->items, compare);
    return err;
}

void store_files_free(struct store_files *files) {
    for (int i = 0; i < files->count; i++)
        mem_free(files->items[i].name);
    mem_free(files->items);
    *files = (struct store_files){0};
}

const struct store_file *store_files_find(const struct store_files *files, const char *name) {
    for (int i = 0; i < files->count; i++)
        if (strcmp(files->items[i].name, name) == 0)
            return &files->items[i];
    return NULL;
}

bool store_log_has_entries(const struct disk *d, const char *name, int *err) {
    struct txnlog_reader *r = txnlog_reader_open(d, name, INT32_MAX, err);
    if (r == NULL)
        return false;
    struct txnlog_result first = txnlog_reader_next(r);
    bool has = first.status == TXNLOG_RECORD ||
               txnlog_reader_data_end(r, TXNLOG_HEADER_BYTES) > TXNLOG_HEADER_BYTES;
    *err = txnlog_reader_err(r);
    txnlog_reader_close(r);
    return has;
}
