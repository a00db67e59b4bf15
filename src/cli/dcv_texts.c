/* Methods of validation that need no file: DNS Change, Constructed E-mail. */

#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "dcv.h"
#include "ecert_dcv_mend.h"
#include "ecert_x509.h"
#include "progress.h"
#include "say.h"

#define TTL 3600 /* where the catalogue does not say it */

typedef struct {
    uint64_t request;
} options_t;

/* The names of one site; 0, or -1 with an exit code. */
static int begin(const ecert_cli_command_t *command, int argc, char **argv,
                 int words, const char *usage, ecert_cli_site_t *site,
                 ecert_dcv_order_t *order, char ***operands, int *code)
{
    options_t options = {0};
    ecert_err_t err;
    int first = ecert_cli_parse(command, argc, argv, &options, code);

    if (first < 0) {
        return -1;
    }
    if (argc - first != words) {
        *code = ecert_cli_usage(command->name, "%s", usage);
        return -1;
    }
    if (ecert_cli_site_look(site, ecert_cli_store(), argv[first], &err) != 0
        || ecert_dcv_order(site, options.request, order, &err) != 0) {
        *code = ecert_cli_fail(NULL, &err);
        return -1;
    }
    *operands = argv + first;
    return 0;
}

/* ---- DNS Change -------------------------------------------------------- */

/* The name at which the record stands; "*.x" stands at x. */
static const char *base_of(const char *name)
{
    return name[0] == '*' ? name + 2 : name;
}

static int is_first(const ecert_dcv_order_t *order, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (strcmp(base_of(order->names[k]), base_of(order->names[i])) == 0) {
            return 0;
        }
    }
    return 1;
}

static int print_records(const ecert_dcv_order_t *order, const char *code,
                         ecert_err_t *err)
{
    unsigned ttl = ecert_ca_rules(order->ca)->txt_ttl;
    char unicode[ECERT_NAME_MAX * 4];

    for (size_t i = 0; i < order->n; i++) {
        const char *name = base_of(order->names[i]);
        char *record;

        if (!is_first(order, i)) {
            continue;
        }
        record = ecert_dcv_txt(name, code, ttl ? ttl : TTL, err);
        if (record == NULL) {
            return -1;
        }
        ecert_name_unicode(name, unicode, sizeof(unicode));
        printf("%s%s%s\n", record, strcmp(unicode, name) ? " ; " : "",
               strcmp(unicode, name) ? unicode : "");
        free(record);
    }
    return 0;
}

static int run_dns(const ecert_cli_command_t *command, int argc, char **argv)
{
    ecert_dcv_order_t order;
    ecert_cli_site_t site;
    ecert_err_t err;
    char **words;
    int code, rc;

    if (begin(command, argc, argv, 2, "NAME and CODE are wanted", &site, &order,
              &words, &code)
        != 0) {
        return code;
    }
    rc = ecert_dcv_need_code(words[1], &err);
    if (rc == 0) {
        rc = print_records(&order, words[1], &err);
    }
    ecert_dcv_order_free(&order);
    if (rc != 0) {
        ecert_cli_fail(NULL, &err);
        return err.code == ECERT_ERR_USAGE ? ECERT_EXIT_USAGE
                                           : ECERT_EXIT_FAILED;
    }
    ecert_say_line(stderr,
                   "Add these to the zone, on all of its name servers.  In the "
                   "form of a DNS provider choose type TXT, and leave out the "
                   "quotes.  When all name servers answer with it, press "
                   "Confirm in the portal, within 30 days.");
    ecert_cli_progress_show(site.store, site.ascii, site.now, stderr);
    return ECERT_EXIT_DONE;
}

/* ---- Constructed E-mail ------------------------------------------------ */

static int is_single(const ecert_dcv_order_t *order)
{
    for (size_t i = 1; i < order->n; i++) {
        if (is_first(order, i)) {
            return 0;
        }
    }
    return 1;
}

static int check_mail(const ecert_dcv_order_t *order, int64_t now,
                      ecert_err_t *err)
{
    int64_t ends = ecert_ca_rules(order->ca)->mail_ends;
    char when[32];

    if (!is_single(order)) {
        ecert_err(err, ECERT_ERR_METHOD, order->names[0],
                  "constructed e-mail is not for multi-domain certificates, "
                  "and this one has %zu names",
                  order->n);
        return ecert_err_hint(err, "choose Website Change (ecert dcv add) or "
                                   "DNS Change (ecert dcv dns)");
    }
    if (ends != 0 && now >= ends) {
        ecert_err(err, ECERT_ERR_METHOD, order->names[0],
                  "the rules ended constructed e-mail on %s",
                  ecert_day_format(ends, when));
        return ecert_err_hint(err, "choose Website Change (ecert dcv add) or "
                                   "DNS Change (ecert dcv dns)");
    }
    return 0;
}

/* BR 3.2.2.4.4. */
static void print_mail(const ecert_dcv_order_t *order)
{
    static const char *const boxes[] = {"admin", "administrator", "webmaster",
                                        "hostmaster", "postmaster"};
    int64_t ends = ecert_ca_rules(order->ca)->mail_ends;
    char when[32];

    for (size_t i = 0; i < 5; i++) {
        printf("%s@%s\n", boxes[i], base_of(order->names[0]));
    }
    ecert_say_line(stderr,
                   "One of these must reach you.  Choose it in the portal "
                   "(Constructed E-mail), press Send Validation Code, and "
                   "enter the code there within 30 days.");
    if (ends != 0) {
        fprintf(stderr, "This method ends on %s.\n",
                ecert_day_format(ends, when));
    }
}

static int run_mail(const ecert_cli_command_t *command, int argc, char **argv)
{
    ecert_dcv_order_t order;
    ecert_cli_site_t site;
    ecert_err_t err;
    char **words;
    int code, rc;

    if (begin(command, argc, argv, 1, "one NAME is wanted", &site, &order,
              &words, &code)
        != 0) {
        return code;
    }
    rc = check_mail(&order, site.now, &err);
    if (rc == 0) {
        print_mail(&order);
    }
    ecert_dcv_order_free(&order);
    if (rc != 0) {
        return ecert_cli_fail(NULL, &err);
    }
    ecert_cli_progress_show(site.store, site.ascii, site.now, stderr);
    return ECERT_EXIT_DONE;
}

/* ---- the commands ------------------------------------------------------ */

static const ecert_cli_option_t options[] = {
    {"request", "N", "for the names of request N (default: the newest)", 0,
     ecert_cli_set_request, offsetof(options_t, request)},
    ECERT_CLI_STORE,
    {0},
};

const ecert_cli_command_t ecert_cmd_dcv_dns = {
    .name = "dcv dns",
    .what = "TXT records for a validation code (guide, C.4.B)",
    .arguments = "NAME CODE",
    .about = "Prints the TXT records that DNS Change asks for, one for each "
             "name, in the form of a zone file.  For a wildcard the record "
             "stands at the name without the asterisk.  CODE is the "
             "validation code that the portal shows.",
    .options = options,
    .example = "ecert dcv dns '*.example.hk' 20261124-abcdef",
    .run = run_dns,
};

const ecert_cli_command_t ecert_cmd_dcv_mail = {
    .name = "dcv mail",
    .what = "addresses for a validation code (guide, C.4.C)",
    .arguments = "NAME",
    .about = "Prints the five addresses that Constructed E-mail may be sent "
             "to.  The portal does not offer it for multi-domain certificates.",
    .options = options,
    .example = "ecert dcv mail www.example.hk",
    .run = run_mail,
};
