/* The transaction log's file format: header and entries. See docs/protocol/disk-format.md section 3. */
#ifndef ZABRA_STORE_TXNLOG_H
#define ZABRA_STORE_TXNLOG_H

#include "store/disk.h"
#include "store/names.h"
#include "wire/txn.h"

#define TXNLOG_HEADER_BYTES 16
#define TXNLOG_ENTRY_OVERHEAD 13 /* checksum 8, length 4, end byte 1 */
/* No default Java server reads a larger transaction (jute.maxbuffer plus its extra size). */
#define TXNLOG_JAVA_PAYLOAD_MAX (2 * 1048575)

/* The 16 bytes at the start of every log file. */
extern const uint8_t txnlog_header[TXNLOG_HEADER_BYTES];

/* Starts an entry at the end of b and returns its offset; the payload is appended next. */
size_t txnlog_entry_begin(struct buf *b);
/* Fills in checksum and length and appends the end byte. */
void txnlog_entry_end(struct buf *b, size_t start);

/* Sequential reader of one file. */
struct txnlog_reader;

enum txnlog_status {
    TXNLOG_RECORD,  /* a payload follows */
    TXNLOG_END,     /* physical end of file at an entry boundary, or zeros: padding, if nothing else follows */
    TXNLOG_TORN,    /* the file ends inside an entry, or inside its header */
    TXNLOG_DAMAGED, /* checksum, length or end byte is wrong */
    TXNLOG_IO,      /* the disk reported an error, see err */
};
enum txnlog_damage { TXNLOG_BAD_NONE, TXNLOG_BAD_CHECKSUM, TXNLOG_BAD_LENGTH, TXNLOG_BAD_END_BYTE, TXNLOG_BAD_MAGIC };

struct txnlog_result {
    enum txnlog_status status;
    enum txnlog_damage damage;
    int err;
    int64_t offset;       /* of the entry (or of the damage) */
    struct slice payload; /* valid until the next call */
};

/* NULL and *err set (negative errno) if it cannot be opened. max_payload: a longer length word counts as damage. */
struct txnlog_reader *txnlog_reader_open(const struct disk *d, const char *name, size_t max_payload, int *err);
struct txnlog_result txnlog_reader_next(struct txnlog_reader *r);
/* For a file that is being written: looks at it anew behind the last entry, also after TXNLOG_END. The payload given last is not
 * valid any more. 0 or a negative errno. */
int txnlog_reader_refresh(struct txnlog_reader *r);
/* After TORN, DAMAGED or END: looks for a valid entry anywhere behind that place (checksum, end byte, plausible header, a
 * zxid above the given one: a node's data may hold an old log). True and its place if there is one: then what lies between
 * is damage in the middle and not a torn tail. */
bool txnlog_reader_resync(struct txnlog_reader *r, zxid_t above, int64_t *offset, zxid_t *zxid);
/* After DAMAGED: if a valid entry begins right behind the damaged one (whose length is then right), the next one read is
 * that, and *zxid is its zxid. For damage that a snapshot covers. */
bool txnlog_reader_skip(struct txnlog_reader *r, zxid_t *zxid);
/* Where the zeros begin that fill the file to its end; from itself if there is nothing else behind it. */
int64_t txnlog_reader_data_end(struct txnlog_reader *r, int64_t from);
/* 0, or the error of the disk that made one of the functions above give up. */
int txnlog_reader_err(const struct txnlog_reader *r);
int64_t txnlog_reader_size(const struct txnlog_reader *r);
void txnlog_reader_close(struct txnlog_reader *r);
/* The zxid in the header of a payload; -1 if the payload is too short for one. */
zxid_t txnlog_payload_zxid(struct slice payload);
/* Readable name of a damage, such as "bad checksum". */
const char *txnlog_damage_text(enum txnlog_damage damage);

#endif
