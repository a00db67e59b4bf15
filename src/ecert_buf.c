#include "ecert_buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

void ecert_buf_init(ecert_buf_t *buf, size_t max)
{
    memset(buf, 0, sizeof(*buf));
    buf->max = max;
}

void ecert_buf_free(ecert_buf_t *buf)
{
    OPENSSL_clear_free(buf->bytes, buf->size);
    ecert_buf_init(buf, buf->max);
}

/* Room for len more bytes and the terminator; -1 when that is refused. */
static int make_room(ecert_buf_t *buf, size_t len)
{
    if (buf->failed || len > buf->max - buf->len) {
        buf->failed = 1;
        return -1;
    }
    size_t need = buf->len + len + 1;
    if (need <= buf->size) {
        return 0;
    }
    size_t size = buf->size < 128 ? 256 : buf->size * 2;
    if (size < need) {
        size = need;
    }
    if (size > buf->max + 1) {
        size = buf->max + 1;
    }
    unsigned char *bytes = OPENSSL_clear_realloc(buf->bytes, buf->size, size);
    if (bytes == NULL) {
        buf->failed = 1;
        return -1;
    }
    buf->bytes = bytes;
    buf->size = size;
    return 0;
}

int ecert_buf_add(ecert_buf_t *buf, const void *bytes, size_t len)
{
    if (make_room(buf, len) != 0) {
        return -1;
    }
    if (len > 0) {
        memcpy(buf->bytes + buf->len, bytes, len);
    }
    buf->len += len;
    buf->bytes[buf->len] = '\0';
    return 0;
}

int ecert_buf_printf(ecert_buf_t *buf, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0) {
        buf->failed = 1;
    }
    if (len < 0 || make_room(buf, (size_t)len) != 0) {
        return -1;
    }
    va_start(args, fmt);
    vsnprintf((char *)buf->bytes + buf->len, (size_t)len + 1, fmt, args);
    va_end(args);
    buf->len += (size_t)len;
    return 0;
}
