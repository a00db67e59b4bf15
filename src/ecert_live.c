#include "ecert_live.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "ecert_addr.h"
#include "ecert_clock.h"
#include "ecert_cred.h"
#include "ecert_dcv.h"
#include "ecert_placeholder.h"
#include "ecert_seen.h"
#include "ecert_snap.h"
#include "ecert_staple.h"
#include "ecert_visits.h"

#define RETRY_MS 1000 /* to the next try with what could not be used */

/*
 * One slot of the snapshot as this worker knows it.
 *
 * `view` is immutable, but for a mark, and replaced as a whole: a site's by one
 * that is in a connection already, so that it is the last that worked.  Until
 * then a new one belongs to its thread alone.  A thread that uses `view` stands
 * in `readers` while it does.  Whoever replaces it may free the old one only if
 * afterwards it sees no reader: any thread that enters later finds the new one.
 * Else the old one waits in `retired` for the next who leaves the slot empty.
 * So nobody waits for anybody.  All of these are sequentially consistent: the
 * argument needs one order of "enter, then load" and "replace, then count".
 */
typedef struct view_s view_t;

struct view_s {
    uint64_t generation;
    ecert_cred_t *cred;   /* of a site */
    unsigned char *table; /* of the validation files; an OCSP record */
    size_t table_len;
    atomic_int spoiled; /* it could not be used once: to be made anew */
    view_t *next;       /* among the retired */
};

typedef struct {
    _Atomic(view_t *) view;
    _Atomic(view_t *) retired;
    _Atomic uint32_t readers;
    _Atomic uint64_t bad; /* a generation that could not be used, told once */
    _Atomic int64_t retry_ms; /* it is tried again then, by monotonic clock */
} slot_t;

struct ecert_live_s {
    const ecert_conf_t *conf;
    ecert_snap_t *snap;
    ecert_seen_t *seen;
    ecert_visits_t *visits;
    int row;
    uint32_t n_sites;
    uint32_t n_slots;
    slot_t *slots;
};

static void free_view(view_t *view)
{
    if (view != NULL) {
        ecert_cred_free(view->cred);
        ecert_snap_free(view->table, view->table_len);
        free(view);
    }
}

static void free_views(view_t *view)
{
    view_t *next;

    for (; view != NULL; view = next) {
        next = view->next;
        free_view(view);
    }
}

ecert_live_t *ecert_live_new(const ecert_conf_t *conf,
                             const ecert_launch_t *launch, ecert_err_t *err)
{
    ecert_live_t *live = calloc(1, sizeof(*live));

    if (live == NULL) {
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        return NULL;
    }
    live->conf = conf;
    live->row = -1;
    live->snap = ecert_snap_open(launch->snap, err);
    live->seen = live->snap ? ecert_seen_open(launch->seen, err) : NULL;
    live->visits = live->seen ? ecert_visits_open(launch->visits, err) : NULL;
    if (live->visits == NULL) {
        ecert_live_free(live);
        return NULL;
    }
    live->n_sites = ecert_snap_sites(live->snap);
    live->n_slots = 2 * live->n_sites + 1;
    live->slots = calloc(live->n_slots, sizeof(*live->slots));
    if (live->slots == NULL) {
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        ecert_live_free(live);
        return NULL;
    }
    return live;
}

void ecert_live_free(ecert_live_t *live)
{
    uint32_t i;

    if (live == NULL) {
        return;
    }
    for (i = 0; live->slots != NULL && i < live->n_slots; i++) {
        free_view(atomic_load(&live->slots[i].view));
        free_views(atomic_load(&live->slots[i].retired));
    }
    free(live->slots);
    ecert_visits_close(live->visits);
    ecert_seen_close(live->seen);
    ecert_snap_close(live->snap);
    free(live);
}

void ecert_live_worker(ecert_live_t *live)
{
    live->row = ecert_seen_claim(live->seen, getpid());
    ecert_visits_claim(live->visits, getpid());
    /* keys are in this process now: no core, no ptrace by its own user */
    prctl(PR_SET_DUMPABLE, 0);
}

static int decode_bytes(const ecert_live_t *live, uint32_t slot, view_t *view,
                        ecert_err_t *err)
{
    ecert_staple_t staples[ECERT_STAPLES];
    size_t n;

    if (slot < live->n_sites) {
        view->cred = ecert_cred_decode(view->table, view->table_len, err);
        ecert_snap_free(view->table, view->table_len);
        view->table = NULL;
        return view->cred != NULL ? 0 : -1;
    }
    if (slot == ecert_snap_dcv_slot(live->snap)) {
        return ecert_dcv_check(view->table, view->table_len, err);
    }
    return ecert_staple_decode(view->table, view->table_len, staples, &n, err);
}

/* Takes the bytes. */
static view_t *decode_view(const ecert_live_t *live, uint32_t slot,
                           unsigned char *bytes, size_t len, ecert_err_t *err)
{
    view_t *view = calloc(1, sizeof(*view));

    if (view == NULL) {
        ecert_snap_free(bytes, len);
        ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
        return NULL;
    }
    view->table = bytes;
    view->table_len = len;
    if (decode_bytes(live, slot, view, err) == 0) {
        return view;
    }
    free_view(view);
    return NULL;
}

/* What is published now, decoded; NULL and err when it cannot be used. */
static view_t *load_view(const ecert_live_t *live, uint32_t slot,
                         ecert_err_t *err)
{
    unsigned char *bytes;
    uint64_t generation;
    view_t *view;
    size_t len;

    if (ecert_snap_read(live->snap, slot, &bytes, &len, &generation, err)
        != 0) {
        return NULL;
    }
    view = decode_view(live, slot, bytes, len, err);
    if (view != NULL) {
        view->generation = generation;
    }
    return view;
}

static void retire(slot_t *slot, view_t *view)
{
    view_t *head = atomic_load(&slot->retired);

    do {
        view->next = head;
    } while (!atomic_compare_exchange_weak(&slot->retired, &head, view));
}

/* From here to leave no view of the slot is freed. */
static void enter(slot_t *slot)
{
    atomic_fetch_add(&slot->readers, 1);
}

/* Called with nothing of the slot in hand. */
static void leave(slot_t *slot)
{
    view_t *old = NULL;

    /*
     * Take the retired first, then count: had a reader of one of them come
     * before, it is counted still; one that comes later cannot reach them.
     */
    if (atomic_load(&slot->retired) != NULL) {
        old = atomic_exchange(&slot->retired, NULL);
    }
    if (atomic_fetch_sub(&slot->readers, 1) == 1) {
        free_views(old);
        return;
    }
    while (old != NULL) {
        view_t *next = old->next;

        retire(slot, old);
        old = next;
    }
}

/*
 * Of threads that found the same old view (or NULL) the first puts its own in
 * place.  The caller, which stands among the readers, may go on using both.
 */
static void replace(slot_t *slot, view_t *old, view_t *view)
{
    if (!atomic_compare_exchange_strong(&slot->view, &old, view)) {
        old = view;
    }
    if (old != NULL) {
        retire(slot, old);
    }
}

/* err is left where this is to be told: once. */
static void refuse(ecert_live_t *live, uint32_t index, uint64_t generation,
                   ecert_err_t *err)
{
    slot_t *slot = &live->slots[index];

    atomic_store(&slot->retry_ms, ecert_clock_ms() + RETRY_MS);
    if (atomic_exchange(&slot->bad, generation) == generation) {
        ecert_err_clear(err);
    }
    if (index < live->n_sites) { /* the others have no column */
        ecert_seen_refuse(live->seen, live->row, index, generation);
    }
}

/*
 * What is published, decoded, when it is not what view (or NULL) has.  Else, or
 * where it cannot be decoded, or is not to be tried now: NULL.  Threads that
 * come at the same time decode one each.  The caller's, until it replaces.
 */
static view_t *load_newer(ecert_live_t *live, uint32_t index,
                          const view_t *view, ecert_err_t *err)
{
    slot_t *slot = &live->slots[index];
    uint64_t generation = ecert_snap_generation(live->snap, index);
    view_t *newer;

    if (generation == 0
        || (view != NULL && view->generation == generation
            && !atomic_load_explicit(&view->spoiled, memory_order_relaxed))) {
        return NULL;
    }
    /* with nothing to fall back to there is no time to wait */
    if (view != NULL && atomic_load(&slot->bad) == generation
        && ecert_clock_ms() < atomic_load(&slot->retry_ms)) {
        return NULL;
    }
    newer = load_view(live, index, err);
    /* lack of memory passes, and says nothing about the record; OpenSSL does
     * not always tell it, so that other errors are tried again, too */
    if (newer == NULL && err->code != ECERT_ERR_MEMORY) {
        refuse(live, index, generation, err);
    }
    return newer;
}

/* The view to use now, or NULL, of what is no site.  Between enter and leave.
 */
static const view_t *current(ecert_live_t *live, uint32_t index)
{
    slot_t *slot = &live->slots[index];
    view_t *view = atomic_load(&slot->view), *newer;
    ecert_err_t ignored;

    newer = load_newer(live, index, view, &ignored);
    if (newer == NULL) {
        return view;
    }
    replace(slot, view, newer);
    return newer;
}

/* Nothing was published, not even a placeholder: the agent never got ready. */
static int certify_without_agent(ecert_live_t *live, uint32_t site, SSL *ssl,
                                 ecert_err_t *err)
{
    view_t *view = calloc(1, sizeof(*view));
    int rc;

    if (view == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    view->cred = ecert_placeholder_new(&live->conf->sites[site], err);
    if (view->cred == NULL) {
        free_view(view);
        return -1;
    }
    rc = ecert_cred_use(view->cred, ssl, err);
    replace(&live->slots[site], NULL, view);
    return rc;
}

/* Only what is in a connection counts as served. */
static int use_view(const ecert_live_t *live, uint32_t site, const view_t *view,
                    SSL *ssl, ecert_err_t *err)
{
    if (ecert_cred_use(view->cred, ssl, err) != 0) {
        return -1;
    }
    ecert_seen_set(live->seen, live->row, site, view->generation);
    return 0;
}

/* Puts what is new into the connection, and then in the slot. */
static int try_newer(ecert_live_t *live, uint32_t site, view_t *old,
                     view_t *newer, SSL *ssl, ecert_err_t *err)
{
    if (use_view(live, site, newer, ssl, err) != 0) {
        refuse(live, site, newer->generation, err);
        free_view(newer);
        return -1;
    }
    replace(&live->slots[site], old, newer);
    return 0;
}

/*
 * What worked before.  What lack of memory has left in OpenSSL's objects (a
 * certificate marked as invalid) stays there: they are made anew, not at each
 * handshake, in case it is the certificate's own fault.
 */
static int use_last(ecert_live_t *live, uint32_t site, view_t *view, SSL *ssl,
                    ecert_err_t *err)
{
    ecert_err_t why;

    if (use_view(live, site, view, ssl, &why) == 0) {
        return 0;
    }
    if (view->generation == ecert_snap_generation(live->snap, site)
        && atomic_exchange(&view->spoiled, 1) == 0) {
        *err = why;
        refuse(live, site, view->generation, err);
    }
    return -1;
}

/*
 * Whether nothing of a site was put into ssl yet: it has what its context has,
 * nothing in nginx, mod_ssl's placeholder in httpd.  So it is on a resumed
 * session, for which OpenSSL does not ask for a certificate.
 */
static int is_bare(const SSL *ssl)
{
    const X509 *leaf = SSL_get_certificate(ssl);

    return leaf == NULL
           || leaf == SSL_CTX_get0_certificate(SSL_get_SSL_CTX(ssl));
}

int ecert_live_certify(ecert_live_t *live, uint32_t site, SSL *ssl,
                       ecert_err_t *err)
{
    view_t *view, *newer;
    slot_t *slot;
    int rc = -1;

    ecert_err_clear(err);
    if (SSL_num_renegotiations(ssl) > 0 && !is_bare(ssl)) {
        return 0; /* a certificate never changes within a connection */
    }
    if (live == NULL || site >= live->n_sites) {
        return ecert_err(err, ECERT_ERR_SNAPSHOT, NULL, "no slot %u", site);
    }
    slot = &live->slots[site];
    enter(slot);
    view = atomic_load(&slot->view);
    newer = load_newer(live, site, view, err);
    if (newer != NULL) {
        rc = try_newer(live, site, view, newer, ssl, err);
    }
    if (rc != 0 && view != NULL) {
        rc = use_last(live, site, view, ssl, err);
    } else if (rc != 0 && ecert_snap_generation(live->snap, site) == 0) {
        rc = certify_without_agent(live, site, ssl, err);
    }
    /* else there is none: a handshake that fails is tried again, maybe by
     * another worker; a placeholder would be taken for an attack */
    if (rc == 0 && err->code != ECERT_OK) {
        rc = 1;
    }
    leave(slot);
    return rc;
}

int ecert_live_resumed(ecert_live_t *live, uint32_t site, SSL *ssl,
                       ecert_err_t *err)
{
    ecert_err_clear(err);
    return SSL_is_init_finished(ssl) && SSL_session_reused(ssl) && is_bare(ssl)
               ? ecert_live_certify(live, site, ssl, err)
               : 0;
}

/* OpenSSL takes the copy. */
static int send_staple(const ecert_staple_t *staple, SSL *ssl)
{
    unsigned char *copy = OPENSSL_memdup(staple->der, staple->len);

    if (copy == NULL) {
        return 0;
    }
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)staple->len);
    return 1;
}

static int put_staple(const view_t *view, SSL *ssl, int64_t now)
{
    const X509 *leaf = SSL_get_certificate(ssl);
    ecert_staple_t staples[ECERT_STAPLES];
    ecert_err_t err;
    size_t n;

    if (leaf == NULL
        || ecert_staple_decode(view->table, view->table_len, staples, &n, &err)
               != 0) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (ecert_staple_fits(&staples[i], leaf, now)) {
            return send_staple(&staples[i], ssl);
        }
    }
    return 0;
}

int ecert_live_staple(ecert_live_t *live, uint32_t site, SSL *ssl, int64_t now)
{
    const view_t *view;
    uint32_t index;
    slot_t *slot;
    int rc = 0;

    if (live == NULL || site >= live->n_sites) {
        return 0;
    }
    index = ecert_snap_staple_slot(live->snap, site);
    slot = &live->slots[index];
    enter(slot);
    view = current(live, index);
    if (view != NULL) {
        rc = put_staple(view, ssl, now);
    }
    leave(slot);
    return rc;
}

static ecert_method_t method_of(const ecert_ask_t *ask)
{
    if (ask->method_len == 3 && memcmp(ask->method, "GET", 3) == 0) {
        return ECERT_METHOD_GET;
    }
    if (ask->method_len == 4 && memcmp(ask->method, "HEAD", 4) == 0) {
        return ECERT_METHOD_HEAD;
    }
    return ECERT_METHOD_OTHER;
}

static int copy_body(const ecert_token_t *token,
                     void *(*alloc)(void *pool, size_t size), void *pool,
                     ecert_answer_t *answer)
{
    answer->len = token->body_len;
    if (token->body_len == 0) {
        return 0;
    }
    answer->body = alloc(pool, token->body_len);
    if (answer->body == NULL) {
        return -1;
    }
    memcpy(answer->body, token->body, token->body_len);
    return 0;
}

/*
 * Only what was answered: what goes on to the site is the site's, in its access
 * log, and would be mostly scanners.
 */
void ecert_live_note(ecert_live_t *live, const ecert_ask_t *ask,
                     const ecert_answer_t *answer)
{
    ecert_visit_t visit = {.token = answer->token,
                           .when = ask->now,
                           .status = (uint16_t)answer->status,
                           .method = (uint8_t)method_of(ask),
                           .tls = ask->tls != 0};
    size_t len = ask->agent ? ask->agent_len : 0;
    unsigned port;

    if (visit.method == ECERT_METHOD_GET) {
        visit.bytes = (uint32_t)answer->len;
    }
    if (ask->peer != NULL) {
        ecert_addr_bytes(ask->peer, visit.address, &port);
    }
    if (len > 0) {
        visit.agent_len =
            (uint8_t)(len < ECERT_VISIT_AGENT ? len : ECERT_VISIT_AGENT);
        memcpy(visit.agent, ask->agent, visit.agent_len);
    }
    ecert_visits_put(live->visits, &visit);
}

static void answer_token(const ecert_ask_t *ask, const ecert_token_t *token,
                         void *(*alloc)(void *pool, size_t size), void *pool,
                         ecert_answer_t *answer)
{
    if (method_of(ask) == ECERT_METHOD_OTHER) {
        answer->status = 405;
        answer->allow = "GET, HEAD";
    } else if (copy_body(token, alloc, pool, answer) == 0) {
        answer->status = 200;
    }
    answer->token = token->id;
}

void ecert_live_answer(ecert_live_t *live, const ecert_ask_t *ask,
                       void *(*alloc)(void *pool, size_t size), void *pool,
                       ecert_answer_t *answer)
{
    char name[ECERT_DCV_HOST_MAX + 1];
    const view_t *view;
    ecert_token_t token;
    const char *file;
    size_t file_len;
    slot_t *slot;

    memset(answer, 0, sizeof(*answer));
    file = ecert_dcv_file(ask->path, ask->path_len, &file_len);
    if (live == NULL || file == NULL
        || ecert_dcv_host(ask->host, ask->host_len, name) != 0) {
        return;
    }
    slot = &live->slots[live->n_sites];
    enter(slot);
    view = current(live, live->n_sites);
    if (view != NULL
        && ecert_dcv_find(view->table, view->table_len, name, file, file_len,
                          &token)
        && ask->now < token.expires) {
        answer_token(ask, &token, alloc, pool, answer);
    }
    leave(slot);
}
