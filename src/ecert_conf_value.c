/* What no value of a directive may be, and what OpenSSL is not to be told
 * beside a site, in either server. */

#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "ecert_conf.h"

/* $name, ${name} and $1 as nginx writes them, %{name} as httpd does. */
static int has_variable(const char *value)
{
    const char *p;

    for (p = value; (p = strpbrk(p, "$%")) != NULL; p++) {
        unsigned char next = (unsigned char)p[1];

        if (next == '{' || (*p == '$' && (isalnum(next) || next == '_'))) {
            return 1;
        }
    }
    return 0;
}

/* What the servers' own directives take for a key that is no file. */
static int has_scheme(const char *value)
{
    static const char *const schemes[] = {
        "data:", "engine:", "file:", "pkcs11:", "store:"};
    size_t i;

    for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (strncmp(value, schemes[i], strlen(schemes[i])) == 0) {
            return 1;
        }
    }
    return 0;
}

const char *ecert_conf_wrong(const char *value)
{
    const unsigned char *p;

    if (*value == '\0') {
        return "has an empty value";
    }
    for (p = (const unsigned char *)value; *p != '\0'; p++) {
        if (*p < 0x20 || *p == 0x7f) {
            return "has a control character in its value";
        }
    }
    if (has_variable(value)) {
        return "has a variable in its value, which is fixed when the server "
               "starts: write the value itself, and a virtual host of its own "
               "for each site";
    }
    if (has_scheme(value)) {
        return "takes names and files, nothing with \"data:\", \"engine:\", "
               "\"file:\", \"pkcs11:\" or \"store:\": write the path of a file";
    }
    return NULL;
}

const char *ecert_conf_command(const char *command)
{
    static const struct {
        const char *command, *instead;
    } table[] = {
        {"Certificate", "it is the site's; remove the command"},
        {"PrivateKey", "it is the site's; remove the command"},
        {"ServerInfoFile", "it belongs to a certificate in a file; remove the "
                           "command"},
        {"ChainCAFile", "name the file with ecert_issuers (ECertIssuers)"},
        {"ChainCAPath", "name the folder with ecert_issuers (ECertIssuers)"},
        {"ChainCAStore", "name the file with ecert_issuers (ECertIssuers)"},
    };
    size_t i;

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcasecmp(command, table[i].command) == 0) {
            return table[i].instead;
        }
    }
    return NULL;
}
