/* What a jailed process says, as its keeper understands it. */

#include "scratch.h"

#include "ecert_jail_work.h"

static ecert_err_t err;
static ecert_frames_t frames;

static int frames_teardown(void **state)
{
    (void)state;
    ecert_frames_free(&frames);
    return 0;
}

/* What ecert_answer_write says, through a pipe that is wide enough. */
static size_t spoken(const ecert_frames_t *said, const ecert_err_t *error,
                     unsigned char *out, size_t size)
{
    int ends[2];
    ssize_t n;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(ecert_answer_write(ends[1], said, error), 0);
    close(ends[1]);
    n = read(ends[0], out, size);
    assert_true(n > 0 && (size_t)n < size);
    close(ends[0]);
    return (size_t)n;
}

/* A copy that ends where it ends, so that a sanitizer sees a step beyond. */
static ecert_answer_state_t understood(const unsigned char *bytes, size_t len)
{
    unsigned char *copy = malloc(len ? len : 1);
    ecert_answer_state_t answer;

    assert_non_null(copy);
    memcpy(copy, bytes, len);
    ecert_frames_free(&frames);
    answer = ecert_answer_read(copy, len, &frames, &err);
    free(copy);
    return answer;
}

static size_t spoken_example(unsigned char *out, size_t size)
{
    ecert_frames_t said = {0};
    size_t len;

    assert_int_equal(ecert_frames_add(&said, 1, "one", 3, &err), 0);
    assert_int_equal(ecert_frames_add(&said, 254, NULL, 0, &err), 0);
    assert_int_equal(ecert_frames_add(&said, 2, "a\0b", 3, &err), 0);
    len = spoken(&said, NULL, out, size);
    ecert_frames_free(&said);
    return len;
}

static void test_frames(void **state)
{
    unsigned char bytes[256];
    size_t len = spoken_example(bytes, sizeof(bytes));

    (void)state;
    assert_int_equal(understood(bytes, len), ECERT_ANSWER_FRAMES);
    assert_int_equal(frames.n, 3);
    assert_int_equal(frames.frames[0].kind, 1);
    assert_int_equal(frames.frames[0].len, 3);
    assert_memory_equal(frames.frames[0].bytes, "one", 3);
    assert_int_equal(frames.frames[1].kind, 254);
    assert_int_equal(frames.frames[1].len, 0);
    assert_int_equal(frames.frames[2].kind, 2);
    assert_memory_equal(frames.frames[2].bytes, "a\0b", 3);
}

static void test_cut(void **state)
{
    unsigned char bytes[2048];
    size_t len = spoken_example(bytes, sizeof(bytes));

    (void)state;
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(understood(bytes, i), ECERT_ANSWER_BAD);
    }
    ecert_err(&err, ECERT_ERR_PASSWORD, "a.pfx", "no");
    len = spoken(NULL, &err, bytes, sizeof(bytes));
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(understood(bytes, i), ECERT_ANSWER_BAD);
    }
    assert_int_equal(understood(bytes, len), ECERT_ANSWER_REFUSED);
    bytes[len] = 0;
    assert_int_equal(understood(bytes, len + 1), ECERT_ANSWER_BAD);
}

/* Every byte changed to every value: the answer stays within its bounds. */
static void test_changed(void **state)
{
    unsigned char bytes[2048];
    size_t len;

    (void)state;
    ecert_err(&err, ECERT_ERR_PASSWORD, "a.pfx", "no\x1b");
    len = spoken(NULL, &err, bytes, sizeof(bytes));
    for (size_t i = 0; i < len; i++) {
        unsigned char kept = bytes[i];

        for (int value = 0; value < 256; value++) {
            bytes[i] = (unsigned char)value;
            if (understood(bytes, len) != ECERT_ANSWER_REFUSED) {
                continue;
            }
            assert_true(err.code > ECERT_OK && err.code < ECERT_ERR_LAST);
            for (const char *p = err.detail; *p != '\0'; p++) {
                assert_uint_in_range(*p, 0x20, 0x7e);
            }
        }
        bytes[i] = kept;
    }
}

static void assert_bad(const char *bytes, size_t len)
{
    assert_int_equal(understood((const unsigned char *)bytes, len),
                     ECERT_ANSWER_BAD);
}

#define ASSERT_BAD(literal) assert_bad(literal, sizeof(literal) - 1)

static void test_bad(void **state)
{
    (void)state;
    ASSERT_BAD("");
    ASSERT_BAD("hello, this is no answer at all");
    ASSERT_BAD("\0\1\0\0\0x");                     /* an end with content */
    ASSERT_BAD("\0\0\0\0\0\0\0\0\0\0");            /* two ends */
    ASSERT_BAD("\1\377\377\377\377abc\0\0\0\0\0"); /* 4 GiB */
    ASSERT_BAD("\1\4\0\0\0abc\0\0\0\0\0");
    ASSERT_BAD("\377\0\0\0\0\0\0\0\0\0"); /* an error without content */
}

/* An error frame by hand: code, errno 0, three texts, and an end. */
static size_t error_frame(char *out, int32_t code, uint16_t file_len,
                          size_t behind)
{
    uint32_t len = (uint32_t)(8 + 2 + (size_t)file_len + 2 + 2 + behind);

    memset(out, 0, 4096);
    out[0] = (char)ECERT_ANSWER_ERROR;
    memcpy(out + 1, &len, 4);
    memcpy(out + 5, &code, 4);
    memcpy(out + 13, &file_len, 2);
    memset(out + 15, 'f', file_len);
    return 5 + len + 5;
}

static void test_bad_errors(void **state)
{
    static char bytes[8192];
    size_t len;

    (void)state;
    len = error_frame(bytes, ECERT_ERR_LAST - 1, 5, 0);
    assert_int_equal(understood((unsigned char *)bytes, len),
                     ECERT_ANSWER_REFUSED);
    assert_int_equal(err.code, ECERT_ERR_LAST - 1);
    assert_string_equal(err.file, "fffff");
    assert_bad(bytes, error_frame(bytes, ECERT_ERR_LAST, 5, 0));
    assert_bad(bytes, error_frame(bytes, ECERT_OK, 5, 0));
    assert_bad(bytes, error_frame(bytes, -1, 5, 0));
    assert_bad(bytes, error_frame(bytes, INT32_MIN, 5, 0));
    assert_bad(bytes, error_frame(bytes, ECERT_ERR_FORMAT, 5, 1));
    assert_bad(bytes, error_frame(bytes, ECERT_ERR_FORMAT, 512, 0));
    len = error_frame(bytes, ECERT_ERR_FORMAT, 511, 0);
    assert_int_equal(understood((unsigned char *)bytes, len),
                     ECERT_ANSWER_REFUSED);
    memcpy(bytes + len - 5, "\1\0\0\0\0\0\0\0\0\0", 10); /* a frame behind it */
    assert_bad(bytes, len + 5);
}

static void test_bounds(void **state)
{
    static char bytes[ECERT_JAIL_ANSWER];
    ecert_frames_t said = {0};

    (void)state;
    for (int i = 0; i < ECERT_JAIL_FRAMES; i++) {
        assert_int_equal(ecert_frames_add(&said, 1, "x", 1, &err), 0);
    }
    assert_int_equal(ecert_frames_add(&said, 1, "x", 1, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_TOO_MANY);
    assert_int_equal(said.n, ECERT_JAIL_FRAMES);
    ecert_frames_free(&said);
    assert_int_equal(said.n, 0);
    assert_int_equal(ecert_frames_add(&said, 1, "x", 1, &err), 0);
    assert_int_equal(ecert_frames_add(&said, 1, bytes, sizeof(bytes), &err),
                     -1);
    assert_int_equal(err.code, ECERT_ERR_TOO_LARGE);
    assert_int_equal(ecert_frames_add(&said, 1, bytes, SIZE_MAX, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_TOO_LARGE);
    assert_int_equal(ecert_frames_add(&said, 1, bytes, sizeof(bytes) - 1, &err),
                     0);
    assert_int_equal(ecert_frames_add(&said, 0, "x", 0, &err), -1);
    assert_int_equal(ecert_frames_add(&said, 255, "x", 0, &err), -1);
    assert_int_equal(err.code, ECERT_ERR_USAGE);
    assert_int_equal(said.n, 2);
    ecert_frames_free(&said);
}

static const char *text(const char *bytes, size_t size)
{
    static char out[64];

    memset(out, '#', sizeof(out));
    return ecert_frame_text(out, size, bytes, strlen(bytes));
}

static void test_text(void **state)
{
    char escaped[64];

    (void)state;
    assert_string_equal(text("plain \xe9\xa6\x99", 64), "plain \xe9\xa6\x99");
    assert_string_equal(text("a\\x1b[0m", 64), "a\\x1b[0m");
    assert_string_equal(text("a\x1b[0m", 64), "a\\x1b[0m");
    assert_string_equal(text("a\\b", 64), "a\\x5cb");
    assert_string_equal(text("\\x1", 64), "\\x5cx1");
    assert_string_equal(text("\\X1b\\x1B", 64), "\\x5cX1b\\x5cx1B");
    assert_string_equal(text("\\\\x1b", 64), "\\x5c\\x1b");
    assert_string_equal(text("\xe2\x80\xae\xff", 64), "\\xe2\\x80\\xae\\xff");
    assert_string_equal(text("ab\\x1b", 7), "ab\\x1b");
    assert_string_equal(text("ab\\x1b", 6), "ab");
    assert_string_equal(text("abcdef", 4), "abc");
    assert_string_equal(text("abcdef", 1), "");
    assert_int_equal(text("abcdef", 0)[0], '#');
    assert_string_equal(text("", 64), "");
    ecert_escape(escaped, sizeof(escaped), "\\x1b\x1b\\", 6);
    assert_string_equal(text(escaped, 64), escaped);
}

#define TEST(name) cmocka_unit_test_teardown(name, frames_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_frames), TEST(test_cut),        TEST(test_changed),
        TEST(test_bad),    TEST(test_bad_errors), TEST(test_bounds),
        TEST(test_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
