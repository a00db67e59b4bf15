#include "hostile.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define OK      "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"
#define STATUS(code)                                                           \
    {                                                                          \
        "/" #code, "HTTP/1.1 " #code " X\r\nContent-Length: 2\r\n\r\nno"       \
    }
#define PAD "0123456789012345678901234567890123456789"

static const struct {
    const char *path, *text;
} answers[] = {
    {"/good", OK "Content-Length: 5\r\n\r\nhello"},
    {"/page", OK "Content-Type: text/html\r\n\r\n<html>hi</html>"},
    {"/chunked", CHUNKED "3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nX: y\r\n\r\n"},
    {"/gzip", OK "Content-Encoding: gzip\r\n\r\n\x1f\x8bzz"},
    {"/continue", "HTTP/1.1 100 Continue\r\nLocation: /\r\n\r\n" OK
                  "Content-Length: 5\r\n\r\nhello"},
    {"/nothing", ""},
    {"/empty", OK "Content-Length: 0\r\n\r\n"},
    {"/dropped", OK "Content-Length: 10\r\n\r\n"},
    {"/cut", OK "Content-Length: 10\r\n\r\nhello"},
    {"/cut-header", OK "Content-Len"},
    {"/reset", OK "Content-Length: 10\r\n\r\nhello"},
    {"/10GB", OK "Content-Length: 10000000000\r\n\r\nx"},
    {"/huge", OK "Content-Length: 99999999999999999999999\r\n\r\nx"},
    {"/negative", OK "Content-Length: -1\r\n\r\nx"},
    {"/bad-chunks", CHUNKED "zz\r\nhello\r\n"},
    {"/big-chunk", CHUNKED "fffffffffffffffff\r\nhello\r\n"},
    {"/cut-chunks", CHUNKED "5\r\nhello\r\n"},
    {"/coded", OK "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
    {"/garbage", "\x16\x03\x01 what is this\r\n\r\n"},
    {"/old", "hello"},
    STATUS(101),
    STATUS(201),
    STATUS(204),
    STATUS(206),
    STATUS(300),
    STATUS(304),
    STATUS(401),
    STATUS(404),
    STATUS(407),
    STATUS(500),
    {"/nowhere", "HTTP/1.1 302 X\r\nContent-Length: 0\r\n\r\n"},
    {"/cr", "HTTP/1.1 302 X\r\nLocation: /good\rX-Y: z\r\n\r\n"},
    {"/esc", "HTTP/1.1 302 X\r\nLocation: /\x1b[2J\r\n\r\n"},
    {"/loop", "HTTP/1.1 302 X\r\nLocation: /loop\r\n\r\n"},
    {"/1", "HTTP/1.1 301 X\r\nLocation: good\r\n\r\n"},
    {"/2", "HTTP/1.1 302 X\r\nLocation: ./1\r\n\r\n"},
    {"/3", "HTTP/1.1 303 X\r\nLocation: /2?x\r\n\r\n"},
};

/* The second text again and again, after so many milliseconds. */
static const struct {
    const char *path, *text, *again;
    long pause;
} endless[] = {
    {"/drip", OK "Content-Length: 1000\r\n\r\n", "x", 1000},
    {"/drip-header", OK "X: ", "x", 1000},
    {"/headers", OK, "X: " PAD PAD "\r\n", 0},
    {"/header", OK "X: ", PAD PAD, 0},
    {"/continues", "", "HTTP/1.1 100 Continue\r\n\r\n", 0},
    {"/body", OK "\r\n", PAD, 0},
    {"/chunks", CHUNKED, "28\r\n" PAD "\r\n", 0},
    {"/trailers", CHUNKED "2\r\nhi\r\n0\r\n", "X: " PAD PAD "\r\n", 0},
    {"/404-endless", "HTTP/1.1 404 X\r\n\r\n", PAD, 0},
    {"/302-endless", "HTTP/1.1 302 X\r\nLocation: /good\r\n\r\n", PAD, 0},
};

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

typedef struct {
    int fd;
    SSL *ssl;
} peer_t;

static ssize_t take(peer_t *peer, char *out, size_t size)
{
    return peer->ssl ? SSL_read(peer->ssl, out, (int)size)
                     : read(peer->fd, out, size);
}

static int give(peer_t *peer, const char *text, size_t len)
{
    ssize_t n = 0;

    for (; len > 0; text += n, len -= (size_t)n) {
        n = peer->ssl ? SSL_write(peer->ssl, text, (int)len)
                      : write(peer->fd, text, len);
        if (n <= 0) {
            return -1;
        }
    }
    return 0;
}

/* Header and body of the request, as long as they fit. */
static size_t read_request(peer_t *peer, char *out, size_t size)
{
    size_t len = 0, wanted = size - 1;
    const char *end, *announced;
    ssize_t n;

    while (len < wanted) {
        n = take(peer, out + len, wanted - len);
        if (n <= 0 || (len == 0 && out[0] == 0x16)) { /* or TLS */
            break;
        }
        len += (size_t)n;
        out[len] = '\0';
        end = strstr(out, "\r\n\r\n");
        if (end != NULL && wanted == size - 1) {
            announced = strstr(out, "Content-Length: ");
            wanted = (size_t)(end + 4 - out)
                     + (announced ? strtoul(announced + 16, NULL, 10) : 0);
            wanted = wanted < size ? wanted : size - 1;
        }
    }
    out[len] = '\0';
    return len;
}

static void repeat(peer_t *peer, const char *text, long pause)
{
    struct timespec ms = {pause / 1000, pause % 1000 * 1000000};

    while (give(peer, text, strlen(text)) == 0) {
        if (pause > 0) {
            nanosleep(&ms, NULL);
        }
    }
}

/* The end of the connection comes as a reset. */
static void reset(peer_t *peer)
{
    static const struct linger at_once = {1, 0};

    usleep(50000);
    setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

static void from_table(peer_t *peer, const char *path)
{
    for (size_t i = 0; i < COUNT(answers); i++) {
        if (strcmp(path, answers[i].path) == 0) {
            give(peer, answers[i].text, strlen(answers[i].text));
        }
    }
    for (size_t i = 0; i < COUNT(endless); i++) {
        if (strcmp(path, endless[i].path) == 0) {
            give(peer, endless[i].text, strlen(endless[i].text));
            repeat(peer, endless[i].again, endless[i].pause);
        }
    }
    if (strcmp(path, "/reset") == 0) {
        reset(peer);
    }
}

static void answer(peer_t *peer)
{
    static char request[16384], text[4096];
    size_t len = read_request(peer, request, sizeof(request));
    char path[4096] = "", *query;

    sscanf(request, "%*s %4095s", path);
    query = strchr(path, '?');
    if (query != NULL) {
        *query++ = '\0';
    }
    if (strcmp(path, "/echo") == 0) {
        snprintf(text, sizeof(text), OK "Content-Length: %zu\r\n\r\n", len);
        give(peer, text, strlen(text));
        give(peer, request, len);
    } else if (strncmp(path, "/to", 3) == 0 && query != NULL) {
        snprintf(text, sizeof(text),
                 "HTTP/1.1 %.3s X\r\nLocation: %.3000s\r\n\r\n", path + 3,
                 query);
        give(peer, text, strlen(text));
    } else {
        from_table(peer, path);
    }
}

static void serve_one(int fd, SSL_CTX *ctx)
{
    peer_t peer = {fd, NULL};

    alarm(20);
    if (ctx != NULL) {
        peer.ssl = SSL_new(ctx);
        SSL_set_fd(peer.ssl, fd);
        if (SSL_accept(peer.ssl) != 1) {
            _exit(0);
        }
    }
    answer(&peer);
    if (ctx != NULL) {
        SSL_shutdown(peer.ssl);
    }
    close(fd);
    _exit(0);
}

static void serve(int listener, SSL_CTX *ctx)
{
    int fd;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    alarm(120);
    for (;;) {
        fd = accept(listener, NULL, NULL);
        if (fd >= 0 && fork() == 0) {
            close(listener);
            serve_one(fd, ctx);
        }
        close(fd);
    }
}

static int bind_any(unsigned *port)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&in, sizeof(in)) != 0
        || getsockname(fd, (struct sockaddr *)&in, &len) != 0) {
        perror("hostile: bind");
        abort();
    }
    *port = ntohs(in.sin_port);
    return fd;
}

void hostile_start(hostile_t *server, SSL_CTX *ctx)
{
    int listener = bind_any(&server->port);

    if (listen(listener, 32) != 0) {
        perror("hostile: listen");
        abort();
    }
    fflush(NULL);
    server->pid = fork();
    if (server->pid == 0) {
        serve(listener, ctx);
    }
    close(listener);
}

void hostile_stop(hostile_t *server)
{
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
}

unsigned hostile_nobody(void)
{
    unsigned port;

    close(bind_any(&port));
    return port;
}
