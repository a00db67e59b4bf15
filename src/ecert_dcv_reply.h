/* An answer of a name server, read without trust (RFC 1035, 4).  Pure. */

#ifndef ECERT_DCV_REPLY_H
#define ECERT_DCV_REPLY_H

#include <stddef.h>
#include <stdint.h>

#define ECERT_DNS_A     1
#define ECERT_DNS_NS    2
#define ECERT_DNS_CNAME 5
#define ECERT_DNS_TXT   16
#define ECERT_DNS_AAAA  28

#define ECERT_DNS_OK       0 /* codes of replies */
#define ECERT_DNS_SERVFAIL 2
#define ECERT_DNS_NXDOMAIN 3
#define ECERT_DNS_REFUSED  5

#define ECERT_DNS_NAME    256
#define ECERT_DNS_RECORDS 16
#define ECERT_DNS_VALUE   512

typedef struct {
    uint32_t ttl;
    unsigned strings; /* that a TXT record is made of */
    size_t len;       /* of the value; more than ECERT_DNS_VALUE: cut */
    unsigned char value[ECERT_DNS_VALUE]; /* strings joined; an address; or a
                                             name, terminated */
} ecert_dns_record_t;

typedef struct {
    unsigned code; /* of the reply */
    int authoritative;
    char alias[ECERT_DNS_NAME]; /* the name is one for this; "" */
    ecert_dns_record_t records[ECERT_DNS_RECORDS]; /* of the type asked for */
    size_t n;
} ecert_dcv_reply_t;

/*
 * Records of this type in the answer, whatever name they stand at: of an alias
 * they stand at its target.  NS alone must stand at owner, so that a zone's
 * are not taken for another's.  -1: malformed.
 */
int ecert_dcv_reply(const unsigned char *bytes, size_t len, unsigned type,
                    const char *owner, ecert_dcv_reply_t *out);

#endif
