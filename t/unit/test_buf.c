#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ecert_buf.h"

static void grows(void **state)
{
    ecert_buf_t buf;
    (void)state;
    ecert_buf_init(&buf, 100000);
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(ecert_buf_add(&buf, "0123456789", 10), 0);
        assert_int_equal(buf.bytes[buf.len], '\0');
    }
    assert_int_equal(buf.len, 100000);
    assert_memory_equal(buf.bytes + 99990, "0123456789", 10);
    assert_int_equal(ecert_buf_add(&buf, NULL, 0), 0);
    assert_int_equal(ecert_buf_add(&buf, "x", 1), -1);
    assert_int_equal(buf.failed, 1);
    assert_int_equal(buf.len, 100000);
    ecert_buf_free(&buf);
    assert_null(buf.bytes);
    assert_int_equal(buf.failed, 0);
}

static void prints(void **state)
{
    ecert_buf_t buf;
    (void)state;
    ecert_buf_init(&buf, 16);
    assert_int_equal(ecert_buf_printf(&buf, "%s-%d", "ab", 7), 0);
    assert_int_equal(ecert_buf_printf(&buf, "%s", ""), 0);
    assert_string_equal((char *)buf.bytes, "ab-7");
    assert_int_equal(ecert_buf_printf(&buf, "%012d", 1), 0);
    assert_int_equal(buf.len, 16);
    assert_int_equal(ecert_buf_printf(&buf, "x"), -1);
    /* A failure sticks, even for what would have fitted. */
    assert_int_equal(ecert_buf_add(&buf, "", 0), -1);
    assert_string_equal((char *)buf.bytes, "ab-7000000000001");
    ecert_buf_free(&buf);
}

static void refuses_wrapping(void **state)
{
    ecert_buf_t buf;
    (void)state;
    ecert_buf_init(&buf, 10);
    assert_int_equal(ecert_buf_add(&buf, "abc", 3), 0);
    assert_int_equal(ecert_buf_add(&buf, "abc", (size_t)-2), -1);
    assert_int_equal(buf.len, 3);
    ecert_buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows),
        cmocka_unit_test(prints),
        cmocka_unit_test(refuses_wrapping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
