/* Words for people: colour on a terminal only, lines that fit. */

#ifndef ECERT_SAY_H
#define ECERT_SAY_H

#include <stdio.h>

typedef enum {
    ECERT_SAY_PLAIN,
    ECERT_SAY_BOLD,
    ECERT_SAY_DIM,
    ECERT_SAY_GOOD,
    ECERT_SAY_WARN,
    ECERT_SAY_BAD
} ecert_style_t;

/*
 * What begins and ends a style on this stream: an escape sequence on a
 * terminal, "" elsewhere, under NO_COLOR (no-color.org) and TERM=dumb.
 */
const char *ecert_say_style(FILE *out, ecert_style_t style);

/*
 * Text with its lines broken at blanks before column 79, `indent` columns in
 * front of all but the first, which begins at column `first`.  Ends with a
 * newline.
 */
void ecert_say_wrapped(FILE *out, const char *text, int first, int indent);

/* The same for a text of its own: printf, from column 0 on. */
void ecert_say_line(FILE *out, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Columns that UTF-8 text takes on a terminal. */
int ecert_say_width(const char *text);

/* Text, then blanks up to `width` columns. */
void ecert_say_padded(FILE *out, const char *text, int width);

#endif
