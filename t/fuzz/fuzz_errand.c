/* What the fetcher makes of a message on its socket (ecert_fetcher): whatever
 * it is, only a sound errand with a pipe for its answer is done. */

#include "fuzz.h"

#include <fcntl.h>
#include <unistd.h>

#include <sys/socket.h>

/* The message, and what comes with it. */
static struct {
    const uint8_t *bytes;
    size_t len;
    int kind; /* of what comes with it */
    int fd;
} message;

static ssize_t fuzz_recvmsg(int fd, struct msghdr *out, int flags)
{
    struct cmsghdr *header = out->msg_control;
    size_t n = out->msg_iov->iov_len;

    (void)fd;
    (void)flags;
    n = message.len < n ? message.len : n; /* the rest of a message is lost */
    memcpy(out->msg_iov->iov_base, message.bytes, n);
    if (message.fd < 0 || n == 0) {
        out->msg_controllen = 0;
        return (ssize_t)n;
    }
    FUZZ_CHECK(out->msg_controllen >= CMSG_SPACE(sizeof(int)));
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = message.kind;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &message.fd, sizeof(int));
    return (ssize_t)n;
}

#define recvmsg fuzz_recvmsg
#include "ecert_fd.h"
#undef recvmsg
#include "ecert_fetcher.c" /* for what is static there */

static int is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void check_sound(const ecert_fetcher_t *fetcher,
                        const ecert_errand_wire_t *wire)
{
    FUZZ_CHECK(message.len >= sizeof(*wire));
    FUZZ_CHECK(strnlen(wire->url, sizeof(wire->url)) < sizeof(wire->url));
    FUZZ_CHECK(wire->post_len <= sizeof(wire->post));
    FUZZ_CHECK(wire->kind >= ECERT_ERRAND_CERTIFICATES
               && wire->kind <= ECERT_ERRAND_LOOK);
    if (wire->kind == ECERT_ERRAND_LOOK) {
        FUZZ_CHECK(wire->target < fetcher->targets.n);
        FUZZ_CHECK(fetcher->targets.list[wire->target].why == NULL);
    }
}

/* First a byte: bit 0, something comes with it; bit 1, that is no descriptor.
 */
static void run(const uint8_t *bytes, size_t len)
{
    static ecert_target_t targets[] = {{.where = "127.0.0.1:443"},
                                       {.why = "it is a socket of its own"}};
    const ecert_fetcher_t fetcher = {.targets = {targets, 2}};
    ecert_errand_wire_t wire;
    uint8_t how = len > 0 ? bytes[0] : 0;
    int answer, fd = how & 1 ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;

    message.kind = how & 2 ? SCM_CREDENTIALS : SCM_RIGHTS;
    message.fd = fd;
    message.bytes = bytes + (len > 0);
    message.len = len - (len > 0);
    FUZZ_CHECK(receive(&fetcher, &wire, &answer) == (message.len > 0));
    if (answer >= 0) {
        FUZZ_CHECK(answer == fd && is_open(fd));
        check_sound(&fetcher, &wire);
        close(fd);
    } else if (fd >= 0 && message.kind == SCM_RIGHTS && message.len > 0) {
        FUZZ_CHECK(!is_open(fd));
    } else if (fd >= 0) {
        close(fd); /* it never came */
    }
}

static void seed(uint8_t how, uint32_t kind, uint32_t target, size_t len)
{
    ecert_errand_wire_t wire = {.kind = kind,
                                .target = target,
                                .post_len = 4,
                                .url = "http://ca.example.hk/sub.crt",
                                .post = {0x30, 2, 5, 0}};
    unsigned char bytes[1 + sizeof(wire)] = {how};

    memcpy(bytes + 1, &wire, sizeof(wire));
    fuzz_seed(bytes, 1 + len);
}

static void seeds(void)
{
    const size_t all = sizeof(ecert_errand_wire_t);

    for (uint32_t kind = 0; kind <= ECERT_ERRAND_LOOK + 1; kind++) {
        seed(1, kind, 0, all);
    }
    seed(1, ECERT_ERRAND_LOOK, 1, all);
    seed(1, ECERT_ERRAND_LOOK, 2, all);
    seed(0, ECERT_ERRAND_OCSP, 0, all);
    seed(3, ECERT_ERRAND_OCSP, 0, all);
    seed(1, ECERT_ERRAND_OCSP, 0, all - 1);
    seed(1, ECERT_ERRAND_OCSP, 0, 0);
}

FUZZ_TARGET(errand, .run = run, .seeds = seeds, .max = 3200);
