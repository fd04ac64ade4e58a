/* ingest/property_key.h - the property names that ingest has a rule for, each with a number.
 *
 * One look at a key tells which rule cares for it: a list of properties is walked once, and every rule
 * after that finds its keys by number. Keys of the person families are copied from events to persons
 * (`$set`) and, as the first value ever, under an `$initial_` name (`$set_once`). */
#ifndef PENSTOCK_INGEST_PROPERTY_KEY_H
#define PENSTOCK_INGEST_PROPERTY_KEY_H

#include "base/span.h"

/* X(enum suffix, name without "$"): `$name`, first value in `$initial_name`. */
#define PROPERTY_PERSON_KEYS(X)                                                                                 \
    X(APP_BUILD, "app_build") X(APP_NAME, "app_name") X(APP_NAMESPACE, "app_namespace")                         \
    X(APP_VERSION, "app_version") X(BROWSER, "browser") X(BROWSER_VERSION, "browser_version")                   \
    X(DEVICE_TYPE, "device_type") X(CURRENT_URL, "current_url") X(PATHNAME, "pathname") X(OS, "os")             \
    X(OS_NAME, "os_name") X(OS_VERSION, "os_version") X(REFERRING_DOMAIN, "referring_domain")                   \
    X(REFERRER, "referrer") X(SCREEN_HEIGHT, "screen_height") X(SCREEN_WIDTH, "screen_width")                   \
    X(VIEWPORT_HEIGHT, "viewport_height") X(VIEWPORT_WIDTH, "viewport_width")                                   \
    X(RAW_USER_AGENT, "raw_user_agent")

/* X(enum suffix, name): campaign keys stand without "$"; first value in `$initial_name`. */
#define PROPERTY_CAMPAIGN_KEYS(X)                                                                               \
    X(UTM_SOURCE, "utm_source") X(UTM_MEDIUM, "utm_medium") X(UTM_CAMPAIGN, "utm_campaign")                     \
    X(UTM_CONTENT, "utm_content") X(UTM_NAME, "utm_name") X(UTM_TERM, "utm_term") X(GCLID, "gclid")             \
    X(GAD_SOURCE, "gad_source") X(GCLSRC, "gclsrc") X(DCLID, "dclid") X(GBRAID, "gbraid") X(WBRAID, "wbraid")   \
    X(FBCLID, "fbclid") X(MSCLKID, "msclkid") X(TWCLID, "twclid") X(LI_FAT_ID, "li_fat_id") X(MC_CID, "mc_cid") \
    X(IGSHID, "igshid") X(TTCLID, "ttclid") X(RDT_CID, "rdt_cid") X(IRCLID, "irclid") X(KX, "_kx")              \
    X(EPIK, "epik") X(QCLID, "qclid") X(SCCID, "sccid")

/* X(enum suffix, name): `$geoip_name` on the event and in `$set`, `$initial_geoip_name` in `$set_once`. */
#define PROPERTY_GEOIP_KEYS(X)                                                                                  \
    X(CITY_NAME, "city_name") X(CITY_CONFIDENCE, "city_confidence") X(SUBDIVISION_2_NAME, "subdivision_2_name") \
    X(SUBDIVISION_2_CODE, "subdivision_2_code") X(SUBDIVISION_1_NAME, "subdivision_1_name")                     \
    X(SUBDIVISION_1_CODE, "subdivision_1_code") X(COUNTRY_NAME, "country_name") X(COUNTRY_CODE, "country_code") \
    X(CONTINENT_NAME, "continent_name") X(CONTINENT_CODE, "continent_code") X(POSTAL_CODE, "postal_code")       \
    X(LATITUDE, "latitude") X(LONGITUDE, "longitude") X(ACCURACY_RADIUS, "accuracy_radius")                     \
    X(TIME_ZONE, "time_zone")

/* X(enum suffix, name): everything else that a rule reads, adds or removes. */
#define PROPERTY_OTHER_KEYS(X)                                                                                  \
    X(SET, "$set") X(SET_ONCE, "$set_once") X(UNSET, "$unset") X(IP, "$ip") X(SENT_AT, "$sent_at")              \
    X(SESSION_ID, "$session_id") X(WINDOW_ID, "$window_id") X(IS_SERVER, "$is_server")                          \
    X(PROCESS_PERSON_PROFILE, "$process_person_profile") X(GEOIP_DISABLE, "$geoip_disable")                     \
    X(GROUPS, "$groups") X(GROUP_TYPE, "$group_type") X(GROUP_KEY, "$group_key") X(GROUP_SET, "$group_set")     \
    X(GROUP_0, "$group_0") X(GROUP_1, "$group_1") X(GROUP_2, "$group_2") X(GROUP_3, "$group_3")                 \
    X(GROUP_4, "$group_4") X(ELEMENTS, "$elements") X(ELEMENTS_CHAIN, "$elements_chain")                        \
    X(ANON_DISTINCT_ID, "$anon_distinct_id") X(ALIAS, "alias") X(LIB, "$lib") X(VERIFIED, "$verified")          \
    X(PRODUCT_TOURS, "ph_product_tours") X(PRODUCT_TOURS_ACTIVATED, "$product_tours_activated")                 \
    X(FLAG_RESPONSE, "$feature_flag_response")                                                                  \
    X(SURVEY_LAST_SEEN, "$survey_last_seen_date") X(UPDATE_LAST_SEEN, "$update_person_last_seen_at")            \
    X(COOKIELESS_MODE, "$cookieless_mode") X(COOKIELESS_EXTRA, "$cookieless_extra") X(HOST, "$host")            \
    X(TIMEZONE, "$timezone") X(DEVICE_ID, "$device_id") X(DISTINCT_ID, "$distinct_id")                          \
    X(HEATMAP_DATA, "$heatmap_data") X(PREV_PATHNAME, "$prev_pageview_pathname")                                \
    X(PREV_MAX_SCROLL, "$prev_pageview_max_scroll")                                                             \
    X(OVERRIDE_FLAGS, "$override_feature_flag_payloads")                                                        \
    X(WARNING_MESSAGE, "$$client_ingestion_warning_message")                                                    \
    X(WARNING_TYPE, "$$client_ingestion_warning_type")                                                          \
    X(WARNING_SOURCE, "$$client_ingestion_warning_source")                                                      \
    X(WARNING_DETAILS, "$$client_ingestion_warning_details")

#define PROPERTY_KEY_ENUM(suffix, name) KEY_##suffix,
#define PROPERTY_KEY_ENUM_INITIAL(suffix, name) KEY_INITIAL_##suffix,
#define PROPERTY_KEY_ENUM_GEOIP(suffix, name) KEY_GEOIP_##suffix,
#define PROPERTY_KEY_ENUM_INITIAL_GEOIP(suffix, name) KEY_INITIAL_GEOIP_##suffix,

/* A key k below KEY_PERSON_COUNT has its first value at k + KEY_INITIAL_FIRST; GEOIP keys alike. */
enum property_key {
    PROPERTY_PERSON_KEYS(PROPERTY_KEY_ENUM)
    PROPERTY_CAMPAIGN_KEYS(PROPERTY_KEY_ENUM)
    KEY_PERSON_COUNT,
    KEY_INITIAL_FIRST = KEY_PERSON_COUNT,
    KEY_INITIAL_BEFORE = KEY_INITIAL_FIRST - 1,
    PROPERTY_PERSON_KEYS(PROPERTY_KEY_ENUM_INITIAL)
    PROPERTY_CAMPAIGN_KEYS(PROPERTY_KEY_ENUM_INITIAL)
    KEY_GEOIP_FIRST,
    KEY_GEOIP_BEFORE = KEY_GEOIP_FIRST - 1,
    PROPERTY_GEOIP_KEYS(PROPERTY_KEY_ENUM_GEOIP)
    KEY_INITIAL_GEOIP_FIRST,
    KEY_INITIAL_GEOIP_BEFORE = KEY_INITIAL_GEOIP_FIRST - 1,
    PROPERTY_GEOIP_KEYS(PROPERTY_KEY_ENUM_INITIAL_GEOIP)
    KEY_OTHER_FIRST,
    KEY_OTHER_BEFORE = KEY_OTHER_FIRST - 1,
    PROPERTY_OTHER_KEYS(PROPERTY_KEY_ENUM)
    PROPERTY_KEY_COUNT,
    PROPERTY_KEY_NONE = PROPERTY_KEY_COUNT
};

enum { KEY_GEOIP_COUNT = KEY_INITIAL_GEOIP_FIRST - KEY_GEOIP_FIRST, PROPERTY_KEY_SLOTS = 1024 };

/* The text of a key: plain, and as a JSON string. */
struct property_key_text { struct span name, raw; };
extern const struct property_key_text property_key_texts[PROPERTY_KEY_COUNT];

/* Finds the number of a name. Filled once, then only read: any thread. */
struct property_key_table {
    uint8_t slots[PROPERTY_KEY_SLOTS];  /* number + 1 */
    uint8_t words[UINT8_MAX + 1];       /* of event/packed_words.h, by number + 1; 0: none */
};

void property_key_table_init(struct property_key_table *table);
/* PROPERTY_KEY_NONE: no rule cares for it. */
enum property_key property_key_find(const struct property_key_table *table, struct span name);

#endif
