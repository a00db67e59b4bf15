/* What a jailed process says, as its keeper understands it (ecert_frames), also
 * through an errand's pipe (ecert_errand) and as a parcel. */

#include "fuzz.h"

#include <fcntl.h>
#include <unistd.h>

#include <sys/mman.h>

#include "ecert_fetcher_work.h"
#include "ecert_jail_work.h"
#include "ecert_parcel_work.h"
#include "ecert_pem.h"
#include "ecert_pfx.h"

#define PIPE 60000 /* what a pipe takes at once */

/* Said again, it is what it was. */
static void say_again(const ecert_frames_t *frames, const ecert_err_t *said,
                      const uint8_t *bytes, size_t len)
{
    int fd = memfd_create("ecert-fuzz", MFD_CLOEXEC);
    ecert_frames_t again = {0};
    ecert_err_t err;
    size_t n;
    char *all;

    FUZZ_CHECK(fd >= 0 && ecert_answer_write(fd, frames, said) == 0);
    all = fuzz_read_all(fd, &n);
    close(fd);
    if (frames != NULL) {
        FUZZ_CHECK(n == len && memcmp(all, bytes, n) == 0);
    } else {
        FUZZ_CHECK(ecert_answer_read((unsigned char *)all, n, &again, &err)
                   == ECERT_ANSWER_REFUSED);
        FUZZ_CHECK(err.code == said->code && err.sys == said->sys);
        FUZZ_CHECK(strcmp(err.file, said->file) == 0);
        FUZZ_CHECK(strcmp(err.detail, said->detail) == 0);
        FUZZ_CHECK(strcmp(err.hint, said->hint) == 0);
        ecert_frames_free(&again);
    }
    free(all);
}

static void as_parcel(const ecert_frames_t *frames, int pfx)
{
    ecert_parcel_t parcel = {.pfx = pfx};
    ecert_err_t err;

    if (ecert_parcel_take(&parcel, frames, "a.pfx", &err) != 0) {
        fuzz_check_err(&err);
    } else {
        FUZZ_CHECK(parcel.certificates != NULL);
        FUZZ_CHECK(sk_X509_num(parcel.certificates)
                   <= (pfx ? ECERT_PFX_CERTIFICATES : ECERT_PEM_CERTIFICATES));
        fuzz_check_text(parcel.friendly_name);
    }
    ecert_parcel_free(&parcel);
}

/* What comes behind the words of progress is the answer. */
static ecert_answer_state_t answer_of(const uint8_t *bytes, size_t len)
{
    const size_t progress = 1 + sizeof(ecert_errand_progress_t);
    ecert_frames_t frames = {0};
    ecert_answer_state_t answer;
    ecert_err_t err;

    while (len >= progress && bytes[0] == ECERT_ERRAND_PROGRESS) {
        bytes += progress;
        len -= progress;
    }
    answer = ecert_answer_read(bytes, len, &frames, &err);
    ecert_frames_free(&frames);
    return answer;
}

static void as_errand(const uint8_t *bytes, size_t len)
{
    const ecert_answer_state_t answer = answer_of(bytes, len);
    ecert_errand_t errand = {.deadline = 1000,
                             .size = PIPE + 1,
                             .tells = PIPE,
                             .bytes = malloc(PIPE + 1)};
    ecert_frames_t frames;
    ecert_err_t err;
    size_t half = len / 2;
    int ends[2], rc;

    FUZZ_CHECK(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    errand.fd = ends[0];
    FUZZ_CHECK(write(ends[1], bytes, half) == (ssize_t)half);
    FUZZ_CHECK(ecert_errand_read(&errand, "http://a.hk/", 0, &frames, &err)
               == 0);
    FUZZ_CHECK(write(ends[1], bytes + half, len - half)
               == (ssize_t)(len - half));
    close(ends[1]);
    rc = ecert_errand_read(&errand, "http://a.hk/", 0, &frames, &err);
    FUZZ_CHECK(rc == (answer == ECERT_ANSWER_FRAMES ? 1 : -1));
    FUZZ_CHECK(errand.fd == -1);
    if (rc < 0) {
        fuzz_check_err(&err);
    }
    ecert_frames_free(&frames);
}

static void run(const uint8_t *bytes, size_t len)
{
    ecert_frames_t frames = {0};
    ecert_err_t err = {0};
    ecert_answer_state_t answer = ecert_answer_read(bytes, len, &frames, &err);

    FUZZ_CHECK(frames.n <= ECERT_JAIL_FRAMES);
    if (answer == ECERT_ANSWER_FRAMES) {
        say_again(&frames, NULL, bytes, len);
        as_parcel(&frames, 0);
        as_parcel(&frames, 1);
    } else if (answer == ECERT_ANSWER_REFUSED) {
        fuzz_check_err(&err);
        say_again(NULL, &err, NULL, 0);
    }
    ecert_frames_free(&frames);
    if (len <= PIPE) {
        as_errand(bytes, len);
    }
}

static void seed(const ecert_frames_t *frames, const ecert_err_t *err)
{
    int fd = memfd_create("ecert-fuzz", MFD_CLOEXEC);
    size_t len;
    char *all;

    FUZZ_CHECK(fd >= 0 && ecert_answer_write(fd, frames, err) == 0);
    all = fuzz_read_all(fd, &len);
    close(fd);
    fuzz_seed(all, len);
    free(all);
}

/* Takes der over. */
static void add(ecert_frames_t *frames, unsigned char kind, unsigned char *der,
                int len)
{
    ecert_err_t err;

    FUZZ_CHECK(len > 0);
    FUZZ_CHECK(ecert_frames_add(frames, kind, der, (size_t)len, &err) == 0);
    OPENSSL_free(der);
}

static void seeds(void)
{
    const pki_t *pki = fuzz_pki();
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(pki->leaf_key);
    unsigned char *der = NULL;
    ecert_frames_t frames = {0};
    ecert_err_t err;
    int len;

    seed(&frames, NULL);
    ecert_err(&err, ECERT_ERR_PASSWORD, "a.pfx", "no \x1b");
    ecert_err_hint(&err, "see \xe9\xa6\x99");
    seed(NULL, &err);
    len = i2d_X509(pki->leaf, &der);
    add(&frames, ECERT_PARCEL_CERTIFICATE, der, len);
    der = NULL;
    len = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
    add(&frames, ECERT_PARCEL_KEY, der, len);
    PKCS8_PRIV_KEY_INFO_free(info);
    FUZZ_CHECK(ecert_frames_add(&frames, ECERT_PARCEL_NAME, "my\nkey", 6, &err)
               == 0);
    seed(&frames, NULL);
    ecert_frames_free(&frames);
}

static const char *const words[] = {"\\x1b", "\xe2\x80\xae", "\xff\1", "\1\1",
                                    NULL};

FUZZ_TARGET(frames, .run = run, .seeds = seeds, .max = 3000, .words = words);
