/* What the agent makes of frames from the fetcher: fingerprints that a server
 * sent (ecert_sent), CA certificates (ecert_net_issuers), OCSP responses
 * (ecert_net_staple).  Nobody gets into the pool but who is of the chain, and
 * what is stapled is what came, and was signed. */

#include "fuzz.h"

#include <fcntl.h>
#include <unistd.h>

#include <openssl/evp.h>

#include <sys/mman.h>
#include <sys/stat.h>

#include "ecert_jail_work.h"
#include "ecert_log.h"
#include "ecert_net_work.h"
#include "ecert_staple.h"
#include "ocsp_make.h"

#define URL "http://ca.example.hk/sub.crt"

/* One agent with one site, whose chain lacks all. */
static struct {
    ecert_conf_t *conf;
    ecert_keeper_t keeper;
    ecert_kept_t kept;
    ecert_net_t *net;
    ecert_net_site_t *site;
    char store[200];
    unsigned touched;
} agent;

static void hold_leaf(void)
{
    ecert_chain_in_t in = {.leaf = fuzz_pki()->leaf, .now = FUZZ_NOW};
    ecert_err_t err;

    ecert_kept_init(&agent.kept, &agent.conf->sites[0], 0);
    agent.kept.held.state = ECERT_STATE_VALID;
    agent.kept.held.chain = ecert_chain_build(&in, &err);
    FUZZ_CHECK(agent.kept.held.chain != NULL);
}

static void add_site(void)
{
    char *catalogue = pki_catalogue(fuzz_pki(), NULL);
    ecert_site_t site = {
        .certificate = "/none/a.pem", .key = "/none/a.pem", .stapling = 1};
    ecert_err_t err;

    site.catalogue = fuzz_file("net.json", catalogue, strlen(catalogue));
    free(catalogue);
    agent.conf = ecert_conf_new();
    FUZZ_CHECK(ecert_conf_add(agent.conf, &site, &err) == 0);
}

static void make_store(void)
{
    char issuers[sizeof(agent.store) + 16];

    snprintf(agent.store, sizeof(agent.store), "%s/store", fuzz_folder());
    snprintf(issuers, sizeof(issuers), "%s/issuers", agent.store);
    FUZZ_CHECK(mkdir(agent.store, 0755) == 0 && mkdir(issuers, 0755) == 0);
}

static void prepare(void)
{
    ecert_err_t err;
    int fd;

    if (agent.net != NULL) {
        return;
    }
    ecert_log_quiet(ECERT_LOG_ERROR);
    add_site();
    make_store();
    fd = ecert_snap_create(1, &err);
    agent.keeper =
        (ecert_keeper_t){.store = agent.store,
                         .loader = ecert_loader_new(agent.store, &err),
                         .snap = ecert_snap_open_writer(fd, &err),
                         .now = FUZZ_NOW,
                         .ms = 1000};
    close(fd);
    FUZZ_CHECK(agent.keeper.loader != NULL && agent.keeper.snap != NULL);
    hold_leaf();
    agent.net = ecert_net_new(&agent.keeper, agent.conf, -1, &err);
    FUZZ_CHECK(agent.net != NULL);
    agent.site = &agent.net->sites[0];
    agent.site->kept = &agent.kept;
}

/* ---- what a server sent ------------------------------------------------ */

static void as_sent(const ecert_frames_t *frames)
{
    STACK_OF(X509) *chain = pki_stack(fuzz_pki()->new_sub, NULL);
    ecert_sent_t sent;
    ecert_err_t err;
    char said[256];

    if (ecert_sent_read(frames, "a.hk", &sent, &err) != 0) {
        fuzz_check_err(&err);
    } else {
        FUZZ_CHECK(sent.n + (size_t)sent.stapled + (sent.failed[0] != 0)
                   == frames->n);
        FUZZ_CHECK(sent.n <= ECERT_SENT_MAX);
        ecert_sent_differs(&sent, fuzz_pki()->leaf, chain, 1, said,
                           sizeof(said));
        fuzz_check_text(said);
    }
    pki_stack_free(chain);
}

/* ---- CA certificates --------------------------------------------------- */

static void touch(void *ctx, uint32_t site)
{
    (void)ctx;
    FUZZ_CHECK(site == 0);
    agent.touched++;
}

static int is_one(const ecert_frames_t *frames, X509 *cert)
{
    unsigned char *der = NULL;
    int len = i2d_X509(cert, &der), same;

    same = len > 0 && frames->n == 1 && frames->frames[0].len == (size_t)len
           && memcmp(frames->frames[0].bytes, der, (size_t)len) == 0;
    OPENSSL_free(der);
    return same;
}

/* 1: it is in the pool now. */
static int as_issuers(const ecert_frames_t *frames)
{
    static char *urls[] = {(char *)(uintptr_t)URL};
    ecert_net_site_t *site = agent.site;

    site->urls = (ecert_net_urls_t){urls, 1, 0};
    site->issuers = (ecert_want_t){.busy = 1};
    agent.touched = 0;
    ecert_net_issuers_take(agent.net, URL, frames, NULL, touch, NULL);
    FUZZ_CHECK(!site->issuers.busy && site->issuers.due > 0);
    FUZZ_CHECK(sk_X509_num(site->found) <= ECERT_NET_ABOVE);
    if (agent.touched > 0) {
        FUZZ_CHECK(is_one(frames, fuzz_pki()->new_sub));
    } else if (site->issuers.error.code != ECERT_OK) {
        fuzz_check_err(&site->issuers.error);
    }
    site->urls = (ecert_net_urls_t){0};
    ecert_net_above_clear(site);
    ecert_net_place_came(agent.net, URL);
    return agent.touched > 0;
}

/* ---- OCSP responses ---------------------------------------------------- */

static void begin_staple(ecert_net_staple_t *staple)
{
    const pki_t *pki = fuzz_pki();

    X509_up_ref(pki->leaf);
    X509_up_ref(pki->new_sub);
    *staple = (ecert_net_staple_t){.leaf = pki->leaf, .issuer = pki->new_sub};
    staple->url = OPENSSL_strdup("http://ocsp.example.hk");
    FUZZ_CHECK(X509_digest(pki->leaf, EVP_sha256(), staple->digest, NULL) == 1);
}

/* What workers read is this response, or nothing when it does not say good. */
static void check_published(const ecert_net_staple_t *staple)
{
    ecert_staple_t list[ECERT_STAPLES];
    unsigned char *bytes;
    uint64_t generation;
    ecert_err_t err;
    size_t len, n = 0;

    FUZZ_CHECK(ecert_snap_read(agent.keeper.snap,
                               ecert_snap_staple_slot(agent.keeper.snap, 0),
                               &bytes, &len, &generation, &err)
               == 0);
    FUZZ_CHECK(ecert_staple_decode(bytes, len, list, &n, &err) == 0 && n == 1);
    if (staple->facts.status != ECERT_OCSP_GOOD) {
        FUZZ_CHECK(list[0].len == 0);
    } else {
        FUZZ_CHECK(list[0].len == staple->len);
        FUZZ_CHECK(memcmp(list[0].der, staple->der, staple->len) == 0);
    }
    ecert_snap_free(bytes, len);
}

/* 1: it is stapled, or takes back what was. */
static int as_staple(const ecert_frames_t *frames)
{
    ecert_net_staple_t *staple = &agent.site->served;
    unsigned char digest[32];
    int taken;

    begin_staple(staple);
    memcpy(digest, staple->digest, sizeof(digest));
    ecert_net_staple_take(agent.net, agent.site, digest, frames, NULL);
    if (staple->der == NULL) {
        FUZZ_CHECK(staple->want.error.code != ECERT_OK);
        fuzz_check_err(&staple->want.error);
    } else {
        FUZZ_CHECK(frames->n == 1 && frames->frames[0].len == staple->len);
        FUZZ_CHECK(memcmp(frames->frames[0].bytes, staple->der, staple->len)
                   == 0);
        FUZZ_CHECK(staple->facts.next_update > FUZZ_NOW);
        check_published(staple);
    }
    taken = staple->der != NULL;
    ecert_net_staple_clear(staple);
    return taken;
}

static void run(const uint8_t *bytes, size_t len)
{
    ecert_frames_t frames = {0};
    ecert_err_t err;

    prepare();
    if (ecert_answer_read(bytes, len, &frames, &err) == ECERT_ANSWER_FRAMES) {
        as_sent(&frames);
        as_issuers(&frames);
        as_staple(&frames);
    }
    ecert_frames_free(&frames);
}

/* ---- seeds ------------------------------------------------------------- */

/* Frees the frames. */
static void seed(ecert_frames_t *frames)
{
    int fd = memfd_create("ecert-fuzz", MFD_CLOEXEC);
    ecert_err_t err;
    size_t len;
    char *all;

    FUZZ_CHECK(fd >= 0 && ecert_answer_write(fd, frames, &err) == 0);
    all = fuzz_read_all(fd, &len);
    close(fd);
    fuzz_seed(all, len);
    free(all);
    ecert_frames_free(frames);
    *frames = (ecert_frames_t){0};
}

static void add_certificate(ecert_frames_t *frames, X509 *cert)
{
    unsigned char *der = NULL;
    int len = i2d_X509(cert, &der);
    ecert_err_t err;

    FUZZ_CHECK(len > 0
               && ecert_frames_add(frames, 1, der, (size_t)len, &err) == 0);
    OPENSSL_free(der);
}

static void seed_staple(int status)
{
    ocsp_make_t make = ocsp_usual(fuzz_pki());
    ecert_frames_t frames = {0};
    ocsp_bytes_t made;
    ecert_err_t err;

    make.status = status;
    make.revoked_at = FUZZ_NOW - 3600;
    made = ocsp_make(&make);
    FUZZ_CHECK(ecert_frames_add(&frames, 2, made.bytes, made.len, &err) == 0);
    OPENSSL_free(made.bytes);
    FUZZ_CHECK(as_staple(&frames));
    seed(&frames);
}

static void seeds(void)
{
    const pki_t *pki = fuzz_pki();
    STACK_OF(X509) *all = pki_stack(pki->leaf, pki->new_sub, NULL);
    X509 *certs[] = {pki->new_sub, pki->old_sub, pki->cross, pki->root,
                     pki->leaf};
    ecert_frames_t frames = {0};
    ecert_err_t err;

    prepare();
    seed(&frames); /* no frame at all */
    FUZZ_CHECK(ecert_sent_write(&(ecert_shaken_t){.sent = all, .staple_len = 1},
                                &frames, &err)
               == 0);
    seed(&frames);
    FUZZ_CHECK(
        ecert_sent_write(&(ecert_shaken_t){.failed = "an alert"}, &frames, &err)
        == 0);
    seed(&frames);
    for (size_t i = 0; i < sizeof(certs) / sizeof(certs[0]); i++) {
        add_certificate(&frames, certs[i]);
        FUZZ_CHECK(as_issuers(&frames) == (certs[i] == pki->new_sub));
        seed(&frames);
    }
    add_certificate(&frames, pki->new_sub);
    add_certificate(&frames, pki->cross);
    seed(&frames);
    seed_staple(V_OCSP_CERTSTATUS_GOOD);
    seed_staple(V_OCSP_CERTSTATUS_REVOKED);
    seed_staple(V_OCSP_CERTSTATUS_UNKNOWN);
    pki_stack_free(all);
}

FUZZ_TARGET(net, .run = run, .seeds = seeds, .max = 3000);
