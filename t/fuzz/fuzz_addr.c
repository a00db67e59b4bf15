/* Networks and addresses (ecert_addr), places (ecert_dcv_ask), and places out
 * of a jail. */

#include "fuzz.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "ecert_dcv_ask.c" /* for what comes out of the jail */

#include "ecert_addr.h"
#include "ecert_jail_work.h"

/* All of a network's first address is inside of it. */
static void network(const char *text)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(81)};
    ecert_network_t network;
    ecert_err_t err;

    if (ecert_network_parse(text, &network, &err) != 0) {
        fuzz_check_err(&err);
        return;
    }
    FUZZ_CHECK(network.bits <= 128);
    memcpy(&in6.sin6_addr, network.address, 16);
    FUZZ_CHECK(ecert_addr_allowed((struct sockaddr *)&in6, &network, 1) == 1);
    FUZZ_CHECK(ecert_addr_allowed((struct sockaddr *)&in6, NULL, 0) == 0);
}

static void place(const char *text)
{
    char out[ECERT_DCV_PLACE], twice[ECERT_DCV_PLACE];
    ecert_dcv_place_t place, again;

    if (ecert_dcv_place(text, 80, &place) == 0) {
        return;
    }
    ecert_dcv_place_public(&place);
    fuzz_check_text(ecert_dcv_place_text(&place, 1, out));
    FUZZ_CHECK(ecert_dcv_place(out, 443, &again) == 1);
    FUZZ_CHECK(strcmp(ecert_dcv_place_text(&again, 1, twice), out) == 0);
}

/* An IPv4 address means the same in each form that it is carried in. */
static void forms(fuzz_in_t *in)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(80)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
    uint16_t half[2];
    int allowed;

    half[0] = fuzz_two(in);
    half[1] = fuzz_two(in);
    memcpy(&in4.sin_addr, half, 4);
    allowed = ecert_addr_allowed((struct sockaddr *)&in4, NULL, 0);
    memcpy(in6.sin6_addr.s6_addr + 12, half, 4);
    in6.sin6_addr.s6_addr[10] = in6.sin6_addr.s6_addr[11] = 0xff;
    FUZZ_CHECK(ecert_addr_allowed((struct sockaddr *)&in6, NULL, 0) == allowed);
}

static void take_from(const ecert_frames_t *frames)
{
    ecert_dcv_place_t places[ECERT_DCV_ADDRESSES];
    char why[ECERT_DNS_NAME], text[ECERT_DCV_PLACE];
    size_t n = 0;

    if (take_places(frames, places, &n, why) != 0) {
        return;
    }
    fuzz_check_text(why);
    FUZZ_CHECK(n <= ECERT_DCV_ADDRESSES);
    for (size_t i = 0; i < n; i++) {
        FUZZ_CHECK(!places[i].given);
        fuzz_check_text(ecert_dcv_place_text(&places[i], 1, text));
        ecert_dcv_place_public(&places[i]);
    }
}

/* The bytes in the right frames, and as whatever frames they are. */
static void from_jail(const uint8_t *bytes, size_t len)
{
    ecert_frame_t frame[2] = {{PLACES, NULL, 0}, {WHY, NULL, 0}};
    ecert_frames_t frames = {frame, 2}, any = {0};
    ecert_err_t err;

    frame[0].bytes = frame[1].bytes = (unsigned char *)(uintptr_t)bytes;
    frame[0].len = len - len % sizeof(ecert_dcv_place_t);
    frame[1].len = len;
    take_from(&frames);
    if (ecert_answer_read(bytes, len, &any, &err) == ECERT_ANSWER_FRAMES) {
        take_from(&any);
    }
    ecert_frames_free(&any);
}

static void run(const uint8_t *bytes, size_t len)
{
    char *text = fuzz_text(bytes, len);
    fuzz_in_t in = {bytes, len};

    network(text);
    place(text);
    forms(&in);
    from_jail(bytes, len);
    free(text);
}

static void seeds(void)
{
    static ecert_dcv_place_t places[2] = {
        {.address = {.ss_family = AF_INET}, .len = 16},
        {.address = {.ss_family = AF_INET6}, .len = 28, .given = 1}};

    fuzz_seed_text("10.0.0.0/8");
    fuzz_seed_text("fd00::/8");
    fuzz_seed_text("::ffff:192.168.0.0/112");
    fuzz_seed_text("127.0.0.1:5300");
    fuzz_seed_text("[2001:db8::1]:53");
    fuzz_seed_text("\x0a\0\0\1");
    fuzz_seed_text("192.0.2.1");
    fuzz_seed(places, sizeof(places));
    fuzz_seed("\0\0\0\0\0", 5); /* no frame at all */
    fuzz_seed("\1\0\0\0\0\2\0\0\0\0\0\0\0\0\0", 15);
}

static const char *const words[] = {"/8",      "/128", "::ffff:", "[", "]:53",
                                    "2002::/", "::",   "0.0.0.0", ":", NULL};

FUZZ_TARGET(addr, .run = run, .seeds = seeds, .max = 700, .words = words);
