/* ingest/geoip.h - where an address is, from a database file on this machine.
 *
 * Reads MaxMind's file format, both with MaxMind's nested fields (city.names.en) and with the flat ones of
 * DB-IP's free database (city). Two files may be given, one for IPv4 and one for IPv6. Country names and
 * continents come from a table of our own when the file has only codes.
 * Nothing is asked over the network. Private, loopback and unreadable addresses are nowhere. */
#ifndef PENSTOCK_INGEST_GEOIP_H
#define PENSTOCK_INGEST_GEOIP_H

#include "base/arena.h"
#include "base/err.h"
#include "ingest/property_key.h"

struct geoip; /* open databases, and a cache of answers. @thread one; another thread has one that shares the databases */

/* Opens every *.mmdb of folder that has cities. ERR_INPUT: there is none; the text says where it looked. */
int  geoip_open(const char *folder, struct geoip **out, struct err *err) must_check;
/* The database of a setting: of that folder; "off": none; empty or NULL: of the first usual folder that has one. NULL
 * when there is none, which was said: events then simply have no place. */
struct geoip *geoip_open_usual(const char *asked);
/* For another thread: the same databases, a cache of its own. To be closed before `of`. NULL: no memory. */
struct geoip *geoip_share(const struct geoip *of);
void geoip_close(struct geoip *geoip);

/* What a database knows; empty text and has_* false where it knows nothing. */
struct geoip_answer {
    struct span city, subdivision_1, subdivision_1_code, subdivision_2, subdivision_2_code;
    struct span country, country_code, continent, continent_code, postal_code, time_zone;
    bool        has_place, has_radius;
    double      latitude, longitude;
    int64_t     accuracy_radius;
    bool        single; /* coordinates were stored as 32-bit floats: written with their own digits */
};

/* The values of the fifteen `$geoip_` properties as JSON, by key - KEY_GEOIP_FIRST; bytes 0: not known. */
struct geoip_place { struct span values[KEY_GEOIP_COUNT]; };

/* false: nowhere. Spans are in the arena, or constant. The arena being full counts as nowhere. */
bool geoip_find(struct geoip *geoip, struct span address, struct arena *arena, struct geoip_place *out);

/* From an answer to property values (the part that needs no file). false: arena full. */
bool geoip_place_of(const struct geoip_answer *answer, struct arena *arena, struct geoip_place *out);

/* Country name and continent of an ISO 3166 code; false when unknown. Constant text. */
struct geoip_country { char code[3]; char continent_code[3]; const char *name; };
const struct geoip_country *geoip_country_find(struct span code);
const char *geoip_continent_name(const char *continent_code);

#endif
