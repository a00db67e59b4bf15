/* When it is tried again: never at once, never not at all. */

#include "scratch.h"

#include <limits.h>

#include "ecert_net_work.h"

#define MANY 2000

static void assert_between(unsigned failures, int64_t low, int64_t high)
{
    int64_t least = INT64_MAX, most = 0;

    for (int i = 0; i < MANY; i++) {
        int64_t ms = ecert_net_backoff(failures);

        assert_uint_in_range(ms, low, high);
        least = ms < least ? ms : least;
        most = ms > most ? ms : most;
    }
    assert_true(most - least > (high - low) / 2); /* spread */
}

static void test_backoff(void **state)
{
    (void)state;
    assert_between(0, 30000, 36000);
    assert_between(1, 30000, 36000);
    assert_between(2, 48000, 72000);
    assert_between(3, 96000, 144000);
    assert_between(7, 1536000, 2304000);
    assert_between(8, 2880000, 4320000);
    assert_between(9, 2880000, 4320000);
    assert_between(1000, 2880000, 4320000);
    assert_between(UINT_MAX, 2880000, 4320000);
}

static void test_spread(void **state)
{
    static int seen[10];
    int64_t ms = 100000;

    (void)state;
    for (int i = 0; i < MANY; i++) {
        int64_t less = ms - ecert_net_spread(ms);

        assert_uint_in_range(less, 0, ms / 10);
        seen[less * 9 / (ms / 10)] = 1;
    }
    for (int i = 0; i < 9; i++) {
        assert_true(seen[i]);
    }
    assert_int_equal(ecert_net_spread(0), 0);
    assert_int_equal(ecert_net_spread(9), 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_spread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
