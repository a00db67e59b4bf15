/* Keys in the snapshot: in no core dump, and not for longer than published. */

#include "snap_pair.h"

#include "ecert_visits.h"

static ecert_err_t err;

static void publish(pair_t *pair, const char *text)
{
    assert_int_equal(ecert_snap_publish(pair->writer, 0, (const void *)text,
                                        strlen(text), &err),
                     0);
}

/*
 * Mappings of this file, and how many of them core dumps leave out.  Mappings
 * that are not ours have "dd" as well: flags count below their own line alone.
 */
static int mappings(const char *file, int *left_out)
{
    FILE *smaps = fopen("/proc/self/smaps", "re");
    int found = 0, inside = 0;
    unsigned long from, to;
    char line[512];

    *left_out = 0;
    assert_non_null(smaps);
    while (fgets(line, sizeof(line), smaps) != NULL) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
            inside = strstr(line, file) != NULL;
            found += inside;
        } else if (strncmp(line, "VmFlags:", 8) == 0) {
            *left_out += inside && strstr(line, " dd") != NULL;
        }
    }
    fclose(smaps);
    return found;
}

static void test_not_dumped(void **state)
{
    int left_out;
    pair_t pair;

    (void)state;
    open_pair(&pair, 1);
    assert_int_equal(mappings("memfd:ecert-snapshot", &left_out), 3);
    assert_int_equal(left_out, 2); /* all but raw */
    close_pair(&pair);
    assert_int_equal(mappings("memfd:ecert-snapshot", &left_out), 0);
}

/* Addresses of clients. */
static void test_visits_not_dumped(void **state)
{
    int fd = ecert_visits_create(&err), left_out;
    ecert_visits_t *visits = ecert_visits_open(fd, &err);

    (void)state;
    assert_non_null(visits);
    assert_int_equal(mappings("memfd:ecert-visits", &left_out), 1);
    assert_int_equal(left_out, 1);
    ecert_visits_close(visits);
    close(fd);
}

static unsigned char *find(const pair_t *pair, const char *text)
{
    return memmem(pair->raw, pair->size, text, strlen(text));
}

/* What a buffer held goes when it is used again, also behind what is shorter.
 */
static void test_wiped(void **state)
{
    static const unsigned char nothing[64];
    const char *key = "-a key that is of some length-";
    unsigned char *at_byte;
    pair_t pair;

    (void)state;
    open_pair(&pair, 1);
    publish(&pair, key);
    at_byte = find(&pair, key);
    assert_non_null(at_byte);
    publish(&pair, "of the other buffer");
    assert_memory_equal(at_byte, key, strlen(key));
    publish(&pair, "ab");
    assert_memory_equal(at_byte, "ab", 2);
    assert_memory_equal(at_byte + 2, nothing, sizeof(nothing));
    assert_null(find(&pair, key + 2));
    close_pair(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_dumped),
        cmocka_unit_test(test_visits_not_dumped),
        cmocka_unit_test(test_wiped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
