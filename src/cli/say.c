#include "say.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#define LINE 79

static int coloured(FILE *out)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

    return (no == NULL || no[0] == '\0') && term != NULL && term[0] != '\0'
           && strcmp(term, "dumb") != 0 && isatty(fileno(out));
}

const char *ecert_say_style(FILE *out, ecert_style_t style)
{
    static const char *const escapes[] = {
        [ECERT_SAY_PLAIN] = "\x1b[0m", [ECERT_SAY_BOLD] = "\x1b[1m",
        [ECERT_SAY_DIM] = "\x1b[2m",   [ECERT_SAY_GOOD] = "\x1b[32m",
        [ECERT_SAY_WARN] = "\x1b[33m", [ECERT_SAY_BAD] = "\x1b[31m",
    };

    return coloured(out) ? escapes[style] : "";
}

/* One sign, decoded; its length.  What is no UTF-8 counts as one column. */
static size_t decode(const char *text, wchar_t *sign)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc0 ? 2 : 1;
    unsigned value = len == 1 ? p[0] : p[0] & (0x7fU >> len);

    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            *sign = '?';
            return 1;
        }
        value = value << 6 | (p[i] & 0x3f);
    }
    *sign = (wchar_t)value;
    return len;
}

/* Chinese, Japanese and Korean signs take two columns (UAX #11). */
static int is_wide(wchar_t sign)
{
    return (sign >= 0x1100 && sign <= 0x115f)
           || (sign >= 0x2e80 && sign <= 0xa4cf)
           || (sign >= 0xac00 && sign <= 0xd7a3)
           || (sign >= 0xf900 && sign <= 0xfaff)
           || (sign >= 0xfe30 && sign <= 0xfe6f)
           || (sign >= 0xff00 && sign <= 0xff60)
           || (sign >= 0xffe0 && sign <= 0xffe6) || sign >= 0x20000;
}

int ecert_say_width(const char *text)
{
    int width = 0;
    wchar_t sign;

    for (; *text; text += decode(text, &sign)) {
        decode(text, &sign);
        width += is_wide(sign) ? 2 : 1;
    }
    return width;
}

void ecert_say_padded(FILE *out, const char *text, int width)
{
    int n = width - ecert_say_width(text);

    fprintf(out, "%s%*s", text, n > 0 ? n : 0, "");
}

static int word_width(const char *text, int len)
{
    char word[256];

    snprintf(word, sizeof(word), "%.*s", len, text);
    return ecert_say_width(word);
}

void ecert_say_wrapped(FILE *out, const char *text, int first, int indent)
{
    int column = first, begun = 0;

    while (*text) {
        int blanks = (int)strspn(text, " "); /* two between sentences */
        int len = (int)strcspn(text + blanks, " \n");
        int width;

        text += blanks;
        width = word_width(text, len);
        if (begun && len > 0 && column + blanks + width > LINE) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
            begun = 0;
        }
        if (len > 0) {
            fprintf(out, "%*s%.*s", begun ? blanks : 0, "", len, text);
            column += width + (begun ? blanks : 0);
            begun = 1;
        }
        text += len;
        if (*text == '\n') {
            text++;
            fprintf(out, "\n%*s", *text ? indent : 0, "");
            column = indent;
            begun = 0;
        }
    }
    if (begun) {
        putc('\n', out);
    }
}

void ecert_say_line(FILE *out, const char *fmt, ...)
{
    char text[2048];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    ecert_say_wrapped(out, text, 0, 0);
}
