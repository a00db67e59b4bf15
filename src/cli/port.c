#include "port.h"

#include <stdlib.h>
#include <string.h>

char *ecert_cli_split_port(char *text)
{
    char *colon = strrchr(text, ':'), *close = strchr(text, ']');

    if (close != NULL) {
        colon = close[1] == ':' ? close + 1 : NULL;
        *close = '\0';
        memmove(text, text + 1, strlen(text));
        if (colon != NULL) {
            colon[0] = '\0';
        }
        return colon ? colon + 1 : NULL;
    }
    if (colon == NULL) {
        return NULL;
    }
    *colon = '\0';
    return colon + 1;
}

int ecert_cli_is_port(const char *text)
{
    size_t len = strlen(text);

    return len <= 5 && strspn(text, "0123456789") == len && atoi(text) >= 1
           && atoi(text) <= 65535;
}
