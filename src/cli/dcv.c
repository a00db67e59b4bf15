#include "dcv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "ecert_conf.h"
#include "ecert_dcv.h"
#include "ecert_journal.h"
#include "ecert_json.h"
#include "ecert_request.h"
#include "ecert_token_put.h"
#include "say.h"

static int copy_numbers(ecert_dcv_order_t *order,
                        const ecert_request_t *requests, size_t n,
                        ecert_err_t *err)
{
    order->waiting = calloc(n + 1, sizeof(*order->waiting));
    if (order->waiting == NULL) {
        return ecert_err(err, ECERT_ERR_MEMORY, NULL, NULL);
    }
    for (size_t i = 0; i < n; i++) {
        order->waiting[order->n_waiting++] = requests[i].number;
    }
    return 0;
}

static int of_request(const ecert_cli_site_t *site, uint64_t number,
                      ecert_dcv_order_t *order, ecert_err_t *err)
{
    ecert_request_t *requests;
    const ecert_request_t *request;
    size_t n;
    int rc;

    if (ecert_requests(site->dir, site->ascii, &requests, &n, err) != 0) {
        return -1;
    }
    if (n == 0 && number == 0) {
        ecert_requests_free(requests, n);
        return ecert_cli_site_names(site, &order->names, &order->n, err);
    }
    request = ecert_request_find(requests, n, number, site->ascii, err);
    rc = request ? ecert_names_copy(request->names, request->n_names,
                                    &order->names, &order->n, err)
                 : -1;
    if (rc == 0) {
        rc = copy_numbers(order, requests, n, err);
    }
    if (rc == 0) {
        order->request = request->number;
        order->csr = ecert_request_csr(request, err);
        rc = order->csr ? 0 : -ecert_err_refused(err);
    }
    ecert_requests_free(requests, n);
    return rc;
}

int ecert_dcv_order(const ecert_cli_site_t *site, uint64_t request,
                    ecert_dcv_order_t *order, ecert_err_t *err)
{
    memset(order, 0, sizeof(*order));
    order->ca = ecert_cli_catalogue(site->dir, site->ascii, err);
    if (order->ca == NULL || of_request(site, request, order, err) != 0) {
        ecert_dcv_order_free(order);
        return -1;
    }
    return 0;
}

void ecert_dcv_order_free(ecert_dcv_order_t *order)
{
    ecert_names_free(order->names, order->n);
    free(order->waiting);
    X509_REQ_free(order->csr);
    ecert_ca_free(order->ca);
    memset(order, 0, sizeof(*order));
}

int ecert_dcv_no_wildcard(const ecert_dcv_order_t *order, ecert_err_t *err)
{
    for (size_t i = 0; i < order->n; i++) {
        if (order->names[i][0] == '*') {
            ecert_err(err, ECERT_ERR_METHOD, order->names[i],
                      "a file at one name proves nothing for all names below "
                      "it");
            return ecert_err_hint(err,
                                  "choose DNS Change in the portal: ecert "
                                  "dcv dns %.150s CODE",
                                  ecert_cli_word(order->names[0]));
        }
    }
    return 0;
}

int ecert_dcv_need_code(const char *code, ecert_err_t *err)
{
    if (code[strspn(code, " ")] != '\0') {
        return 0;
    }
    ecert_err(err, ECERT_ERR_USAGE, NULL, "CODE is empty");
    return ecert_err_hint(err, "copy it from the CA's portal");
}

static void tell(const char *store, const char *host, const char *file,
                 ecert_token_was_t was)
{
    ecert_err_t err;

    if (was == ECERT_TOKEN_REPLACED) {
        ecert_say_line(stdout, "replaced an older %s of this site at %s", file,
                       host);
    } else if (was == ECERT_TOKEN_FOREIGN) {
        ecert_err(&err, ECERT_ERR_EXISTS, file,
                  "at %s there was one of another CA or another order; it is "
                  "replaced, and kept as %.200s/dcv/%s/.%s.saved",
                  host, store, host, file);
        ecert_err_hint(&err, "if that order is still open, finish this one "
                             "first and then put the other file back");
        ecert_cli_warn(host, &err);
    }
}

static void show_urls(const ecert_dcv_order_t *order, const char *file,
                      int64_t now)
{
    unsigned days = ecert_ca_rules(order->ca)->token_days;
    int64_t until = now + ECERT_DCV_DAYS * INT64_C(86400);
    char when[32];

    puts("Open these, each must show the code and nothing else:");
    for (size_t i = 0; i < order->n; i++) {
        printf("  http://%s" ECERT_DCV_PREFIX "%s\n", order->names[i], file);
    }
    ecert_say_line(stdout,
                   "Or with https.  They are answered until %s; press Confirm "
                   "in the CA's portal within %u days.",
                   ecert_date_format(until, when),
                   days ? days : ECERT_DCV_DAYS);
}

static void note(const ecert_cli_site_t *site, const ecert_dcv_order_t *order,
                 const char *file)
{
    json_t *more = json_object();
    ecert_err_t err;

    ecert_json_set_text(more, "file", file);
    if (order->request) {
        json_object_set_new(more, "request",
                            json_integer((json_int_t)order->request));
    }
    json_object_set_new(more, "names",
                        ecert_json_texts(order->names, order->n));
    if (ecert_journal_add(site->store, "dcv add", site->ascii, more, site->now,
                          &err)
        != 0) {
        ecert_cli_warn(site->ascii, &err);
    }
}

int ecert_dcv_put(const ecert_cli_site_t *site, const ecert_dcv_order_t *order,
                  const char *file, const unsigned char *body, size_t len,
                  ecert_err_t *err)
{
    const ecert_token_owner_t owner = {site->ascii, order->request,
                                       order->waiting, order->n_waiting};

    for (size_t i = 0; i < order->n; i++) {
        ecert_token_was_t was;

        if (ecert_token_put(site->store, order->names[i], file, body, len,
                            &owner, site->now, &was, err)
            != 0) {
            return -1;
        }
        tell(site->store, order->names[i], file, was);
    }
    note(site, order, file);
    show_urls(order, file, site->now);
    return 0;
}
