/* An agent that looks at what its servers send, and the fetcher, which is the
 * test. */

#ifndef SERVED_MAKE_H
#define SERVED_MAKE_H

#include "scratch.h"

#include <sys/socket.h>

#include <netinet/in.h>

#include "ecert_fetcher_work.h"
#include "ecert_jail_work.h"
#include "ecert_log.h"
#include "ecert_net_work.h"
#include "pki.h"

#define SITES_MAX 1000

static ecert_err_t err;
static pki_t *pki;
static ecert_conf_t *conf;
static ecert_keeper_t keeper;
static ecert_net_t *net;
static int fetcher; /* the other end */
static ecert_kept_t *kept;
static ecert_chain_t chain;
static ecert_considered_t leaf;

/* ---- the agent's side -------------------------------------------------- */

static void add_site(int i)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(443)};
    char name[64], *names[1] = {name};
    ecert_vhost_t vhost = {.names = (const char *const *)names, .n_names = 1};
    ecert_site_t site = {.name = name};

    snprintf(name, sizeof(name), "s%d.example.hk", i);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(ecert_conf_add(conf, &site, &err), i);
    assert_int_equal(
        ecert_conf_listen(conf, i, &vhost, (struct sockaddr *)&to, &err), 0);
}

static void begin(int sites)
{
    int ends[2];

    conf = ecert_conf_new();
    for (int i = 0; i < sites; i++) {
        add_site(i);
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    fetcher = ends[1];
    keeper = (ecert_keeper_t){.now = pki->now, .ms = 1000000};
    net = ecert_net_new(&keeper, conf, ends[0], &err);
    assert_non_null(net);
    kept = calloc((size_t)sites, sizeof(*kept));
    leaf = (ecert_considered_t){.cert = pki->leaf};
    chain = (ecert_chain_t){.served = pki_stack(pki->new_sub, pki->cross, NULL),
                            .considered = &leaf,
                            .n_considered = 1,
                            .complete = 1};
    for (int i = 0; i < sites; i++) {
        ecert_kept_init(&kept[i], &conf->sites[i], (uint32_t)i);
        kept[i].held.state = ECERT_STATE_VALID;
        kept[i].held.chain = &chain;
    }
}

static void end(void)
{
    int fd = net->fetcher;

    ecert_net_free(net);
    close(fd);
    close(fetcher);
    pki_stack_free(chain.served);
    free(kept);
    ecert_conf_free(conf);
}

static void publish(int site, unsigned char record)
{
    kept[site].published = 1;
    memset(kept[site].digest, record, sizeof(kept[site].digest));
    ecert_net_look(net, &kept[site]);
}

static void no_touch(void *ctx, uint32_t site)
{
    (void)ctx;
    fail_msg("site %u is touched", (unsigned)site);
}

static void work(void)
{
    ecert_net_work(net, no_touch, NULL);
}

/* Time passes. */
static void pass(int64_t ms)
{
    keeper.ms += ms;
    keeper.now += ms / 1000;
    work();
}

static json_t *served(int site)
{
    static json_t *report;

    json_decref(report);
    report = json_object();
    ecert_net_report(net, (uint32_t)site, report);
    return json_object_get(report, "served");
}

static const char *state(int site)
{
    return json_string_value(json_object_get(served(site), "state"));
}

static const char *member(int site, const char *name)
{
    json_t *list = json_object_get(served(site), "addresses");

    return json_string_value(json_object_get(json_array_get(list, 0), name));
}

/* ---- the fetcher's side ------------------------------------------------ */

/* The next errand; its pipe, or -1 when there is none. */
static int errand(ecert_errand_wire_t *wire)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {wire, sizeof(*wire)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    int fd;

    if (recvmsg(fetcher, &message, 0) != (ssize_t)sizeof(*wire)) {
        return -1;
    }
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    assert_int_equal(wire->kind, ECERT_ERRAND_LOOK);
    return fd;
}

static void no_errand(void)
{
    ecert_errand_wire_t wire;

    work();
    assert_int_equal(errand(&wire), -1);
}

static void answer(int fd, const ecert_shaken_t *got)
{
    ecert_frames_t frames = {0};

    assert_true(fd >= 0);
    assert_int_equal(ecert_sent_write(got, &frames, &err), 0);
    assert_int_equal(ecert_answer_write(fd, &frames, NULL), 0);
    ecert_frames_free(&frames);
    close(fd);
    work();
}

static void answer_with(int fd, STACK_OF(X509) *certs)
{
    answer(fd, &(ecert_shaken_t){.sent = certs});
    pki_stack_free(certs);
}

static STACK_OF(X509) *right(void)
{
    return pki_stack(pki->leaf, pki->new_sub, pki->cross, NULL);
}

static STACK_OF(X509) *wrong(void)
{
    return pki_stack(pki->new_sub, NULL);
}

static int next(void)
{
    ecert_errand_wire_t wire;

    return errand(&wire);
}

#endif
