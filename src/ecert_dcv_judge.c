#include "ecert_dcv_judge.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "ecert_dcv.h"
#include "ecert_sniff.h"
#include "ecert_err.h"

#define BOM   "\xef\xbb\xbf"
#define BLANK " \t\r\n\v\f"

static void say(ecert_dcv_verdict_t *verdict, ecert_dcv_state_t state,
                const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void say(ecert_dcv_verdict_t *verdict, ecert_dcv_state_t state,
                const char *hint, const char *fmt, ...)
{
    va_list args;

    verdict->state = state;
    va_start(args, fmt);
    vsnprintf(verdict->what, sizeof(verdict->what), fmt, args);
    va_end(args);
    snprintf(verdict->hint, sizeof(verdict->hint), "%s", hint ? hint : "");
}

const char *ecert_dcv_state_word(ecert_dcv_state_t state)
{
    static const char *const words[] = {"good", "unsure", "silent", "bad"};

    return words[state];
}

/* Validators strip white space around what they compare. */
static size_t stripped(const unsigned char *bytes, size_t len)
{
    while (len > 0 && strchr(BLANK, bytes[len - 1]) != NULL
           && bytes[len - 1] != '\0') {
        len--;
    }
    return len;
}

static size_t leading(const unsigned char *bytes, size_t len)
{
    size_t n = 0;

    while (n < len && bytes[n] != '\0' && strchr(BLANK, bytes[n]) != NULL) {
        n++;
    }
    return n;
}

static int begins(const unsigned char *bytes, size_t len,
                  const unsigned char *code, size_t n)
{
    return n > 0 && len >= n && memcmp(bytes, code, n) == 0;
}

/* The first line, fit for a terminal. */
static const char *excerpt(const unsigned char *bytes, size_t len, char *out,
                           size_t size)
{
    size_t n = 0;

    while (n < len && n < 60 && bytes[n] != '\r' && bytes[n] != '\n') {
        n++;
    }
    return ecert_escape(out, size, (const char *)bytes, n);
}

/* ---- no answer --------------------------------------------------------- */

static void judge_trouble(const ecert_dcv_answer_t *answer,
                          ecert_dcv_verdict_t *verdict)
{
    switch (answer->trouble) {
    case ECERT_DCV_NOT_PUBLIC:
        say(verdict, ECERT_DCV_UNSURE,
            "ask a public resolver (--dns-server ADDRESS), or say which "
            "address the name has outside (--resolve)",
            "%s: this is no public address, and the CA sees another one or "
            "none",
            answer->why);
        return;
    case ECERT_DCV_NO_CONNECTION:
        say(verdict, ECERT_DCV_SILENT,
            "let the server listen there and the firewall let everybody in, or "
            "take the address out of the DNS",
            "nobody answers: %s", answer->why);
        return;
    case ECERT_DCV_SLOW_CONNECT:
        say(verdict, ECERT_DCV_SILENT,
            "look for a firewall that drops connections; validators come from "
            "many countries",
            "no connection within %d seconds, and validators wait no longer",
            ECERT_DCV_CONNECT);
        return;
    case ECERT_DCV_SLOW_READ:
        say(verdict, ECERT_DCV_BAD,
            "let the web server itself answer this path, not an application",
            "no whole answer within %d seconds, and validators wait no longer",
            ECERT_DCV_READ);
        return;
    case ECERT_DCV_NO_TLS:
        say(verdict, ECERT_DCV_BAD,
            "let the virtual host for this name speak TLS (any certificate "
            "will do)",
            "no TLS connection: %s", answer->why);
        return;
    case ECERT_DCV_REDIRECT:
        say(verdict, ECERT_DCV_BAD,
            "leave " ECERT_DCV_PREFIX " out of the redirect, or redirect with "
            "301, 302, 307 or 308 to http or https on the usual port",
            "a redirect that validators do not follow: %s", answer->why);
        return;
    default:
        say(verdict, ECERT_DCV_BAD, "see what listens there",
            "the answer is no HTTP: %s", answer->why);
    }
}

/* ---- an answer --------------------------------------------------------- */

static int is_login(const ecert_dcv_answer_t *answer)
{
    static const char *const words[] = {"login",  "logon", "signin", "sign-in",
                                        "sso",    "saml",  "oauth",  "/cas/",
                                        "/auth?", "/auth/"};

    for (size_t i = 0; i < answer->n_hops; i++) {
        for (size_t k = 0; k < sizeof(words) / sizeof(words[0]); k++) {
            if (strcasestr(answer->hops[i].location, words[k]) != NULL) {
                return 1;
            }
        }
    }
    return 0;
}

static size_t host_of(const char *url, const char **host)
{
    const char *p = strstr(url, "://");

    *host = p ? p + 3 : url;
    return strcspn(*host, "/:?#");
}

/* 1 when a redirect led to another host: which. */
static int moved(const ecert_dcv_answer_t *answer, char *out, size_t size)
{
    const char *first, *last;
    size_t n_first, n_last;

    if (answer->n_hops < 2) {
        return 0;
    }
    n_first = host_of(answer->hops[0].url, &first);
    n_last = host_of(answer->hops[answer->n_hops - 1].url, &last);
    snprintf(out, size, "%.*s", (int)n_last, last);
    ecert_trim(out);
    return n_first != n_last || strncasecmp(first, last, n_first) != 0;
}

/* Who it may have been that answered something else.  Names are cut between
 * two signs, not within one. */
static void blame(const ecert_dcv_answer_t *answer, char *out, size_t size)
{
    char host[121], name[101];

    if (is_login(answer)) {
        snprintf(out, size,
                 "it is redirected to a login page: leave " ECERT_DCV_PREFIX
                 " out of the login");
    } else if (moved(answer, host, sizeof(host))) {
        snprintf(out, size,
                 "another host answers, %s: leave " ECERT_DCV_PREFIX
                 " out of the redirect, or put the file there, too",
                 host);
    } else if (answer->certificate[0]) {
        snprintf(name, sizeof(name), "%.100s", answer->certificate);
        snprintf(out, size,
                 "another virtual host answers (its certificate is for %s):"
                 " let one with this name listen at this address",
                 ecert_trim(name));
    } else if (answer->cdn[0]) {
        snprintf(out, size,
                 "a CDN answers (%s): let it pass " ECERT_DCV_PREFIX
                 " through to the server, and keep nothing of it",
                 answer->cdn);
    } else {
        snprintf(out, size,
                 "see that this address is the server with ecert in it, that "
                 "ecert_dcv is not off there, and what stands before it "
                 "(proxy, load balancer)");
    }
}

static int is_slip(const ecert_dcv_answer_t *answer, const unsigned char *code,
                   size_t len)
{
    return code != NULL
               ? begins(answer->slip, answer->slip_len, code,
                        len < sizeof(answer->slip) ? len : sizeof(answer->slip))
               : answer->slip_len > 0 && answer->slip[0] != '<';
}

static void judge_status(const ecert_dcv_answer_t *answer,
                         const unsigned char *code, size_t len,
                         ecert_dcv_verdict_t *verdict)
{
    const char *word = answer->status == 404   ? " (not found)"
                       : answer->status == 403 ? " (forbidden)"
                       : answer->status == 401 ? " (a password is wanted)"
                       : answer->status == 206 ? " (a part)"
                       : answer->status >= 500 ? " (the server failed)"
                                               : "";
    char who[300];

    if (is_slip(answer, code, len)) {
        say(verdict, ECERT_DCV_BAD,
            "the folder is .well-known, with a dot: put the file there, or use "
            "ecert dcv add",
            "status %d%s; the file stands at the path without the dot",
            answer->status, word);
        return;
    }
    blame(answer, who, sizeof(who));
    say(verdict, ECERT_DCV_BAD, who, "status %d%s, and only 200 counts",
        answer->status, word);
}

static const unsigned char *find(const unsigned char *bytes, size_t len,
                                 const unsigned char *code, size_t n)
{
    return n > 0 ? memmem(bytes, len, code, n) : NULL;
}

/* What is wrong whatever the code is; 1: something was said. */
static int judge_look(const ecert_dcv_answer_t *answer,
                      ecert_dcv_verdict_t *verdict)
{
    size_t skip = leading(answer->body, answer->kept);
    ecert_sniff_t found;
    char who[300];

    if (answer->len == 0) {
        say(verdict, ECERT_DCV_BAD, "put the file again: ecert dcv add",
            "the answer is empty");
        return 1;
    }
    if (answer->coding[0] && strcasecmp(answer->coding, "identity") != 0) {
        say(verdict, ECERT_DCV_BAD, "switch compression off for this path",
            "it is compressed (%s), though nobody asked for it",
            answer->coding);
        return 1;
    }
    found = ecert_sniff(answer->body + skip, answer->kept - skip);
    if (found.name == NULL) {
        return 0;
    }
    blame(answer, who, sizeof(who));
    say(verdict, ECERT_DCV_BAD, who, "status 200, but this is %s, not the code",
        found.name);
    return 1;
}

/* Something stands before it; 1: that was said. */
static int judge_before(const ecert_dcv_answer_t *answer,
                        ecert_dcv_verdict_t *verdict)
{
    if (begins(answer->body, answer->kept, (const unsigned char *)BOM, 3)) {
        say(verdict, ECERT_DCV_BAD,
            "save it without one, or use ecert dcv add, which takes it away",
            "a byte order mark (BOM) stands before the code");
        return 1;
    }
    if (leading(answer->body, answer->kept) > 0) {
        say(verdict, ECERT_DCV_BAD,
            "the code must be at the very start: ecert dcv add sees to it",
            "white space or a blank line stands before the code");
        return 1;
    }
    return 0;
}

static void judge_other(const ecert_dcv_answer_t *answer,
                        const unsigned char *code, size_t len,
                        ecert_dcv_verdict_t *verdict)
{
    const unsigned char *at = find(answer->body, answer->kept, code, len);
    char who[300], line[250];

    if (at != NULL && (size_t)(at - answer->body) + len <= ECERT_DCV_FIRST) {
        say(verdict, ECERT_DCV_BAD,
            "the answer must be the file and nothing else",
            "the code is not at the start: %zu bytes stand before it",
            (size_t)(at - answer->body));
        return;
    }
    if (at != NULL) {
        say(verdict, ECERT_DCV_BAD,
            "the answer must be the file and nothing else",
            "the code comes behind the first %d bytes, and some validators "
            "read no further",
            ECERT_DCV_FIRST);
        return;
    }
    if (judge_look(answer, verdict)) {
        return;
    }
    blame(answer, who, sizeof(who));
    say(verdict, ECERT_DCV_BAD, who,
        "another answer than the file put here: \"%s\"",
        excerpt(answer->body, answer->kept, line, sizeof(line)));
}

static void judge_known(const ecert_dcv_answer_t *answer,
                        const unsigned char *code, size_t len,
                        ecert_dcv_verdict_t *verdict)
{
    size_t n = len < ECERT_DCV_KEPT ? len : ECERT_DCV_KEPT;

    if (!begins(answer->body, answer->kept, code, n)) {
        if (find(answer->body, answer->kept, code, n) == NULL
            || !judge_before(answer, verdict)) {
            judge_other(answer, code, n, verdict);
        }
        return;
    }
    if (answer->len > ECERT_DCV_KEPT
            ? len < ECERT_DCV_KEPT
            : stripped(answer->body, answer->kept) != n) {
        say(verdict, ECERT_DCV_BAD,
            "the answer must be the file and nothing else",
            "something stands behind the code");
        return;
    }
    say(verdict, ECERT_DCV_GOOD, NULL, "exactly the code");
}

static void judge_unknown(const ecert_dcv_answer_t *answer,
                          ecert_dcv_verdict_t *verdict)
{
    char line[250];

    if (judge_look(answer, verdict) || judge_before(answer, verdict)) {
        return;
    }
    say(verdict, ECERT_DCV_UNSURE,
        "compare it with the portal's, or put the file: ecert dcv add",
        "it answers \"%s\"; whether this is the code is not known here",
        excerpt(answer->body, answer->kept, line, sizeof(line)));
}

void ecert_dcv_judge(const ecert_dcv_answer_t *answer,
                     const unsigned char *code, size_t len,
                     ecert_dcv_verdict_t *verdict)
{
    size_t skip = code != NULL ? leading(code, len) : 0;

    memset(verdict, 0, sizeof(*verdict));
    if (code != NULL) {
        code += skip;
        len = stripped(code, len - skip);
    }
    if (answer->trouble != ECERT_DCV_ANSWERED) {
        judge_trouble(answer, verdict);
    } else if (answer->status != 200) {
        judge_status(answer, code, len, verdict);
    } else if (code != NULL) {
        judge_known(answer, code, len, verdict);
    } else {
        judge_unknown(answer, verdict);
    }
}
