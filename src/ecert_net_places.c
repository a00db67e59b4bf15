/*
 * URLs that failed, for all sites together: many that lack the same certificate
 * ask for it once, and wait together.
 */

#include <stdlib.h>
#include <string.h>

#include "ecert_net_work.h"

#define FORGET_MS (2 * 3600 * INT64_C(1000)) /* twice the longest pause */

uint32_t ecert_net_hash(const char *text)
{
    uint32_t sum = 2166136261U;

    for (; *text; text++) {
        sum = (sum ^ (unsigned char)*text) * 16777619U;
    }
    return sum;
}

static ecert_net_place_t *find(const ecert_net_t *net, const char *url)
{
    uint32_t hash = net->n_places > 0 ? ecert_net_hash(url) : 0;

    for (size_t i = 0; i < net->n_places; i++) {
        if (net->places[i].hash == hash
            && strcmp(net->places[i].url, url) == 0) {
            return &net->places[i];
        }
    }
    return NULL;
}

const ecert_net_place_t *ecert_net_place(const ecert_net_t *net,
                                         const char *url)
{
    const ecert_net_place_t *place = find(net, url);

    return place != NULL && place->due > net->keeper->ms ? place : NULL;
}

static void drop(ecert_net_t *net, size_t i)
{
    free(net->places[i].url);
    net->places[i] = net->places[--net->n_places];
}

/* Those that nobody asked for again, and the oldest one when there are many. */
static void make_room(ecert_net_t *net)
{
    size_t oldest = 0;

    for (size_t i = net->n_places; i-- > 0;) {
        if (net->places[i].due + FORGET_MS < net->keeper->ms) {
            drop(net, i);
        }
    }
    if (net->n_places < ECERT_NET_PLACES) {
        return;
    }
    for (size_t i = 1; i < net->n_places; i++) {
        if (net->places[i].due < net->places[oldest].due) {
            oldest = i;
        }
    }
    drop(net, oldest);
}

static ecert_net_place_t *add(ecert_net_t *net, const char *url)
{
    ecert_net_place_t *place;
    char *copy = strdup(url);

    if (net->places == NULL) {
        net->places = calloc(ECERT_NET_PLACES, sizeof(*net->places));
    }
    if (net->places == NULL || copy == NULL) {
        free(copy);
        return NULL; /* then each site waits for itself */
    }
    make_room(net);
    place = &net->places[net->n_places++];
    memset(place, 0, sizeof(*place));
    place->url = copy;
    place->hash = ecert_net_hash(url);
    return place;
}

void ecert_net_place_failed(ecert_net_t *net, const char *url,
                            const ecert_err_t *err)
{
    ecert_net_place_t *place = find(net, url);

    if (place == NULL) {
        place = add(net, url);
    }
    if (place == NULL || place->due > net->keeper->ms) {
        return;
    }
    net->is_changed = 1;
    place->failures += place->failures < 1000;
    place->due = net->keeper->ms + ecert_net_backoff(place->failures);
    place->error = *err;
}

void ecert_net_place_again(ecert_net_t *net, const char *url,
                           const ecert_want_t *want)
{
    ecert_net_place_t *place = find(net, url) == NULL ? add(net, url) : NULL;

    if (place != NULL) {
        place->failures = want->failures;
        place->due = want->due;
        place->error = want->error;
    }
}

void ecert_net_place_came(ecert_net_t *net, const char *url)
{
    ecert_net_place_t *place = find(net, url);

    if (place != NULL) {
        drop(net, (size_t)(place - net->places));
    }
}

void ecert_net_places_free(ecert_net_t *net)
{
    while (net->n_places > 0) {
        drop(net, net->n_places - 1);
    }
    free(net->places);
}
