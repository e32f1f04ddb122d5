/* Any bytes as a configuration file: read, checked and described without a crash. The first byte chooses how; includes
 * and the dynamic file get the same bytes again, so that nesting is tried, too. */
#include <errno.h>

#include "base/buf.h"
#include "server/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t size;
    int reads; /* a file that names many includes must not make one run endless */
};

static int read_input(void *ctx, const char *path, struct buf *out) {
    struct input *in = ctx;
    (void)path;
    if (in->reads++ > 5)
        return -ENOENT;
    buf_append(out, in->data, in->size);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct config c;
    struct config_log log = {0};
    if (size == 0)
        return 0;
    struct input in = {data + 1, size - 1, 0};
    config_defaults(&c);
    if (data[0] & 2) {
        struct buf text = BUF_INIT;
        buf_append(&text, in.data, in.size);
        buf_append(&text, "", 1);
        config_jvm_flags(&c, "JVMFLAGS", (const char *)text.data, &log);
        buf_free(&text);
    }
    config_load(&c, "zoo.cfg", read_input, &in, &log);
    config_validate(&c, data[0] & 1, &log);
    for (size_t i = 0; i < config_option_count(); i++) {
        struct config_description d;
        struct buf value = BUF_INIT;
        config_describe(&c, i, &d, &value);
        buf_free(&value);
    }
    config_log_free(&log);
    config_free(&c);
    return 0;
}
