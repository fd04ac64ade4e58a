/* ingest/geoip.c - look-ups in address databases.
 *
 * A look-up costs a walk of up to 128 bits and a decoding for each field, and a person's events come from
 * one address: so answers are kept, as finished JSON values, in a small table where a newer address
 * overwrites an older one in its place. */
#include "ingest/geoip.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <maxminddb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/say.h"
#include "ingest/member_list.h"
#include "wire/utf8.h"

enum {
    GEOIP_FILES_MAX = 4,
    GEOIP_CACHE_PLACES = 2048,   /* a busy project's addresses of a few seconds; 1.3 MiB */
    GEOIP_CACHE_TEXT_BYTES = 480, /* the longest seen in DB-IP's file of 2026-06 is 312 */
    GEOIP_ADDRESS_BYTES_MAX = 45
};

struct cached {
    uint8_t  address_bytes; /* 0: free */
    bool     found;
    uint8_t  address[GEOIP_ADDRESS_BYTES_MAX];
    uint16_t value_bytes[KEY_GEOIP_COUNT];
    uint8_t  text[GEOIP_CACHE_TEXT_BYTES];
};

struct geoip {
    bool           shared; /* the files are another one's */
    size_t         file_count;
    MMDB_s         files[GEOIP_FILES_MAX];
    struct cached *cache;
};

/* --- files ------------------------------------------------------------------------------------- */

static bool has_suffix(const char *name, const char *suffix)
{
    size_t bytes = strlen(name), suffix_bytes = strlen(suffix);

    return bytes > suffix_bytes && strcmp(name + bytes - suffix_bytes, suffix) == 0;
}

static bool has_cities(const MMDB_s *file)
{
    return strcasestr(file->metadata.database_type, "city") != NULL ||
           strcasestr(file->metadata.database_type, "enterprise") != NULL;
}

int geoip_open(const char *folder, struct geoip **out, struct err *err)
{
    struct geoip  *geoip = calloc(1, sizeof *geoip);
    DIR           *dir = opendir(folder);
    struct dirent *entry;
    char           path[4096];

    if (geoip != NULL)
        geoip->cache = calloc(GEOIP_CACHE_PLACES, sizeof *geoip->cache);
    if (geoip == NULL || geoip->cache == NULL) {
        (void)err_set(err, ERR_FULL, "no memory for address look-ups");
        goto failed;
    }
    while (dir != NULL && geoip->file_count < GEOIP_FILES_MAX && (entry = readdir(dir)) != NULL) {
        MMDB_s *file = &geoip->files[geoip->file_count];

        if (!has_suffix(entry->d_name, ".mmdb") ||
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) >= (int)sizeof path ||
            MMDB_open(path, MMDB_MODE_MMAP, file) != MMDB_SUCCESS)
            continue;
        if (has_cities(file))
            geoip->file_count++;
        else
            MMDB_close(file);
    }
    if (geoip->file_count == 0) {
        (void)err_set(err, ERR_INPUT, "no database of cities (*.mmdb) in %s", folder);
        goto failed;
    }
    if (dir != NULL)
        closedir(dir);
    *out = geoip;
    return 0;
failed:
    if (dir != NULL)
        closedir(dir);
    geoip_close(geoip);
    return -1;
}

void geoip_close(struct geoip *geoip)
{
    if (geoip == NULL)
        return;
    for (size_t i = 0; i < geoip->file_count && !geoip->shared; i++)
        MMDB_close(&geoip->files[i]);
    free(geoip->cache);
    free(geoip);
}

/* The handles are copied: a look-up only reads what is mapped. */
struct geoip *geoip_share(const struct geoip *of)
{
    struct geoip *geoip = malloc(sizeof *geoip);

    if (geoip == NULL)
        return NULL;
    *geoip = *of;
    geoip->shared = true;
    geoip->cache = calloc(GEOIP_CACHE_PLACES, sizeof *geoip->cache);
    if (geoip->cache == NULL) {
        free(geoip);
        return NULL;
    }
    return geoip;
}

/* --- fields ------------------------------------------------------------------------------------ */

static struct span field_text(MMDB_entry_s *entry, const char *const *path)
{
    MMDB_entry_data_s data;
    struct span       text;

    if (MMDB_aget_value(entry, &data, path) != MMDB_SUCCESS || !data.has_data || data.type != MMDB_DATA_TYPE_UTF8_STRING)
        return SPAN("");
    text = span_of(data.utf8_string, data.data_size);
    return utf8_valid(text) ? text : SPAN("");
}

#define PATH(...) (const char *const[]){ __VA_ARGS__, NULL }

/* The flat name, else the nested one. */
static struct span field_either(MMDB_entry_s *entry, const char *const *flat, const char *const *nested)
{
    struct span text = field_text(entry, flat);

    return text.bytes > 0 ? text : field_text(entry, nested);
}

static bool field_number(MMDB_entry_s *entry, const char *const *path, double *out, bool *single)
{
    MMDB_entry_data_s data;

    if (MMDB_aget_value(entry, &data, path) != MMDB_SUCCESS || !data.has_data)
        return false;
    switch (data.type) {
    case MMDB_DATA_TYPE_DOUBLE: *out = data.double_value; *single = false; return true;
    case MMDB_DATA_TYPE_FLOAT: *out = (double)data.float_value; *single = true; return true;
    case MMDB_DATA_TYPE_UINT16: *out = data.uint16; *single = false; return true;
    case MMDB_DATA_TYPE_UINT32: *out = data.uint32; *single = false; return true;
    default: return false;
    }
}

static void answer_read(MMDB_entry_s *entry, struct geoip_answer *out)
{
    double radius;
    bool   single;

    *out = (struct geoip_answer){
        .city = field_either(entry, PATH("city"), PATH("city", "names", "en")),
        .subdivision_1 = field_either(entry, PATH("state1"), PATH("subdivisions", "0", "names", "en")),
        .subdivision_1_code = field_text(entry, PATH("subdivisions", "0", "iso_code")),
        .subdivision_2 = field_either(entry, PATH("state2"), PATH("subdivisions", "1", "names", "en")),
        .subdivision_2_code = field_text(entry, PATH("subdivisions", "1", "iso_code")),
        .country = field_text(entry, PATH("country", "names", "en")),
        .country_code = field_either(entry, PATH("country_code"), PATH("country", "iso_code")),
        .continent = field_text(entry, PATH("continent", "names", "en")),
        .continent_code = field_text(entry, PATH("continent", "code")),
        .postal_code = field_either(entry, PATH("postcode"), PATH("postal", "code")),
        .time_zone = field_either(entry, PATH("timezone"), PATH("location", "time_zone")),
    };
    out->has_place = (field_number(entry, PATH("latitude"), &out->latitude, &out->single) &&
                      field_number(entry, PATH("longitude"), &out->longitude, &single)) ||
                     (field_number(entry, PATH("location", "latitude"), &out->latitude, &out->single) &&
                      field_number(entry, PATH("location", "longitude"), &out->longitude, &single));
    out->has_radius = field_number(entry, PATH("location", "accuracy_radius"), &radius, &single);
    out->has_place = out->has_place && fabs(out->latitude) <= 90 && fabs(out->longitude) <= 180; /* no NaN either */
    out->has_radius = out->has_radius && radius >= 0 && radius < 1e9;
    if (out->has_radius)
        out->accuracy_radius = (int64_t)radius;
}

/* --- values ------------------------------------------------------------------------------------ */

/* As few digits as read back the same number: of a 32-bit float when the file stores one. */
static struct span number_text(double number, bool single, struct arena *arena)
{
    char text[40];
    int  bytes = 0;

    if (number == (double)(int64_t)number) /* within a globe's bounds, or a radius */
        bytes = snprintf(text, sizeof text, "%" PRId64, (int64_t)number);
    for (int digits = 1; bytes == 0 && digits <= 17; digits++) {
        bytes = snprintf(text, sizeof text, "%.*g", digits, number);
        if (digits < 17 && (single ? strtof(text, NULL) != (float)number : strtod(text, NULL) != number))
            bytes = 0;
    }
    return arena_copy(arena, span_of(text, (size_t)bytes));
}

bool geoip_place_of(const struct geoip_answer *answer, struct arena *arena, struct geoip_place *out)
{
    const struct geoip_country *known = geoip_country_find(answer->country_code);
    struct geoip_place          place = { 0 };
    struct span                 country = answer->country, continent = answer->continent;
    struct span                 continent_code = answer->continent_code;
    bool                        whole = true;

    if (country.bytes == 0 && known != NULL)
        country = span_text(known->name);
    if (continent_code.bytes == 0 && known != NULL)
        continent_code = span_text(known->continent_code);
    if (continent.bytes == 0 && known != NULL)
        continent = span_text(geoip_continent_name(known->continent_code));

    const struct { enum property_key key; struct span text; } texts[] = {
        { KEY_GEOIP_CITY_NAME, answer->city },
        { KEY_GEOIP_SUBDIVISION_2_NAME, answer->subdivision_2 },
        { KEY_GEOIP_SUBDIVISION_2_CODE, answer->subdivision_2_code },
        { KEY_GEOIP_SUBDIVISION_1_NAME, answer->subdivision_1 },
        { KEY_GEOIP_SUBDIVISION_1_CODE, answer->subdivision_1_code },
        { KEY_GEOIP_COUNTRY_NAME, country },
        { KEY_GEOIP_COUNTRY_CODE, answer->country_code },
        { KEY_GEOIP_CONTINENT_NAME, continent },
        { KEY_GEOIP_CONTINENT_CODE, continent_code },
        { KEY_GEOIP_POSTAL_CODE, answer->postal_code },
        { KEY_GEOIP_TIME_ZONE, answer->time_zone },
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].text.bytes > 0) {
            place.values[texts[i].key - KEY_GEOIP_FIRST] = value_quote(texts[i].text, arena);
            whole = whole && place.values[texts[i].key - KEY_GEOIP_FIRST].at != NULL;
        }
    if (answer->has_place) {
        place.values[KEY_GEOIP_LATITUDE - KEY_GEOIP_FIRST] = number_text(answer->latitude, answer->single, arena);
        place.values[KEY_GEOIP_LONGITUDE - KEY_GEOIP_FIRST] = number_text(answer->longitude, answer->single, arena);
    }
    if (answer->has_radius)
        place.values[KEY_GEOIP_ACCURACY_RADIUS - KEY_GEOIP_FIRST] =
            number_text((double)answer->accuracy_radius, false, arena);
    for (size_t i = 0; i < KEY_GEOIP_COUNT; i++)
        whole = whole && (place.values[i].bytes == 0 || place.values[i].at != NULL);
    if (whole)
        *out = place;
    return whole;
}

/* --- look-up ----------------------------------------------------------------------------------- */

/* Addresses that are of no place: RFC 6890's private, loopback, link-local and unspecified ones. */
static bool is_public_v4(const uint8_t a[4])
{
    return !(a[0] == 0 || a[0] == 10 || a[0] == 127 || a[0] >= 224 || (a[0] == 100 && (a[1] & 0xc0) == 64) ||
             (a[0] == 169 && a[1] == 254) || (a[0] == 172 && (a[1] & 0xf0) == 16) || (a[0] == 192 && a[1] == 168));
}

static bool is_public_v6(const struct in6_addr *a)
{
    return !(IN6_IS_ADDR_UNSPECIFIED(a) || IN6_IS_ADDR_LOOPBACK(a) || IN6_IS_ADDR_LINKLOCAL(a) ||
             IN6_IS_ADDR_MULTICAST(a) || (a->s6_addr[0] & 0xfe) == 0xfc);
}

static bool address_read(struct span text, struct sockaddr_storage *out)
{
    struct sockaddr_in  *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    struct in6_addr      a6;
    char                 name[GEOIP_ADDRESS_BYTES_MAX + 1];

    memset(out, 0, sizeof *out);
    memcpy(name, text.at, text.bytes);
    name[text.bytes] = 0;
    if (strlen(name) != text.bytes)
        return false;
    if (inet_pton(AF_INET, name, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        return is_public_v4((const uint8_t *)&v4->sin_addr);
    }
    if (inet_pton(AF_INET6, name, &a6) != 1)
        return false;
    if (IN6_IS_ADDR_V4MAPPED(&a6)) {
        v4->sin_family = AF_INET;
        memcpy(&v4->sin_addr, a6.s6_addr + 12, 4);
        return is_public_v4((const uint8_t *)&v4->sin_addr);
    }
    v6->sin6_family = AF_INET6;
    v6->sin6_addr = a6;
    return is_public_v6(&a6);
}

static bool files_find(struct geoip *geoip, const struct sockaddr_storage *address, struct arena *arena,
                       struct geoip_place *out)
{
    for (size_t i = 0; i < geoip->file_count; i++) {
        struct geoip_answer  answer;
        MMDB_lookup_result_s found;
        int                  problem;

        found = MMDB_lookup_sockaddr(&geoip->files[i], (const struct sockaddr *)address, &problem);
        if (problem != MMDB_SUCCESS || !found.found_entry)
            continue;
        answer_read(&found.entry, &answer);
        return geoip_place_of(&answer, arena, out);
    }
    return false;
}

static void cache_put(struct cached *cached, struct span address, bool found, const struct geoip_place *place)
{
    size_t bytes = 0;

    cached->address_bytes = 0;
    for (size_t i = 0; found && i < KEY_GEOIP_COUNT; i++)
        bytes += place->values[i].bytes;
    if (bytes > GEOIP_CACHE_TEXT_BYTES)
        return;
    bytes = 0;
    for (size_t i = 0; i < KEY_GEOIP_COUNT; i++) {
        cached->value_bytes[i] = found ? (uint16_t)place->values[i].bytes : 0;
        if (cached->value_bytes[i] > 0)
            memcpy(cached->text + bytes, place->values[i].at, place->values[i].bytes);
        bytes += cached->value_bytes[i];
    }
    memcpy(cached->address, address.at, address.bytes);
    cached->found = found;
    cached->address_bytes = (uint8_t)address.bytes;
}

static bool cache_get(const struct cached *cached, struct arena *arena, struct geoip_place *out)
{
    struct span text;
    size_t      bytes = 0;

    for (size_t i = 0; i < KEY_GEOIP_COUNT; i++)
        bytes += cached->value_bytes[i];
    text = cached->found ? arena_copy(arena, span_of(cached->text, bytes)) : (struct span){ NULL, 0 };
    if (text.at == NULL)
        return false;
    for (size_t i = 0; i < KEY_GEOIP_COUNT; i++) {
        out->values[i] = span_of(text.at, cached->value_bytes[i]);
        text = span_from(text, cached->value_bytes[i]);
    }
    return true;
}

bool geoip_find(struct geoip *geoip, struct span address, struct arena *arena, struct geoip_place *out)
{
    struct sockaddr_storage socket_address;
    struct cached          *cached;
    bool                    found;

    if (address.bytes == 0 || address.bytes > GEOIP_ADDRESS_BYTES_MAX)
        return false;
    cached = &geoip->cache[XXH3_64bits(address.at, address.bytes) % GEOIP_CACHE_PLACES];
    if (cached->address_bytes == address.bytes && memcmp(cached->address, address.at, address.bytes) == 0)
        return cache_get(cached, arena, out);
    if (!address_read(address, &socket_address))
        return false;
    found = files_find(geoip, &socket_address, arena, out);
    cache_put(cached, address, found, out);
    return found;
}

struct geoip *geoip_open_usual(const char *asked)
{
    struct geoip *geoip = NULL;
    char          folders[2][4096], exe[2048];
    struct err    err = { 0 };
    ssize_t       bytes;

    if (asked != NULL && strcmp(asked, "off") == 0)
        return NULL;
    if (asked != NULL && *asked != '\0') {
        if (geoip_open(asked, &geoip, &err) < 0)
            say(SAY_WARN, "no places for addresses: %s", err.text);
        return geoip;
    }
    bytes = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[bytes < 0 ? 0 : bytes] = '\0';
    if (strrchr(exe, '/') != NULL)
        *strrchr(exe, '/') = '\0';
    (void)snprintf(folders[0], sizeof folders[0], "%s/../deps/geoip", exe);
    (void)snprintf(folders[1], sizeof folders[1], "%s/../share/penstock", exe);
    for (size_t i = 0; i < 2; i++)
        if (geoip_open(folders[i], &geoip, &err) == 0)
            return geoip;
    say(SAY_INFO, "no places for addresses: no database of cities in %s or %s (docs/ingest.md)", folders[0], folders[1]);
    return NULL;
}
