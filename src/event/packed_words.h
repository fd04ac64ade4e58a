/* event/packed_words.h - the words that stand for one byte in packed properties: stored, so never changed.
 *
 * Names of properties that PostHog's SDKs, ingest and most sites give to persons and groups, and values that many of them
 * have. A word's number is its place in these lists, from 1 on. Another list would be another form (event/packed.h);
 * packed_test.c has the checksum of this one.
 * Pairs: what a person has now, and what it had first. Both are often the same, and then the second of them is one byte. */
#ifndef PENSTOCK_EVENT_PACKED_WORDS_H
#define PENSTOCK_EVENT_PACKED_WORDS_H

#include "base/span.h"

/* X(name, name of the first value) */
#define PACKED_PAIRS_OF(X)                                                                                            \
    X("$app_build", "$initial_app_build") X("$app_name", "$initial_app_name")                                         \
    X("$app_namespace", "$initial_app_namespace") X("$app_version", "$initial_app_version")                           \
    X("$browser", "$initial_browser") X("$browser_version", "$initial_browser_version")                               \
    X("$device_type", "$initial_device_type") X("$current_url", "$initial_current_url")                               \
    X("$pathname", "$initial_pathname") X("$os", "$initial_os") X("$os_name", "$initial_os_name")                     \
    X("$os_version", "$initial_os_version") X("$referring_domain", "$initial_referring_domain")                       \
    X("$referrer", "$initial_referrer") X("$screen_height", "$initial_screen_height")                                 \
    X("$screen_width", "$initial_screen_width") X("$viewport_height", "$initial_viewport_height")                     \
    X("$viewport_width", "$initial_viewport_width") X("$raw_user_agent", "$initial_raw_user_agent")                   \
    X("utm_source", "$initial_utm_source") X("utm_medium", "$initial_utm_medium")                                     \
    X("utm_campaign", "$initial_utm_campaign") X("utm_content", "$initial_utm_content")                               \
    X("utm_name", "$initial_utm_name") X("utm_term", "$initial_utm_term") X("gclid", "$initial_gclid")                \
    X("gad_source", "$initial_gad_source") X("gclsrc", "$initial_gclsrc") X("dclid", "$initial_dclid")                \
    X("gbraid", "$initial_gbraid") X("wbraid", "$initial_wbraid") X("fbclid", "$initial_fbclid")                      \
    X("msclkid", "$initial_msclkid") X("twclid", "$initial_twclid") X("li_fat_id", "$initial_li_fat_id")              \
    X("mc_cid", "$initial_mc_cid") X("igshid", "$initial_igshid") X("ttclid", "$initial_ttclid")                      \
    X("rdt_cid", "$initial_rdt_cid") X("irclid", "$initial_irclid") X("_kx", "$initial__kx")                          \
    X("epik", "$initial_epik") X("qclid", "$initial_qclid") X("sccid", "$initial_sccid")                              \
    X("$geoip_city_name", "$initial_geoip_city_name")                                                                 \
    X("$geoip_city_confidence", "$initial_geoip_city_confidence")                                                     \
    X("$geoip_subdivision_2_name", "$initial_geoip_subdivision_2_name")                                               \
    X("$geoip_subdivision_2_code", "$initial_geoip_subdivision_2_code")                                               \
    X("$geoip_subdivision_1_name", "$initial_geoip_subdivision_1_name")                                               \
    X("$geoip_subdivision_1_code", "$initial_geoip_subdivision_1_code")                                               \
    X("$geoip_country_name", "$initial_geoip_country_name")                                                           \
    X("$geoip_country_code", "$initial_geoip_country_code")                                                           \
    X("$geoip_continent_name", "$initial_geoip_continent_name")                                                       \
    X("$geoip_continent_code", "$initial_geoip_continent_code")                                                       \
    X("$geoip_postal_code", "$initial_geoip_postal_code") X("$geoip_latitude", "$initial_geoip_latitude")             \
    X("$geoip_longitude", "$initial_geoip_longitude")                                                                 \
    X("$geoip_accuracy_radius", "$initial_geoip_accuracy_radius")                                                     \
    X("$geoip_time_zone", "$initial_geoip_time_zone") X("$host", "$initial_host")                                     \
    X("$search_engine", "$initial_search_engine") X("$lib", "$initial_lib")

/* X(name) */
#define PACKED_SINGLES(X)                                                                                             \
    X("$creator_event_uuid") X("email") X("name") X("id") X("user_id") X("userId") X("username") X("first_name")      \
    X("firstName") X("last_name") X("lastName") X("full_name") X("phone") X("plan") X("role") X("status")             \
    X("type") X("title") X("created_at") X("createdAt") X("updated_at") X("signup_date") X("company")                 \
    X("company_id") X("company_name") X("organization") X("organization_id") X("organization_name") X("team")         \
    X("team_id") X("team_name") X("workspace_id") X("account_id") X("tenant_id") X("avatar") X("language")            \
    X("locale") X("country") X("country_code") X("city") X("region") X("timezone") X("gender") X("age")               \
    X("tier") X("subscription") X("subscription_status") X("plan_type") X("is_admin") X("is_active")                  \
    X("is_staff") X("is_signed_up") X("is_trial") X("source") X("referral_code") X("industry") X("website")           \
    X("url") X("domain") X("size") X("employees") X("seats") X("members") X("mrr") X("arr") X("$user_id")             \
    X("$device_id") X("$lib_version") X("$browser_language") X("$browser_language_prefix") X("$timezone")             \
    X("$timezone_offset") X("$locale") X("$device_name") X("$device_model") X("$device_manufacturer")                 \
    X("$network_type") X("$is_emulator") X("$survey_last_seen_date") X("$last_posthog_reset") X("$group_0")           \
    X("$ip")

/* X(value, as JSON) */
#define PACKED_VALUES(X)                                                                                              \
    X("null") X("true") X("false") X("\"\"") X("\"$direct\"") X("\"Chrome\"") X("\"Safari\"")                         \
    X("\"Mobile Safari\"") X("\"Firefox\"") X("\"Microsoft Edge\"") X("\"Opera\"") X("\"Samsung Internet\"")          \
    X("\"Chrome iOS\"") X("\"Android Mobile\"") X("\"Facebook Mobile\"") X("\"Windows\"") X("\"Mac OS X\"")           \
    X("\"iOS\"") X("\"Android\"") X("\"Linux\"") X("\"Chrome OS\"") X("\"Desktop\"") X("\"Mobile\"")                  \
    X("\"Tablet\"") X("\"web\"") X("\"10.15.7\"") X("\"10.0\"") X("\"google\"") X("\"bing\"")                         \
    X("\"www.google.com\"") X("\"https://www.google.com/\"") X("\"facebook\"") X("\"email\"") X("\"cpc\"")            \
    X("\"organic\"") X("\"social\"") X("\"referral\"") X("\"Europe\"") X("\"EU\"") X("\"North America\"")             \
    X("\"NA\"") X("\"Asia\"") X("\"AS\"") X("\"South America\"") X("\"SA\"") X("\"Oceania\"") X("\"OC\"")             \
    X("\"Africa\"") X("\"AF\"") X("\"United States\"") X("\"US\"") X("\"United Kingdom\"") X("\"GB\"")                \
    X("\"Germany\"") X("\"DE\"") X("\"India\"") X("\"IN\"") X("\"en-US\"") X("\"en\"") X("\"America/New_York\"")      \
    X("\"Europe/London\"") X("1920") X("1080")

#define PACKED_COUNT_PAIR(now, first) +1
#define PACKED_COUNT_ONE(text) +1
enum {
    PACKED_PAIRS = 0 PACKED_PAIRS_OF(PACKED_COUNT_PAIR),
    PACKED_KEYS = 2 * PACKED_PAIRS + (0 PACKED_SINGLES(PACKED_COUNT_ONE)),
    PACKED_WORDS_OF_VALUES = 0 PACKED_VALUES(PACKED_COUNT_ONE)
};

/* So wide that a word can be copied whole, without asking how long it is. */
struct packed_key { uint8_t bytes; char text[47]; };   /* `"name":`; bytes without the colon */
struct packed_value { uint8_t bytes; char text[31]; };

extern const struct packed_key   packed_keys[PACKED_KEYS + 1];
extern const struct packed_value packed_values[PACKED_WORDS_OF_VALUES + 1];

/* The word's number; 0: it is none. key: as written, with quotes. */
uint8_t packed_key_find(struct span key);
uint8_t packed_value_find(struct span value);

/* 0: the word is of no pair; else 1 to PACKED_PAIRS. */
static inline unsigned packed_pair(unsigned word)
{
    return word > 2 * PACKED_PAIRS ? 0 : (word + 1) / 2;
}

#endif
