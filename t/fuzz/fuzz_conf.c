/* The configuration as the agent reads it (ecert_conf*), and the values of
 * directives: what is written again reads the same. */

#include "fuzz.h"

#include <unistd.h>

#include <sys/mman.h>

#include "ecert_conf.h"

static ecert_conf_t *read_conf(const void *bytes, size_t len, ecert_err_t *err)
{
    int fd = memfd_create("ecert-fuzz", MFD_CLOEXEC);
    ecert_conf_t *conf;

    FUZZ_CHECK(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
    conf = ecert_conf_read(fd, err);
    close(fd);
    return conf;
}

static char *written(const ecert_conf_t *conf, size_t *len)
{
    int fd = memfd_create("ecert-fuzz", MFD_CLOEXEC);
    ecert_err_t err;
    char *out;

    FUZZ_CHECK(fd >= 0 && ecert_conf_write(conf, fd, &err) == 0);
    out = fuzz_read_all(fd, len);
    close(fd);
    return out;
}

static void whole(const uint8_t *bytes, size_t len)
{
    ecert_conf_t *conf, *again;
    ecert_err_t err;
    size_t n[2];
    char *text[2];

    conf = read_conf(bytes, len, &err);
    if (conf == NULL) {
        fuzz_check_err(&err);
        return;
    }
    text[0] = written(conf, &n[0]);
    again = read_conf(text[0], n[0], &err);
    FUZZ_CHECK(again != NULL && again->n_sites == conf->n_sites);
    for (size_t i = 0; i < conf->n_sites; i++) {
        FUZZ_CHECK(memcmp(conf->sites[i].id, again->sites[i].id, 32) == 0);
        FUZZ_CHECK(ecert_site_label(&conf->sites[i]) != NULL);
    }
    text[1] = written(again, &n[1]);
    FUZZ_CHECK(n[0] == n[1] && memcmp(text[0], text[1], n[0]) == 0);
    ecert_conf_free(conf);
    ecert_conf_free(again);
    free(text[0]);
    free(text[1]);
}

/* A moment that is read is written like this. */
static void date(const char *text)
{
    int64_t seconds, again;
    char out[32];
    ecert_err_t err;

    if (ecert_date_parse(text, &seconds, &err) != 0) {
        fuzz_check_err(&err);
        return;
    }
    FUZZ_CHECK(strncmp(ecert_date_format(seconds, out), text, 10) == 0);
    FUZZ_CHECK(ecert_date_parse(out, &again, &err) == 0 && again == seconds);
}

static void values(const uint8_t *bytes, size_t len)
{
    fuzz_in_t in = {bytes, len};
    int64_t any = fuzz_eight(&in);
    char *text = fuzz_line(&in), out[32];
    ecert_conf_t *conf = ecert_conf_new();
    ecert_cross_t cross = {0};
    ecert_err_t err;

    FUZZ_CHECK(conf != NULL);
    date(text);
    FUZZ_CHECK(strlen(ecert_date_format(any, out)) < sizeof(out));
    if (ecert_cross_parse(text, &cross, &err) != 0) {
        fuzz_check_err(&err);
    }
    if (ecert_conf_fetch(conf, text, &err) != 0) {
        fuzz_check_err(&err);
    }
    ecert_conf_free(conf);
    free(text);
}

static void run(const uint8_t *bytes, size_t len)
{
    whole(bytes, len);
    values(bytes, len);
}

static void seeds(void)
{
    fuzz_seed_text(
        "ecert-configuration 1\nserver nginx/1.22.1\nstore /var/lib/ecert\n"
        "agent /usr/sbin/ecert\nlog-file /var/log/nginx/error.log\n"
        "log-prefix %Y/%m/%d [{level}] {pid}: \ndcv on\nfetch on\n"
        "fetch allow=10.0.0.0/8\nsite\nname www.example.hk\n"
        "issuers /etc/ca.pem\nvhost www.example.hk\nvhost example.hk\n"
        "cross 4 1820000000\nstapling on\nwhere /etc/nginx/a.conf:12\nend\n"
        "site\ncertificate /a/c.pem\nkey /a/k.pem\ncatalogue /a/ca.json\n"
        "cross 0 0\nend\n");
    fuzz_seed_text("ecert-configuration 1\nsite\nname a\n");
    fuzz_seed_text("12345678"
                   "2027-04-15T23:59:59Z");
    fuzz_seed_text("\xff\xff\xff\xff\xff\xff\xff\x7f"
                   "until=2028-02-29");
    fuzz_seed_text("\1\1\1\1\1\1\1\x80"
                   "allow=fd00::/8");
}

static const char *const words[] = {"ecert-configuration 1\n",
                                    "site\n",
                                    "end\n",
                                    "name ",
                                    "certificate /",
                                    "key /",
                                    "catalogue /",
                                    "issuers /",
                                    "vhost ",
                                    "cross ",
                                    "stapling on\n",
                                    "where /",
                                    "log-prefix ",
                                    "fetch allow=",
                                    "until=",
                                    "-9223372036854775808",
                                    "2028-02-29",
                                    "T00:00:00Z",
                                    "::ffff:1.2.3.4/",
                                    NULL};

FUZZ_TARGET(conf, .run = run, .seeds = seeds, .max = 2048, .words = words);
