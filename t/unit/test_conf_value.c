/* What no value of a directive may be. */

#include "scratch.h"

#include "ecert_conf.h"

static void test_wrong_values(void **state)
{
    static const struct {
        const char *value, *says; /* NULL: nothing wrong */
    } values[] = {
        {"", "empty"},
        {"a\nb", "control"},
        {"$ssl_server_name", "variable"},
        {"/etc/${name}.pem", "variable"},
        {"$1", "variable"},
        {"/etc/$_", "variable"},
        {"%{HTTP_HOST}", "variable"},
        {"100%$ $${x}", "variable"},
        {"engine:e:1", "engine:"},
        {"store:file:/k", "store:"},
        {"data:x", "data:"},
        {"file:/k", "file:"},
        {"pkcs11:object=k", "pkcs11:"},
        {"/etc/100%/a$.pem", NULL},
        {"/etc/engine:x", NULL},
        {"a$", NULL},
        {"www.example.hk", NULL},
        {"\xe4\xb8\xad.hk", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        const char *wrong = ecert_conf_wrong(values[i].value);

        if (values[i].says == NULL) {
            assert_null(wrong);
        } else {
            assert_non_null(wrong);
            assert_non_null(strstr(wrong, values[i].says));
        }
    }
}

static void test_commands(void **state)
{
    static const char *const ours[] = {"Certificate",    "PRIVATEKEY",
                                       "ServerInfoFile", "chaincafile",
                                       "ChainCAPath",    "ChainCAStore"};
    static const char *const others[] = {"", "Certificates", "Options",
                                         "VerifyCAFile", "DHParameters"};

    (void)state;
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        assert_non_null(ecert_conf_command(ours[i]));
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_null(ecert_conf_command(others[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_values),
        cmocka_unit_test(test_commands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
