/* capture/capture_vectors_test.c - requests and what must come of them, through the whole server. The
 * numbers are those of docs/compat.md; expected values are the protocol's, not ours. */
#include <libdeflate.h>

#include "capture/capture_test_kit.h"
#include "wire/base64.h"
#include "wire/time.h"
#include "wire/uuid.h"


#define FORM "Content-Type: application/x-www-form-urlencoded\r\n"
#define JSON "Content-Type: application/json\r\n"
#define E1 "{\"token\":\"phc_alpha\",\"event\":\"signup\",\"distinct_id\":\"u-1\"}"
#define E1_B64 "eyJ0b2tlbiI6InBoY19hbHBoYSIsImV2ZW50Ijoic2lnbnVwIiwiZGlzdGluY3RfaWQiOiJ1LTEifQ=="
#define E1_B64_ENCODED "eyJ0b2tlbiI6InBoY19hbHBoYSIsImV2ZW50Ijoic2lnbnVwIiwiZGlzdGluY3RfaWQiOiJ1LTEifQ%3D%3D"
#define E1_ENCODED                                                                                              \
    "%7B%22token%22%3A%22phc_alpha%22%2C%22event%22%3A%22signup%22%2C%22distinct_id%22%3A%22u-1%22%7D"
#define E1_GZ "H4sIAAAAAAACA6tWKsnPTs1TslIqyEiOT8wpyEhU0lFKLUvNKwGKFWem55UWAAVSMotLMvOSS+IzU4DCpbqGSrUAmNQWCzoAAAA="
#define E1_LZ "N4IgLg9g1gpgdiAXCADgCwMYH0CGAbdHEAGhBgDd4wkQBnASwHM4BXFEkAE3trHrgxgs9TjRYBaAIwgAvkA="
#define E1_LZ_ENCODED "N4IgLg9g1gpgdiAXCADgCwMYH0CGAbdHEAGhBgDd4wkQBnASwHM4BXFEkAE3trHrgxgs9TjRYBaAIwgAvkA%3D"
#define E3_B64_RAW "eyJ0b2tlbiI6InBoY19hbHBoYSIsImV2ZW50IjoiYSIsImRpc3RpbmN0X2lkIjoifn5+Pz8/Pj4+In0="
#define A2_GZ "H4sIAAAAAAACA4uuVirJz07NU7JSKshIjk/MKchIVNJRSi1LzSsBilUA2SmZxSWZeckl8ZkpQJFSXSOlWh38uiqx64oFAJ4IFk5tAAAA"
#define WITH(extra) "{\"token\":\"phc_alpha\",\"event\":\"signup\",\"distinct_id\":\"u-1\"," extra "}"
#define WITH_ID(id) "{\"token\":\"phc_alpha\",\"event\":\"signup\",\"distinct_id\":" id "}"
#define WITH_TOKEN(token) "{\"token\":" token ",\"event\":\"signup\",\"distinct_id\":\"u-1\"}"
#define HYDRATION "failed to hydrate events from request: non-engage request missing event name attribute"
#define OK "{\"status\":\"Ok\"}"
#define X10 "xxxxxxxxxx"
#define X50 X10 X10 X10 X10 X10
#define X200 X50 X50 X50 X50
#define SPACES10 "          "
#define SPACES50 SPACES10 SPACES10 SPACES10 SPACES10 SPACES10
#define SPACES200 SPACES50 SPACES50 SPACES50 SPACES50
#define EURO10 "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"
#define EURO50 EURO10 EURO10 EURO10 EURO10 EURO10
#define EURO200 EURO50 EURO50 EURO50 EURO50
#define OF_U(event) "{\"token\":\"phc_alpha\",\"event\":\"" event "\",\"distinct_id\":\"u\"}"

/* A body that begins with `b64:` stands for the bytes it encodes. records: "event/distinct_id" each. */
static const struct row {
    const char *name, *method, *target, *headers, *body;
    int         status;
    const char *text; /* the answer's body; ended by `*`: its beginning */
    const char *records;
} rows[] = {
    { "1", "POST", "/i/v0/e", JSON, E1, 200, OK, "signup/u-1" },
    { "2a", "POST", "/i/v0/e/", JSON, E1, 200, OK, "signup/u-1" },
    { "2b", "POST", "/e", JSON, E1, 200, OK, "signup/u-1" },
    { "2c", "POST", "/e/", JSON, E1, 200, OK, "signup/u-1" },
    { "2d", "POST", "/capture", JSON, E1, 200, OK, "signup/u-1" },
    { "2e", "POST", "/capture/", JSON, E1, 200, OK, "signup/u-1" },
    { "2f", "POST", "/track", JSON, E1, 200, OK, "signup/u-1" },
    { "2g", "POST", "/track/", JSON, E1, 200, OK, "signup/u-1" },
    { "2h", "POST", "/engage", JSON, E1, 200, OK, "signup/u-1" },
    { "2i", "POST", "/engage/", JSON, E1, 200, OK, "signup/u-1" },
    { "2j", "POST", "/batch", JSON, E1, 200, OK, "signup/u-1" },
    { "2k", "POST", "/batch/", JSON, E1, 200, OK, "signup/u-1" },
    { "4", "GET", "/e", JSON, E1, 200, OK, "signup/u-1" },
    { "5", "OPTIONS", "/e/", "Origin: https://shop.example\r\nAccess-Control-Request-Headers: x-a, content-type\r\n", "",
      200, "*", "" },
    { "6", "POST", "/e", JSON "Origin: https://shop.example\r\n", E1, 200, OK, "signup/u-1" },
    { "7", "POST", "/e", JSON "Origin: https://shop.example\r\n", "{", 400, "failed to parse request: *", "" },
    { "8", "PUT", "/e", JSON, E1, 405, "*", "" },
    { "9", "GET", "/nowhere", "", "", 404, "", "" },
    { "10", "GET", "/", "", "", 200, "capture", "" },
    { "10 HEAD", "HEAD", "/", "", "", 200, "", "" },
    { "HEAD /e", "HEAD", "/e", "", "", 400, "", "" },
    { "11", "GET", "/_readiness", "", "", 200, "*", "" },
    { "12", "GET", "/_liveness", "", "", 200, "*", "" },
    { "13", "POST", "/e?beacon=1", JSON, E1, 204, "", "signup/u-1" },
    { "13 origin", "POST", "/e?beacon=1", JSON "Origin: null\r\n", E1, 204, "", "signup/u-1" },
    { "14", "POST", "/e?beacon=0", JSON, E1, 200, OK, "signup/u-1" },
    { "15a", "POST", "/e", "Content-Type: text/plain\r\n", E1, 200, OK, "signup/u-1" },
    { "15b", "POST", "/e", "", E1, 200, OK, "signup/u-1" },
    { "16", "POST", "/e?ip=1&ver=1.99.0&retry_count=2", JSON, E1, 200, OK, "signup/u-1" },
    { "17", "POST", "/e?_=soon", JSON, E1, 200, OK, "signup/u-1" },
    { "18", "POST", "/e", "Content-Type: text/plain\r\n", E1_B64, 200, OK, "signup/u-1" },
    { "19", "POST", "/batch", JSON, E1_B64, 200, OK, "signup/u-1" },
    { "20", "POST", "/e", JSON,
      "ZXlKMGIydGxiaUk2SW5Cb1kxOWhiSEJvWVNJc0ltVjJaVzUwSWpvaWMybG5iblZ3SWl3aVpHbHpkR2x1WTNSZmFXUWlPaUoxTFRFaWZRPT0=",
      200, OK, "signup/u-1" },
    { "21", "POST", "/batch", JSON,
      "ZXlKMGIydGxiaUk2SW5Cb1kxOWhiSEJvWVNJc0ltVjJaVzUwSWpvaWMybG5iblZ3SWl3aVpHbHpkR2x1WTNSZmFXUWlPaUoxTFRFaWZRPT0=",
      400, "failed to parse request: *", "" },
    { "gzip hint", "POST", "/e?compression=gzip-js", "Content-Type: text/plain\r\n", "b64:" E1_GZ, 200, OK,
      "signup/u-1" },
    { "gzip header", "POST", "/batch", "Content-Encoding: gzip\r\n" JSON, "b64:" A2_GZ, 200, OK, "x/u-2 y/u-2" },
    { "gzip unannounced", "POST", "/i/v0/e", "Content-Type: text/plain\r\n", "b64:" E1_GZ, 200, OK, "signup/u-1" },
    { "26", "POST", "/e?compression=lz64", JSON, "b64:" E1_GZ, 200, OK, "signup/u-1" },
    { "27", "POST", "/e", JSON, "b64:H4sIAAAAAAACA6tWKsnPTs1TslIqyEiOT8wpyEhU0lFKLUvNKwGKFQ==", 400,
      "failed to decode request: invalid GZIP data", "" },
    { "28", "POST", "/e?compression=gzip", JSON, E1, 200, OK, "signup/u-1" },
    { "29", "POST", "/e/?compression=gzip-js", FORM, "data=" E1_B64_ENCODED, 200, OK, "signup/u-1" },
    { "30", "POST", "/e", FORM, "data=" E1_ENCODED, 200, OK, "signup/u-1" },
    { "31", "POST", "/e", FORM, "data=" E1_B64_ENCODED, 200, OK, "signup/u-1" },
    { "32", "POST", "/i/v0/e", FORM, "data=" E1_B64_ENCODED "&compression=base64", 200, OK, "signup/u-1" },
    { "33 plus signs", "POST", "/e", FORM, "data=" E3_B64_RAW, 200, OK, "a/~~~?\?\?>>>" },
    { "34", "POST", "/e", FORM, "compression=lz64&data=" E1_LZ_ENCODED, 200, OK, "signup/u-1" },
    { "35", "POST", "/e?compression=lz64", FORM, "data=" E1_LZ_ENCODED, 200, OK, "signup/u-1" },
    { "35, the form's hint before the header's", "POST", "/batch", FORM "Content-Encoding: lz64\r\n",
      "data=" E1_B64_ENCODED "&compression=base64", 200, OK, "signup/u-1" },
    { "35, the header's hint where the form has none", "POST", "/batch", FORM "Content-Encoding: lz64\r\n", "data=" E1_LZ_ENCODED, 200, OK,
      "signup/u-1" },
    { "35, a hint of lz64 that is wrong", "POST", "/e?compression=lz64", JSON, E1, 200, OK, "signup/u-1" },
    { "35, the same in a form", "POST", "/e?compression=lz64", FORM, "data=" E1_ENCODED, 200, OK, "signup/u-1" },
    { "34, half a pair", "POST", "/e", FORM,
      "compression=lz64&data=N4IgLg9g1gpgdiAXCADgCwMYH0CGAbdHEAGhBgDd4wkQBnASwHM4BXFEkAE3trHrgxgs9TjRYBaAIwcUAJwgoYsvjFpJQRZAA9AvBsBPEAF9DQA%3D", 200,
      OK, "signup/u-1" },
    { "36", "POST", "/batch", "Content-Encoding: lz64\r\n" JSON, E1_LZ, 200, OK, "signup/u-1" },
    { "37", "POST", "/e", FORM, E1, 400, "failed to decode request: expected form data in POST request payload", "" },
    { "38", "POST", "/e", "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n", "data=" E1_ENCODED, 200,
      OK, "signup/u-1" },
    { "39", "POST", "/e", FORM, "_=1&ip=1", 400, "failed to parse request: *", "" },
    { "40", "POST", "/e", JSON, "b64://57", 400, "failed to decode request: invalid UTF8 in request payload", "" },
    { "41a", "POST", "/e", JSON, "", 400, "request missing data payload", "" },
    { "41b", "GET", "/e", "", "", 400, "request missing data payload", "" },
    { "42", "POST", "/e?data=", JSON, E1, 200, OK, "signup/u-1" },
    { "43", "POST", "/e?data=" E1_ENCODED, JSON,
      "{\"token\":\"phc_alpha\",\"event\":\"signup\",\"distinct_id\":\"u-9\"}", 200, OK, "signup/u-1" },
    { "43 base64", "GET", "/e?data=" E1_B64_ENCODED, "", "", 200, OK, "signup/u-1" },
    { "43, names and hints that are escaped", "GET", "/e?%64ata=" E1_LZ_ENCODED "&compression=lz%36%34", "", "", 200, OK, "signup/u-1" },
    { "bad escape", "GET", "/e?data=%zz", "", "", 400, "failed to decode request: invalid urlencoded form data", "" },
    { "52", "POST", "/batch", JSON,
      "{\"api_key\":\"phc_alpha\",\"batch\":[{\"event\":\"a\",\"distinct_id\":\"u-1\",\"token\":\"phc_beta\"}]}", 200, OK,
      "a/u-1" },
    { "54a", "POST", "/e", JSON, "{}", 400, HYDRATION, "" },
    { "54b", "POST", "/batch", JSON, "{\"batch\":[{\"event\":\"a\",\"distinct_id\":\"u\"}]}", 400, HYDRATION, "" },
    { "55", "POST", "/engage", JSON, "{}", 401, "event submitted without an api_key", "" },
    { "56", "POST", "/engage/", JSON, "{\"$token\":\"phc_alpha\",\"$distinct_id\":3,\"$set\":{\"plan\":\"pro\"}}", 200, OK,
      "$identify/3" },
    { "57", "POST", "/e", JSON, "{\"$token\":\"phc_alpha\",\"$distinct_id\":3,\"$set\":{\"plan\":\"pro\"}}", 400, HYDRATION,
      "" },
    { "58, per event", "POST", "/batch", JSON,
      "{\"api_key\":\"phc_alpha\",\"batch\":[{\"event\":\"a\",\"distinct_id\":\"u\"},{\"distinct_id\":\"u\"}]}", 200, OK,
      "a/u !req_hydration/u" },
    { "59", "POST", "/e", JSON, WITH("\"timestamp\":1770087600000"), 400, "failed to parse request: *", "" },
    { "60a", "POST", "/e", JSON, WITH("\"properties\":null"), 400, "failed to parse request: *", "" },
    { "60b", "POST", "/e", JSON, WITH("\"offset\":1.5"), 400, "failed to parse request: *", "" },
    { "61a", "POST", "/e", JSON, "{\"event\":\"a\",}", 400, "failed to parse request: *", "" },
    { "61b", "POST", "/e", JSON, E1 " x", 400, "failed to parse request: *", "" },
    { "62", "POST", "/e", JSON, "{\"token\":\"phc_alpha\",\"event\":\"$performance_event\",\"distinct_id\":\"u\"}", 200, OK,
      "" },
    { "63", "POST", "/e", JSON, "[{\"token\":\"phc_alpha\",\"event\":\"$performance_event\",\"distinct_id\":\"u\"}," E1 "]",
      200, OK, "signup/u-1" },
    { "63, whose token does not count", "POST", "/e", JSON,
      "[{\"token\":\"phc_beta\",\"event\":\"$performance_event\",\"distinct_id\":\"u\"}," E1 "]", 200, OK, "signup/u-1" },
    { "64", "POST", "/e", JSON, "{\"token\":\"phc_alpha\",\"event\":\"\",\"distinct_id\":\"u\"}", 400,
      "event submitted with an empty event name", "" },
    { "65, per event", "POST", "/batch", JSON,
      "{\"api_key\":\"phc_alpha\",\"batch\":[{\"event\":\"a\",\"distinct_id\":\"1\"},{\"event\":\"\",\"distinct_id\":\"2\"},"
      "{\"event\":\"c\",\"distinct_id\":\"3\"}]}",
      200, OK, "a/1 !no_event_name/2 c/3" },
    { "all bad", "POST", "/batch", JSON,
      "{\"api_key\":\"phc_alpha\",\"batch\":[{\"event\":\"\",\"distinct_id\":\"1\"},{\"event\":\"b\"}]}", 400,
      "event submitted with an empty event name", "" },
    { "66", "POST", "/e", JSON, WITH("\"api_key\":\"phc_alpha\""), 200, OK, "signup/u-1" },
    { "67", "POST", "/e", JSON, WITH("\"type\":\"capture\",\"library\":\"x\",\"sent_at\":\"y\""), 200, OK, "signup/u-1" },
    { "69a", "POST", "/e", JSON, WITH("\"uuid\":\"\""), 200, OK, "signup/u-1" },
    { "69b", "POST", "/e", JSON, WITH("\"uuid\":null"), 200, OK, "signup/u-1" },
    { "69, with escapes", "POST", "/e", JSON, WITH("\"uuid\":\"\\u003018f5a1c-0000-7000-8000-0000000000ab\""), 200, OK, "signup/u-1" },
    { "70", "POST", "/e", JSON, WITH("\"uuid\":\"abc\""), 400, "failed to parse request: *", "" },
    { "71a", "POST", "/e", JSON, "{\"token\":\"phc_alpha\",\"event\":\"a\"}", 400, "event submitted without a distinct_id",
      "" },
    { "71b", "POST", "/e", JSON, WITH_ID("null"), 400, "event submitted without a distinct_id", "" },
    { "71c", "POST", "/e", JSON, WITH_ID("\"\""), 400, "event submitted without a distinct_id", "" },
    { "71d", "POST", "/e", JSON, WITH_ID("\"  \""), 400, "event submitted without a distinct_id", "" },
    { "71e", "POST", "/e", JSON, WITH_ID("\"\\u2003\\u00a0\""), 400, "event submitted without a distinct_id", "" },
    { "73", "POST", "/e", JSON, WITH("\"properties\":{\"distinct_id\":\"u-7\"}"), 200, OK, "signup/u-1" },
    { "74a", "POST", "/e", JSON, WITH_ID("23"), 200, OK, "signup/23" },
    { "74b", "POST", "/e", JSON, WITH_ID("23.4"), 200, OK, "signup/23.4" },
    { "74c", "POST", "/e", JSON, WITH_ID("true"), 200, OK, "signup/true" },
    { "74d", "POST", "/e", JSON, WITH_ID("[ \"a\", \"b\" ]"), 200, OK, "signup/[\"a\",\"b\"]" },
    { "74e 30 digits", "POST", "/e", JSON, WITH_ID("123456789012345678901234567890"), 200, OK,
      "signup/123456789012345678901234567890" },
    { "75", "POST", "/e", JSON, WITH_ID("\"" X200 X50 "\""), 200, OK, "signup/" X200 },
    { "75, white space in front of the cut", "POST", "/e", JSON, WITH_ID("\"" SPACES200 "x\""), 200, OK, "signup/" SPACES200 },
    { "75, white space alone", "POST", "/e", JSON, WITH_ID("\"" SPACES200 " \""), 400, "event submitted without a distinct_id", "" },
    { "77", "POST", "/e", JSON, WITH_ID("\"a\\u0000b\""), 200, OK, "signup/a\xef\xbf\xbd" "b" },
    { "79", "POST", "/e", JSON, "{\"event\":\"a\",\"distinct_id\":\"u\"}", 401, "event submitted without an api_key", "" },
    { "80a", "POST", "/e", JSON, WITH_TOKEN("\"\""), 401, "API key is not valid: empty", "" },
    { "80b", "POST", "/e", JSON, WITH_TOKEN("\"  \""), 401, "API key is not valid: empty", "" },
    { "81", "POST", "/e", JSON, WITH_TOKEN("\"" X50 X10 "xxxxx\""), 401, "API key is not valid: too_long", "" },
    { "82", "POST", "/e", JSON, WITH_TOKEN("\"phx_secret\""), 401, "API key is not valid: personal_api_key", "" },
    { "83a", "POST", "/e", JSON, WITH_TOKEN("\"phc_\xc3\xa9\""), 401, "API key is not valid: not_ascii", "" },
    { "84", "POST", "/e", JSON, WITH_TOKEN("\"phc_alpha\\n\""), 200, OK, "signup/u-1" },
    { "unknown token", "POST", "/e", JSON, WITH_TOKEN("\"phc_nobody\""), 401,
      "API key is not known: no project has it", "" },
    { "85", "POST", "/e", JSON, "[" WITH_TOKEN("\"phc_alpha\"") "," WITH_TOKEN("\"phc_beta\"") "]", 401,
      "batch submitted with inconsistent api_key values", "" },
    { "86", "POST", "/e", JSON, "[{\"event\":\"a\",\"distinct_id\":\"u\"}," E1 "]", 200, OK, "a/u signup/u-1" },
    { "87", "POST", "/e", JSON, "{\"event\":\"a\",\"properties\":{\"token\":\"phc_alpha\",\"distinct_id\":\"u-1\"}}", 200, OK,
      "a/u-1" },
    { "88", "POST", "/e", JSON, "{\"event\":\"a\",\"distinct_id\":\"u\",\"properties\":{\"token\":5}}", 401,
      "event submitted without an api_key", "" },
    { "111", "POST", "/e", JSON, WITH("\"properties\":{\"$cookieless_mode\":\"yes\"}"), 400,
      "event submitted with invalid cookieless mode", "" },
    { "empty array", "POST", "/e", JSON, "[]", 400, "request holds no event", "" },
    { "empty batch", "POST", "/batch", JSON, "{\"api_key\":\"phc_alpha\",\"batch\":[]}", 400, "request holds no event", "" },
    { "a number", "POST", "/e", JSON, "0", 400, "failed to parse request: *", "" },
    { "an array of numbers", "POST", "/e", JSON, "[1,2]", 400, "failed to parse request: *", "" },
    { "NaN", "POST", "/e", JSON, WITH("\"properties\":{\"a\":NaN}"), 400, "failed to parse request: *", "" },
    { "lone surrogate", "POST", "/e", JSON, WITH("\"properties\":{\"a\":\"\\ud83d\"}"), 200, OK, "signup/u-1" },
    { "batch keys in another order", "POST", "/batch/", JSON,
      "{\"batch\":[{\"event\":\"a\",\"distinct_id\":\"u\"}],\"historical_migration\":false,\"sentAt\":\"x\",\"api_key\":\"phc_alpha\"}",
      200, OK, "a/u" },
    { "76", "POST", "/e", JSON, WITH_ID("\"" EURO200 EURO10 EURO10 EURO10 EURO10 EURO10 "\""), 200, OK, "signup/" EURO200 },
    { "114", "POST", "/e", JSON,
      "[" OF_U("$$client_ingestion_warning") "," OF_U("event1") "," OF_U("$$heatmap") "," OF_U("$exception") "," OF_U("event2") "]", 200, OK,
      "$$client_ingestion_warning/u event1/u $$heatmap/u $exception/u event2/u" },
    { "116, one record", "POST", "/e", JSON,
      "{\"token\":\"phc_alpha\",\"event\":\"$pageview\",\"distinct_id\":\"u\",\"properties\":{\"$heatmap_data\":{},\"$current_url\":\"x\",\"k\":1}}",
      200, OK, "$pageview/u" },
    { "118", "POST", "/e", JSON,
      "{\"token\":\"phc_alpha\",\"event\":\"$pageview\",\"distinct_id\":\"u\",\"properties\":{\"$prev_pageview_pathname\":\"/x\"}}", 200, OK,
      "$pageview/u" },
    { "162", "POST", "/batch", JSON, "{\"api_key\":\"phc_alpha\",\"batch\":[" OF_U("$ai_generation") "," OF_U("signup") "]}", 200, OK,
      "$ai_generation/u signup/u" },
    { "AI batch", "POST", "/i/v0/ai/batch/", JSON, "{\"api_key\":\"phc_alpha\",\"batch\":[" OF_U("$ai_generation") "," OF_U("$ai_span") "]}", 200,
      OK, "$ai_generation/u $ai_span/u" },
    { "AI batch, gzip", "POST", "/i/v0/ai/batch", JSON, "b64:" A2_GZ, 400, "event 0 is none of a language model*", "" },
    { "AI batch, another event", "POST", "/i/v0/ai/batch", JSON,
      "{\"api_key\":\"phc_alpha\",\"batch\":[" OF_U("$ai_generation") "," OF_U("signup") "]}", 400, "event 1 is none of a language model*", "" },
    { "AI batch, a bad event", "POST", "/i/v0/ai/batch", JSON,
      "{\"api_key\":\"phc_alpha\",\"batch\":[" OF_U("$ai_generation") "," OF_U("") "]}", 200, OK, "$ai_generation/u !no_event_name/u" },
    { "AI batch, no token before what it holds", "POST", "/i/v0/ai/batch", JSON, "{\"event\":\"signup\",\"distinct_id\":\"u\"}", 401,
      "event submitted without an api_key", "" },
    { "AI batch, one event", "GET", "/i/v0/ai/batch/", JSON, OF_U("$ai_x"), 200, OK, "$ai_x/u" },
    { "AI batch, base64 twice", "POST", "/i/v0/ai/batch", JSON,
      "ZXlKMGIydGxiaUk2SW5Cb1kxOWhiSEJvWVNJc0ltVjJaVzUwSWpvaWMybG5iblZ3SWl3aVpHbHpkR2x1WTNSZmFXUWlPaUoxTFRFaWZRPT0=", 400,
      "failed to parse request: *", "" },
    { "logs", "POST", "/i/v1/logs?token=x", JSON, "{}", 404, "", "" },
    { "static", "GET", "/static/recorder.js", "", "", 404, "", "" },
    { "dots", "GET", "/e/../_liveness", "", "", 404, "", "" },
    { "flags", "POST", "/flags/?v=2", JSON, "{}", 200, "{\"flags\":{}*", "" },
    { "decide", "POST", "/decide/?v=3", FORM, "data=e30%3D", 200, "{\"config\":{*", "" },
    { "config", "GET", "/array/phc_alpha/config", "", "", 200, "{\"token\":\"phc_alpha\",*", "" },
    { "config.js", "GET", "/array/phc_alpha/config.js", "", "", 200, "(function(){*", "" },
    { "config, not a token", "GET", "/array/a%22b/config.js", "", "", 404, "", "" },
    { "definitions", "GET", "/flags/definitions?token=x&send_cohorts", "", "", 200, "{\"flags\":[]*", "" },
    { "local evaluation", "GET", "/api/feature_flag/local_evaluation/?token=x", "", "", 200, "{\"flags\":[]*", "" },
    { "remote config", "GET", "/api/projects/@current/feature_flags/k/remote_config?token=x", "", "", 404, "{\"type\"*", "" },
    { "metrics", "GET", "/metrics", "", "", 200, "*", "" },
};

static void check_records(const struct row *row)
{
    kit_check_records(row->name, row->records);
    for (size_t i = 0; i < kit.count; i++) {
        assert_true(span_is(kit.records[i].token, "phc_alpha"));
        assert_int_equal(kit.records[i].project, 1);
        assert_int_equal(kit.records[i].received_us, KIT_NOW_US);
    }
}

static void vectors(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 1 << 20);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        int               status = kit_ask(&kit, row->method, row->target, row->headers, kit_body(row->body, &buf), &answer);

        if (status != row->status)
            fail_msg("%s: status %d, expected %d: %s", row->name, status, row->status, answer.text);
        if (!kit_text_fits(row->text, answer.body))
            fail_msg("%s: body %s, expected %s", row->name, answer.body, row->text);
        assert_non_null(strstr(answer.head, "access-control-allow-credentials: true\r\n"));
        check_records(row);
    }
    buf_fini(&buf);
}

/* --- what the records say ---------------------------------------------------------------------- */

static const struct record *one_record(const char *target, const char *headers, const char *body)
{
    int status = kit_ask(&kit, "POST", target, headers, span_text(body), &answer);

    if (status != 200)
        fail_msg("%s: %s", body, answer.text);
    assert_int_equal(kit_records(&kit), 1);
    assert_int_equal(kit.inputs[0], kit.records[0].flags & RECORD_HISTORICAL ? INPUT_HISTORICAL : INPUT_RAW);
    return &kit.records[0];
}

static int64_t us_of(const char *text)
{
    int64_t us;

    assert_true(time_parse_rfc3339(span_text(text), &us, NULL));
    return us;
}

static void cors(void **state)
{
    (void)state;
    kit_ask(&kit, "OPTIONS", "/e/",
            "Origin: https://shop.example\r\nAccess-Control-Request-Headers: x-a, content-type\r\n", span_text(""), &answer);
    assert_non_null(strstr(answer.head, "access-control-allow-origin: https://shop.example\r\n"));
    assert_non_null(strstr(answer.head, "access-control-allow-headers: x-a, content-type\r\n"));
    assert_non_null(strstr(answer.head, "access-control-allow-methods: GET,POST,OPTIONS\r\n"));
    kit_ask(&kit, "POST", "/e", "Origin: https://shop.example\r\n", span_text("{"), &answer);
    assert_int_equal(answer.status, 400);
    assert_non_null(strstr(answer.head, "access-control-allow-origin: https://shop.example\r\n"));
    assert_null(strstr(answer.head, "access-control-allow-methods"));
    kit_ask(&kit, "POST", "/e", "Origin: https://shop.example\r\n", span_text(E1), &answer);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.head, "access-control-allow-origin: https://shop.example\r\n"));
    kit_ask(&kit, "POST", "/e", "", span_text(E1), &answer);
    assert_null(strstr(answer.head, "access-control-allow-origin"));
    kit_ask(&kit, "GET", "/nowhere", "Origin: https://shop.example\r\n", span_text(""), &answer);
    assert_non_null(strstr(answer.head, "access-control-allow-origin: https://shop.example\r\n"));
    kit_records(&kit);
}

static void uuids(void **state)
{
    const struct record *record;
    struct uuid          uuid;
    char                 text[UUID_TEXT_BYTES];

    (void)state;
    record = one_record("/e", JSON, E1);
    assert_int_equal(record->flags, RECORD_UUID_MADE);
    assert_memory_equal(record->uuid.bytes, "\x01\x9c\x21\xac\xe9\x50", 6); /* KIT_NOW in ms */
    assert_int_equal(uuid_version(&record->uuid), 7);
    record = one_record("/e", JSON, WITH("\"uuid\":\"018F5A1C-0000-7000-8000-0000000000AB\""));
    uuid_format(&record->uuid, text);
    assert_memory_equal(text, "018f5a1c-0000-7000-8000-0000000000ab", UUID_TEXT_BYTES);
    assert_int_equal(record->flags, 0);
    uuid = record->uuid;
    record = one_record("/e", JSON, WITH("\"uuid\":\"\\u003018f5a1c-0000-7000-8000-0000000000ab\""));
    assert_true(uuid_equal(&uuid, &record->uuid));
    assert_int_equal(record->flags, 0);
    record = one_record("/e", JSON, WITH("\"timestamp\":\"2026-02-03T03:00:00Z\""));
    uuid = record->uuid;
    assert_int_equal(record->flags, RECORD_UUID_DERIVED);
    /* the same again, now with a skew: the id stays, only the time is corrected */
    record = one_record("/e?_=1770091516000", JSON, WITH("\"timestamp\":\"2026-02-03T03:00:00Z\""));
    assert_true(uuid_equal(&uuid, &record->uuid));
    assert_int_equal(record->timestamp_us, us_of("2026-02-03T02:59:50Z"));
    record = one_record("/e", JSON, WITH("\"timestamp\":\"2026-02-03T03:00:00Z\",\"x\":1"));
    assert_false(uuid_equal(&uuid, &record->uuid));
    /* when it was sent, which an event may say of itself, is another time with each try */
    record = one_record("/e", JSON, WITH("\"sent_at\":\"2026-02-03T04:05:06Z\",\"timestamp\":\"2026-02-03T03:00:00Z\""));
    uuid = record->uuid;
    record = one_record("/e", JSON, WITH("\"sent_at\":\"2026-02-03T04:05:09.5Z\",\"timestamp\":\"2026-02-03T03:00:00Z\""));
    assert_true(uuid_equal(&uuid, &record->uuid));
    record = one_record("/e", JSON, WITH("\"s\\u0065nt_at\":null,\"timestamp\":\"2026-02-03T03:00:00Z\""));
    assert_false(uuid_equal(&uuid, &record->uuid));
    record = one_record("/e", JSON, WITH("\"sent_at\":\"2026-02-03T04:05:06Z\",\"timestamp\":\"2026-02-03T03:00:00Z\",\"properties\":{\"sent_at\":1}"));
    uuid = record->uuid;
    record = one_record("/e", JSON, WITH("\"sent_at\":\"2026-02-03T04:05:06Z\",\"timestamp\":\"2026-02-03T03:00:00Z\",\"properties\":{\"sent_at\":2}"));
    assert_false(uuid_equal(&uuid, &record->uuid));
}

/* A bad event beside a good one, sent again: letters of one uuid, so that who repairs and replays both stores one event. */
static void uuids_of_bad(void **state)
{
    static const struct { const char *bad; bool same; unsigned flags; } bads[] = {
        { "{\"event\":\"\",\"distinct_id\":\"u\",\"timestamp\":\"2026-02-03T03:00:00Z\"}", true, RECORD_UUID_DERIVED },
        { "{\"event\":\"x\",\"timestamp\":\"2026-02-03T03:00:00Z\"}", true, RECORD_UUID_DERIVED },
        { "{\"event\":\"x\",\"uuid\":\"no\",\"distinct_id\":\"u\",\"timestamp\":\"2026-02-03T03:00:00Z\"}", true, RECORD_UUID_DERIVED },
        { "{\"event\":\"\",\"uuid\":\"018f5a1c-0000-7000-8000-0000000000ab\",\"distinct_id\":\"u\"}", true, 0 },
        { "{\"event\":\"\",\"distinct_id\":\"u\",\"timestamp\":\"soon\"}", false, RECORD_UUID_MADE },
        { "{\"event\":\"\",\"distinct_id\":\"u\"}", false, RECORD_UUID_MADE },
        { "7", false, RECORD_UUID_MADE },
    };
    char        body[1024];
    struct uuid first;

    (void)state;
    for (size_t i = 0; i < sizeof bads / sizeof *bads; i++)
        for (int again = 0; again < 2; again++) {
            (void)snprintf(body, sizeof body,
                           "{\"api_key\":\"phc_alpha\",\"sent_at\":\"2026-02-03T04:05:0%dZ\",\"batch\":[%s,{\"event\":\"a\",\"distinct_id\":\"u\"}]}",
                           again, bads[i].bad);
            assert_int_equal(kit_ask(&kit, "POST", "/batch", JSON, span_text(body), &answer), 200);
            assert_int_equal(kit_records(&kit), 2);
            assert_int_equal(kit.records[0].kind, RECORD_REJECTED);
            assert_int_equal(kit.records[0].flags, bads[i].flags);
            if (again == 0)
                first = kit.records[0].uuid;
            else if (uuid_equal(&first, &kit.records[0].uuid) != bads[i].same)
                fail_msg("%s", bads[i].bad);
        }
}

static void fields(void **state)
{
    const struct record *record;

    (void)state;
    record = one_record("/e", JSON "X-Forwarded-For: 198.51.100.9, 10.0.0.1\r\n", E1);
    assert_true(span_is(record->ip, "198.51.100.9"));
    record = one_record("/e", JSON "X-Forwarded-For: 203.0.113.7\r\n", WITH("\"properties\":{\"capture_internal\":false}"));
    assert_true(span_is(record->ip, "127.0.0.1")); /* 112 */
    record = one_record("/e", JSON, E1);
    assert_true(span_is(record->ip, "127.0.0.1"));
    assert_true(span_is(record->data, E1));
    record = one_record("/e", JSON "X-Forwarded-For: 203.0.113.7\r\n", WITH("\"properties\":{\"capture_internal\":false}"));
    assert_true(span_is(record->ip, "127.0.0.1"));
    record = one_record("/e", JSON, WITH("\"properties\":{\"$cookieless_mode\":true}"));
    assert_true(record->flags & RECORD_COOKIELESS);
    record = one_record("/batch", JSON,
                        "{\"api_key\":\"phc_alpha\",\"historical_migration\":true,\"sent_at\":\"2026-02-03T04:05:16Z\",\"batch\":"
                        "[{\"event\":\"a\",\"distinct_id\":\"u-1\",\"timestamp\":\"2026-02-03T03:00:00Z\"}]}");
    assert_true(record->flags & RECORD_HISTORICAL);
    assert_int_equal(record->timestamp_us, us_of("2026-02-03T02:59:50Z"));
    assert_int_equal(record->sent_at_us, us_of("2026-02-03T04:05:16Z"));
    assert_int_equal(record->timestamp_source, RECORD_TIME_SENT_AT_SKEW);
    assert_true(span_is(record->data, "{\"event\":\"a\",\"distinct_id\":\"u-1\",\"timestamp\":\"2026-02-03T03:00:00Z\"}"));
    record = one_record("/batch", JSON, "{\"api_key\":\"phc_alpha\",\"sent_at\":\"2026-02-03T05:05:16+01\",\"batch\":"
                        "[{\"event\":\"a\",\"distinct_id\":\"u-1\",\"timestamp\":\"2026-02-03T03:00:00Z\"}]}");
    assert_int_equal(record->timestamp_us, us_of("2026-02-03T02:59:50Z"));
    assert_int_equal(record->sent_at_zone_min, 60);
    record = one_record("/e?_=1770091516", JSON, WITH("\"timestamp\":\"2026-02-03T03:00:00Z\""));
    assert_int_equal(record->timestamp_us, us_of("2026-02-03T03:00:00Z")); /* seconds are no milliseconds */
    record = one_record("/e", JSON, WITH("\"properties\":{\"a\":\"\\ud83d\"}"));
    assert_true(span_is(record->data, WITH("\"properties\":{\"a\":\"\\ufffd\"}")));
    assert_true(record->flags & RECORD_REPAIRED);
    record = one_record("/engage/", JSON, "{\"$token\":\"phc_alpha\",\"$distinct_id\":3,\"$set\":{\"plan\":\"pro\"}}");
    assert_true(record->flags & RECORD_ENGAGE);
    record = one_record("/e", JSON, WITH_ID("\"" X200 "y\""));
    assert_true(record->flags & RECORD_DISTINCT_CUT);
    record = one_record("/e", JSON, WITH_ID("\" u-1 \""));
    assert_true(span_is(record->distinct_id, " u-1 "));
}

/* All that such a request brings goes one way, the bad event too, and the next request goes the other one again. */
static void historical_goes_together(void **state)
{
    static const char old[] = "{\"api_key\":\"phc_alpha\",\"historical_migration\":true,\"batch\":["
                              "{\"event\":\"a\",\"distinct_id\":\"u\"},{\"event\":\"b\",\"distinct_id\":\"u\",\"properties\":3},"
                              "{\"event\":\"c\",\"distinct_id\":\"u\"}]}";

    (void)state;
    assert_int_equal(kit_ask(&kit, "POST", "/batch", JSON, span_text(old), &answer), 200);
    assert_int_equal(kit_ask(&kit, "POST", "/e", JSON, span_text(E1), &answer), 200);
    assert_int_equal(kit_records(&kit), 4);
    assert_int_equal(kit.inputs[0], INPUT_RAW);
    assert_false(kit.records[0].flags & RECORD_HISTORICAL);
    for (size_t i = 1; i < 4; i++) {
        assert_int_equal(kit.inputs[i], INPUT_HISTORICAL);
        assert_true(kit.records[i].flags & RECORD_HISTORICAL);
        assert_int_equal(kit.records[i].index, i - 1);
        assert_int_equal(kit.records[i].kind, i == 2 ? RECORD_REJECTED : RECORD_EVENT);
    }
}

static void rejected(void **state)
{
    const struct record *record;

    (void)state;
    kit_ask(&kit, "POST", "/batch", JSON,
            span_text("{\"api_key\":\"phc_alpha\",\"batch\":[{\"event\":\"a\",\"distinct_id\":\"1\"},7,"
                      "{\"event\":\"b\",\"distinct_id\":\"2\",\"timestamp\":5},{\"event\":\"c\",\"distinct_id\":\"3\",\"uuid\":\"no\"}]}"),
            &answer);
    assert_int_equal(answer.status, 200);
    assert_int_equal(kit_records(&kit), 4);
    record = &kit.records[1];
    assert_int_equal(record->kind, RECORD_REJECTED);
    assert_int_equal(record->rejection, RECORD_REJECTED_BAD_FIELD);
    assert_int_equal(record->index, 1);
    assert_true(span_is(record->data, "7"));
    assert_true(span_is(record->detail, "the event is a number, expected an object"));
    record = &kit.records[2];
    assert_true(span_is(record->detail, "timestamp is a number, expected a string or null"));
    assert_true(span_is(record->distinct_id, "2"));
    assert_true(span_is(record->event, "b"));
    record = &kit.records[3];
    assert_int_equal(record->rejection, RECORD_REJECTED_BAD_UUID);
    assert_int_equal(kit.records[0].request, record->request);
}

static void large_events(void **state)
{
    size_t bytes = 1200000;
    char  *body = malloc(bytes + 400);
    size_t at;

    (void)state;
    at = (size_t)sprintf(body, "{\"token\":\"phc_alpha\",\"event\":\"big\",\"distinct_id\":\"u\",\"properties\":{\"a\":\"");
    memset(body + at, 'x', bytes);
    memcpy(body + at + bytes, "\"}}", 3);
    kit_ask(&kit, "POST", "/e", JSON, span_of(body, at + bytes + 3), &answer);
    assert_int_equal(answer.status, 413);
    assert_int_equal(strncmp(answer.body, "maximum event size exceeded: ", 29), 0);
    assert_int_equal(kit_records(&kit), 0);
    memmove(body + 1, body, at + bytes + 3);
    body[0] = '[';
    memcpy(body + 1 + at + bytes + 3, "," E1 "]", sizeof("," E1 "]") - 1);
    kit_ask(&kit, "POST", "/e", JSON, span_of(body, 1 + at + bytes + 3 + sizeof("," E1 "]") - 1), &answer);
    assert_int_equal(answer.status, 200);
    assert_int_equal(kit_records(&kit), 2);
    assert_int_equal(kit.records[0].rejection, RECORD_REJECTED_TOO_LARGE);
    assert_int_equal(kit.records[0].data.bytes, 65536);
    assert_true(span_is(kit.records[1].event, "signup"));
    free(body);
}

/* 44 to 46: what is too large and what is not, on every path that takes events. */
static void sizes(void **state)
{
    static const char *const paths[] = { "/i/v0/e", "/i/v0/e/", "/e", "/e/", "/capture", "/track/", "/engage", "/batch", "/batch/" };
    enum { LARGE = (20 << 20) + 1024, FINE = 4 << 20, SPACES = (100 << 20) + 1 };
    struct libdeflate_compressor *packer = libdeflate_alloc_compressor(1);
    char                         *text = malloc(SPACES), *packed = malloc(1 << 20);
    struct kit                    large;
    size_t                        bytes;

    (void)state;
    kit_init(&large);
    kit_set(&large, "event_bytes_max", "16MiB");
    kit_start(&large);
    memset(text, ' ', SPACES);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        char head[256];
        int  fd = kit_connect(&large);

        memcpy(text, E1, strlen(E1)); /* white space behind it is fine */
        (void)snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n", paths[i], LARGE);
        kit_send(fd, head, strlen(head));
        kit_send(fd, text, LARGE);
        if (kit_receive(fd, &answer) != 413 || strncmp(answer.body, "maximum event size exceeded: ", 29) != 0)
            fail_msg("45 %s: %s", paths[i], answer.text);
        (void)snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n%s", paths[i], strlen(E1), E1);
        kit_send(fd, head, strlen(head));
        if (kit_receive(fd, &answer) != 200)
            fail_msg("45 %s: the next request: %s", paths[i], answer.text);
        (void)close(fd);
        assert_int_equal(kit_records(&large), 1);
        bytes = (size_t)sprintf(text, "{\"token\":\"phc_alpha\",\"event\":\"big\",\"distinct_id\":\"u\",\"properties\":{\"a\":\"");
        memset(text + bytes, 'x', FINE - bytes - 3);
        memcpy(text + FINE - 3, "\"}}", 3);
        if (kit_ask(&large, "POST", paths[i], JSON, span_of(text, FINE), &answer) != 200)
            fail_msg("46 %s: %s", paths[i], answer.text);
        assert_int_equal(kit_records(&large), 1);
        assert_int_equal(large.records[0].data.bytes, FINE);
        memset(text, ' ', FINE);
    }
    bytes = libdeflate_gzip_compress(packer, text, SPACES, packed, 1 << 20);
    assert_true(bytes > 0);
    assert_int_equal(kit_ask(&large, "POST", "/batch", JSON, span_of(packed, bytes), &answer), 413); /* 44 */
    assert_int_equal(strncmp(answer.body, "maximum event size exceeded: ", 29), 0);
    assert_int_equal(kit_records(&large), 0);
    kit_stop(&large);
    libdeflate_free_compressor(packer);
    free(text);
    free(packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors), cmocka_unit_test(cors),     cmocka_unit_test(uuids), cmocka_unit_test(uuids_of_bad),
        cmocka_unit_test(fields),  cmocka_unit_test(historical_goes_together), cmocka_unit_test(rejected), cmocka_unit_test(large_events), cmocka_unit_test(sizes),
    };

    return cmocka_run_group_tests(tests, kit_setup, kit_teardown);
}
