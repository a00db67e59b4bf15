#include "install_key.h"

#include <stdlib.h>
#include <string.h>

#include "ecert_generation.h"
#include "ecert_request.h"
#include "ecert_store.h"
#include "facts.h"

void ecert_owned_free(ecert_owned_t *found)
{
    EVP_PKEY_free(found->key);
    ecert_names_free(found->names, found->n_names);
    json_decref(found->site);
}

/* The request of this site whose key is the leaf's: 1, 0 when none is. */
static int find_request(const char *dir, const char *ascii,
                        ecert_owned_t *found, ecert_err_t *err)
{
    ecert_request_t *requests;
    size_t n;
    int rc = 0;

    if (ecert_requests(dir, ascii, &requests, &n, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (strcmp(requests[i].key_id, found->key_id) != 0) {
            continue;
        }
        found->request = requests[i].number;
        found->exportable = requests[i].exportable;
        found->site = json_incref(json_object_get(requests[i].json, "site"));
        found->key = ecert_request_key(&requests[i], err);
        rc = found->key != NULL
                     && ecert_names_copy(requests[i].names, requests[i].n_names,
                                         &found->names, &found->n_names, err)
                            == 0
                 ? 1
                 : -1;
    }
    ecert_requests_free(requests, n);
    return rc;
}

/* A site that has the key: among its requests, or in a generation. */
static int has_key(const char *dir, const char *ascii, const char *key_id,
                   ecert_err_t *err)
{
    ecert_request_t *requests;
    ecert_generation_t *list;
    size_t n, m;
    int found = 0;

    if (ecert_requests(dir, ascii, &requests, &n, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        found |= strcmp(requests[i].key_id, key_id) == 0;
    }
    ecert_requests_free(requests, n);
    if (found) {
        return 1;
    }
    if (ecert_generations(dir, &list, &m, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < m; i++) {
        found |= strcmp(list[i].key_id, key_id) == 0;
    }
    ecert_generations_free(list, m);
    return found;
}

int ecert_owned_site(const char *store, const char *key_id, char *ascii,
                     ecert_err_t *err)
{
    char **names, dir[PATH_MAX];
    int found = 0;
    size_t n;

    if (ecert_store_sites(store, &names, &n, err) != 0) {
        return ecert_err_refused(err) ? -1 : 0;
    }
    for (size_t i = 0; i < n && found == 0; i++) {
        if (ecert_store_site(store, names[i], NULL, dir, err) != 0) {
            found = ecert_err_refused(err) ? -1 : 0;
            continue;
        }
        found = has_key(dir, names[i], key_id, err);
        if (found == 1) {
            snprintf(ascii, ECERT_NAME_MAX, "%s", names[i]);
        }
    }
    ecert_names_free(names, n);
    return found;
}

int ecert_owned_none(const ecert_owned_t *found, const char *store,
                     const char *file, const char *ascii, ecert_err_t *err)
{
    char other[ECERT_NAME_MAX], name[256];
    ecert_err_t ignored;

    ecert_x509_label(found->leaf, name, sizeof(name));
    ecert_err(err, ECERT_ERR_UNKNOWN_KEY, file, "the certificate of %s%s%s",
              name, ascii ? ", for site " : "", ascii ? ascii : "");
    if (ascii != NULL
        && ecert_owned_site(store, found->key_id, other, &ignored) == 1) {
        return ecert_err_hint(err,
                              "its key is that of site %.100s: ecert "
                              "install %.100s FILE",
                              other, ecert_cli_word(other));
    }
    return -1;
}

static int lacks_issuers(const ecert_cli_site_t *site)
{
    ecert_facts_t facts;
    ecert_err_t ignored;
    int lacks;

    if (ecert_facts(site->store, site->ascii, NULL, NULL, site->now, &facts,
                    &ignored)
        != 0) {
        return 0;
    }
    lacks = facts.missing[0] != '\0';
    ecert_facts_free(&facts);
    return lacks;
}

/* The key of the current one, whose certificate is to be replaced: 0. */
static int take_key(const ecert_cli_site_t *site,
                    const ecert_generation_t *current, ecert_owned_t *found,
                    ecert_err_t *err)
{
    found->exportable = current->exportable;
    found->key = ecert_generation_key(current, err);
    return found->key
               ? ecert_cli_site_names(site, &found->names, &found->n_names, err)
               : -1;
}

/* It is the current one: 1; 0 when what came with it may mend its chain. */
static int take_current(const ecert_cli_site_t *site,
                        const ecert_generation_t *generation, int n_handed,
                        ecert_owned_t *found, ecert_err_t *err)
{
    if (n_handed < 2 || !lacks_issuers(site)) {
        found->generation = generation->number;
        return 1;
    }
    found->again = 1;
    return take_key(site, generation, found, err);
}

/* Whether a request waits, which is with another key then; -1 as ever. */
static int has_request(const ecert_cli_site_t *site, ecert_err_t *err)
{
    ecert_request_t *requests;
    size_t n;

    if (ecert_requests(site->dir, site->ascii, &requests, &n, err) != 0) {
        return -1;
    }
    ecert_requests_free(requests, n);
    return n > 0;
}

/* What brings a certificate that is new.  same: this one is that generation;
 * else it may be meant all the same. */
static int old_key(const ecert_cli_site_t *site, const ecert_generation_t *used,
                   int same, int waits, ecert_err_t *err)
{
    const char *word = ecert_cli_word(site->ascii);
    char back[200] = "", meant[240] = "";

    if (same) {
        snprintf(back, sizeof(back),
                 "it is that generation: ecert rollback %.70s %llu; for a new "
                 "one ",
                 word, (unsigned long long)used->number);
    } else if (strlen(used->dir) + strlen(word) < 130) { /* it fits */
        snprintf(meant, sizeof(meant),
                 " (or, if this one is meant, add its key to the command: "
                 "%.130s/key.pem)",
                 used->dir);
    } else {
        snprintf(meant, sizeof(meant),
                 " (or, if this one is meant, add key.pem of generation %llu "
                 "to the command)",
                 (unsigned long long)used->number);
    }
    return waits ? ecert_err_hint(err,
                                  "%ssubmit the newest request to the CA%s: "
                                  "ecert csr %.70s",
                                  back, meant, word)
                 : ecert_err_hint(err,
                                  "%smake a request and submit it to the "
                                  "CA%s: ecert new %.70s",
                                  back, meant, word);
}

/* The CA issues again for the same request (reissue) at any time; what it
 * issued before that may turn up, too. */
static int is_newer(const X509 *leaf, const X509 *current)
{
    int64_t a = ecert_x509_not_before(leaf);
    int64_t b = ecert_x509_not_before(current);

    return a != b ? a > b
                  : ecert_x509_not_after(leaf) >= ecert_x509_not_after(current);
}

/*
 * A key that was used already.  The same certificate again is fine, and so is a
 * newer one for the key of the current one, unless a request with another key
 * waits: then the wrong request was submitted.
 */
static int take_used(const ecert_cli_site_t *site, const char *file,
                     const ecert_generation_t *used, int n_handed,
                     ecert_owned_t *found, ecert_err_t *err)
{
    int same = X509_cmp(used->leaf, found->leaf) == 0;
    int newer = is_newer(found->leaf, used->leaf), waits;

    if (same && used->current) {
        return take_current(site, used, n_handed, found, err);
    }
    waits = has_request(site, err);
    if (waits < 0) {
        return -1;
    }
    if (!same && used->current && newer && !waits) {
        return take_key(site, used, found, err);
    }
    ecert_err(
        err, ECERT_ERR_OLD_KEY, file, "its key is that of generation %llu%s",
        (unsigned long long)used->number,
        !same && used->current && !newer ? ", whose certificate is newer" : "");
    return old_key(site, used, same, waits, err);
}

/* The generation with this key: the one that is this certificate, else the
 * current one, else the newest; NULL: none. */
static const ecert_generation_t *find_used(const ecert_generation_t *list,
                                           size_t n, const ecert_owned_t *found)
{
    const ecert_generation_t *used = NULL;

    for (size_t i = n; i-- > 0;) {
        if (strcmp(list[i].key_id, found->key_id) != 0) {
            continue;
        }
        if (X509_cmp(list[i].leaf, found->leaf) == 0) {
            return &list[i];
        }
        used = used == NULL || list[i].current ? &list[i] : used;
    }
    return used;
}

static int used_key(const ecert_cli_site_t *site, const char *file,
                    int n_handed, ecert_owned_t *found, ecert_err_t *err)
{
    const ecert_generation_t *used;
    ecert_generation_t *list;
    size_t n;
    int rc;

    if (ecert_generations(site->dir, &list, &n, err) != 0) {
        return -1;
    }
    used = find_used(list, n, found);
    rc = used ? take_used(site, file, used, n_handed, found, err)
              : ecert_owned_none(found, site->store, file, site->ascii, err);
    ecert_generations_free(list, n);
    return rc;
}

int ecert_owned_key(ecert_owned_t *found, const ecert_cli_site_t *site,
                    const char *file, const ecert_handed_t *handed,
                    ecert_err_t *err)
{
    int rc = find_request(site->dir, site->ascii, found, err);

    if (rc != 0) {
        return rc < 0 ? -1 : 0;
    }
    if (handed->key == NULL
        || EVP_PKEY_eq(handed->key, X509_get0_pubkey(found->leaf)) != 1) {
        return used_key(site, file, sk_X509_num(handed->certificates), found,
                        err);
    }
    found->key = handed->key;
    EVP_PKEY_up_ref(found->key);
    return ecert_cli_site_names(site, &found->names, &found->n_names, err);
}
