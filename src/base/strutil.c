#include "base/strutil.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static int digit_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 99;
}

static bool parse_digits(const char *p, const char *end, int base, bool negative, int64_t *value) {
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    uint64_t sum = 0;
    if (p == end)
        return false;
    for (; p < end; p++) {
        int d = digit_value(*p);
        if (d >= base || sum > (limit - (uint64_t)d) / (uint64_t)base)
            return false;
        sum = sum * (uint64_t)base + (uint64_t)d;
    }
    *value = negative ? (int64_t)(0 - sum) : (int64_t)sum;
    return true;
}

static bool take_sign(const char **p, const char *end) {
    if (*p < end && (**p == '-' || **p == '+'))
        return *(*p)++ == '-';
    return false;
}

bool str_to_i64(struct slice text, int64_t *value) {
    const char *p = text.data, *end = p + text.len;
    bool negative = take_sign(&p, end);
    return parse_digits(p, end, 10, negative, value);
}

bool str_decode_i64(struct slice text, int64_t *value) {
    const char *p = text.data, *end = p + text.len;
    bool negative = take_sign(&p, end);
    int base = 10;
    if (end - p > 2 && p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
        base = 16;
        p += 2;
    } else if (end - p > 1 && p[0] == '#') {
        base = 16;
        p++;
    } else if (end - p > 1 && p[0] == '0') {
        base = 8;
        p++;
    }
    return parse_digits(p, end, base, negative, value);
}

bool str_hex_to_i64(struct slice text, int64_t *value) {
    const char *p = text.data, *end = p + text.len;
    bool negative = take_sign(&p, end);
    return parse_digits(p, end, 16, negative, value);
}

void str_base64(struct buf *out, const uint8_t *data, size_t size) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t v = (uint32_t)data[i] << 16;
        if (left > 1)
            v |= (uint32_t)data[i + 1] << 8;
        if (left > 2)
            v |= data[i + 2];
        char quad[4] = {alphabet[v >> 18], alphabet[v >> 12 & 63], left > 1 ? alphabet[v >> 6 & 63] : '=',
                        left > 2 ? alphabet[v & 63] : '='};
        buf_append(out, quad, 4);
    }
}

/* Length of the well-formed sequence at p, or 0; *bad is then how many bytes Java replaces by one U+FFFD. */
static size_t utf8_sequence(const uint8_t *p, const uint8_t *end, size_t *bad) {
    uint8_t c = p[0];
    size_t left = (size_t)(end - p), need;
    uint8_t low = 0x80, high = 0xbf;
    *bad = 1;
    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c <= 0xdf)
        need = 2;
    else if (c >= 0xe0 && c <= 0xef) {
        need = 3;
        low = c == 0xe0 ? 0xa0 : 0x80;
        high = c == 0xed ? 0x9f : 0xbf;
    } else if (c >= 0xf0 && c <= 0xf4) {
        need = 4;
        low = c == 0xf0 ? 0x90 : 0x80;
        high = c == 0xf4 ? 0x8f : 0xbf;
    } else
        return 0;
    for (size_t i = 1; i < need; i++) {
        if (i >= left || p[i] < low || p[i] > high) {
            *bad = i;
            /* An encoded surrogate is one malformed sequence for Java, whole or cut off after two bytes. */
            if (c == 0xed && i == 1 && left >= 2 && p[1] >= 0xa0 && p[1] <= 0xbf)
                *bad = left >= 3 && (p[2] & 0xc0) == 0x80 ? 3 : 2;
            return 0;
        }
        low = 0x80;
        high = 0xbf;
    }
    return need;
}

bool str_utf8_valid(const uint8_t *data, size_t size) {
    const uint8_t *p = data, *end = data + size;
    while (p < end) {
        size_t bad, n = utf8_sequence(p, end, &bad);
        if (n == 0)
            return false;
        p += n;
    }
    return true;
}

static void append_utf16_unit(struct buf *out, uint32_t unit) {
    uint8_t bytes[3] = {(uint8_t)(0xe0 | unit >> 12), (uint8_t)(0x80 | (unit >> 6 & 63)), (uint8_t)(0x80 | (unit & 63))};
    buf_append(out, bytes, 3);
}

void str_java_echo(struct buf *out, const uint8_t *data, size_t size) {
    const uint8_t *p = data, *end = data + size;
    while (p < end) {
        size_t bad, n = utf8_sequence(p, end, &bad);
        if (n == 0) {
            append_utf16_unit(out, 0xfffd);
            p += bad;
        } else if (n == 4) {
            uint32_t cp = (uint32_t)(p[0] & 7) << 18 | (uint32_t)(p[1] & 63) << 12 | (uint32_t)(p[2] & 63) << 6 | (p[3] & 63);
            append_utf16_unit(out, 0xd800 + ((cp - 0x10000) >> 10));
            append_utf16_unit(out, 0xdc00 + ((cp - 0x10000) & 0x3ff));
            p += 4;
        } else {
            buf_append(out, p, n);
            p += n;
        }
    }
}

/* The fewest digits that read back as the same number, as "d.ddd" in text; returns the exponent of ten. */
static int shortest_digits(double value, char *text, size_t size) {
    for (int precision = 1;; precision++) {
        snprintf(text, size, "%.*e", precision, value);
        if (precision == 16 || strtod(text, NULL) == value)
            break;
    }
    char *e = strchr(text, 'e');
    int exponent = atoi(e + 1);
    *e = '\0';
    return exponent;
}

/* Java rounds the exact value, half up. So where the product is half a unit, what it lost in rounding decides. Numbers from
 * 2^53 units on have no neighbour near enough to be rounded to. */
static double round_4_decimals(double value) {
    double units = fabs(value) * 10000, lost = fma(fabs(value), 10000, -units), whole = floor(units);
    if (!(units < 0x1p53))
        return value;
    if (units - whole - 0.5 + lost >= 0)
        whole++;
    return copysign(whole / 10000, value);
}

void str_java_double(struct buf *out, double value) {
    value = round_4_decimals(value);
    char text[48];
    if (value != 0 && (fabs(value) >= 1e7 || fabs(value) < 1e-3)) {
        int exponent = shortest_digits(value, text, sizeof text);
        buf_printf(out, "%sE%d", text, exponent);
        return;
    }
    snprintf(text, sizeof text, "%.4f", value);
    size_t n = strlen(text);
    while (text[n - 1] == '0' && text[n - 2] != '.')
        n--;
    buf_append(out, text, n);
}

unsigned str_distance(const char *a, const char *b) {
    size_t na = strlen(a), nb = strlen(b);
    unsigned row[64];
    if (na > 63 || nb > 63)
        return 1000;
    for (size_t j = 0; j <= nb; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= na; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= nb; j++) {
            unsigned above = row[j];
            unsigned cost = strncasecmp(a + i - 1, b + j - 1, 1) == 0 ? 0 : 1;
            unsigned best = diagonal + cost;
            if (above + 1 < best)
                best = above + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[nb];
}
