#include "ecert_log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "ecert_priv.h"
#include "ecert_walk.h"

#define LINE 4096

static const ecert_conf_t *log_conf;

static ecert_level_t quiet_from = ECERT_LOG_NOTICE + 1;
static unsigned count;

static const char *const words[] = {"error", "warn", "notice"};

void ecert_log_open(const ecert_conf_t *conf)
{
    log_conf = conf;
}

void ecert_log_quiet(ecert_level_t level)
{
    quiet_from = level;
}

unsigned ecert_log_count(void)
{
    return count;
}

/*
 * A regular file in a folder where nobody else can make or replace files, by a
 * path that nobody else can bend, whichever folder on it that would take.
 */
static int open_anew(const char *file)
{
    ecert_walk_t walk;
    ecert_err_t ignored;
    struct stat st;
    int fd = -1;

    if (ecert_walk_parent(&walk, file, &ignored) != 0) {
        return -1;
    }
    if (!walk.shared
        && fstatat(walk.dir, walk.name, &st, AT_SYMLINK_NOFOLLOW) == 0
        && S_ISREG(st.st_mode)) {
        fd = ecert_priv_log(walk.dir, walk.name);
    }
    ecert_walk_end(&walk);
    return fd;
}

/* What was deleted goes on to take its room on the disk while it is open. */
static int open_none(const struct stat *open_one)
{
    return S_ISREG(open_one->st_mode) && open_one->st_nlink == 0
               ? open("/dev/null", O_WRONLY | O_CLOEXEC)
               : -1;
}

void ecert_log_follow(void)
{
    const char *file = log_conf ? log_conf->log_file : NULL;
    struct stat open_one, named;
    int fd = -1, is_there;

    if (file == NULL || fstat(2, &open_one) != 0) {
        return;
    }
    is_there = lstat(file, &named) == 0;
    if (is_there && open_one.st_ino == named.st_ino
        && open_one.st_dev == named.st_dev) {
        return;
    }
    if (is_there) {
        fd = open_anew(file);
    }
    if (fd < 0) {
        fd = open_none(&open_one);
    }
    if (fd >= 0) {
        dup2(fd, 2);
        close(fd);
    }
}

/* The prefix with {level} and {pid} filled in. */
static size_t put_prefix(char *out, size_t size, ecert_level_t level)
{
    const char *format = log_conf ? log_conf->log_prefix : NULL;
    char text[512], *p;
    time_t now = time(NULL);
    struct tm tm;
    size_t used = 0;

    if (format == NULL) {
        format = "ecert: {level}: ";
    }
    localtime_r(&now, &tm);
    if (strftime(text, sizeof(text), format, &tm) == 0) {
        text[0] = '\0';
    }
    for (p = text; *p != '\0' && used + 32 < size;) {
        if (strncmp(p, "{level}", 7) == 0) {
            used +=
                (size_t)snprintf(out + used, size - used, "%s", words[level]);
            p += 7;
        } else if (strncmp(p, "{pid}", 5) == 0) {
            used += (size_t)snprintf(out + used, size - used, "%ld",
                                     (long)getpid());
            p += 5;
        } else {
            out[used++] = *p++;
        }
    }
    out[used] = '\0';
    return used;
}

/* As syslog(3) writes it, to where the server does: a datagram of its own, for
 * the daemon may be another one by now. */
static void put_syslog(ecert_level_t level, const char *line)
{
    static const int severity[] = {LOG_ERR, LOG_WARNING, LOG_NOTICE};
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    char text[LINE + 512], when[32], *tag;
    time_t now = time(NULL);
    struct tm tm;
    long facility = strtol(log_conf->log_head, &tag, 10);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ssize_t sent;

    localtime_r(&now, &tm);
    strftime(when, sizeof(when), "%b %e %H:%M:%S", &tm);
    snprintf(text, sizeof(text), "<%ld>%s%s: %s",
             facility * 8 + severity[level], when, tag, line);
    snprintf(to.sun_path, sizeof(to.sun_path), "%s", log_conf->log_socket);
    if (fd >= 0) {
        sent = sendto(fd, text, strlen(text), MSG_NOSIGNAL,
                      (struct sockaddr *)&to, sizeof(to));
        (void)sent; /* whoever does not listen loses it, as the server's own */
        close(fd);
    }
}

static void put_line(ecert_level_t level, const char *text)
{
    char line[LINE];
    size_t used = put_prefix(line, sizeof(line) - 1, level);
    ssize_t written;

    if (level >= quiet_from) {
        return;
    }
    count++;
    snprintf(line + used, sizeof(line) - 1 - used, "%s", text);
    if (log_conf && log_conf->log_socket && log_conf->log_head) {
        put_syslog(level, line);
    }
    used = strlen(line);
    line[used++] = '\n';
    ecert_log_follow();
    /* one write, so that lines of several processes stay whole */
    written = write(2, line, used);
    (void)written;
}

void ecert_log(ecert_level_t level, const char *fmt, ...)
{
    char text[LINE - 512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    put_line(level, text);
}

void ecert_log_err(ecert_level_t level, const char *site,
                   const ecert_err_t *err)
{
    char text[LINE - 512];

    put_line(level, ecert_err_line(err, site, text, sizeof(text)));
}
