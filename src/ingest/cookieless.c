/* ingest/cookieless.c - the part that needs a salt and a memory.
 *
 * After repeated events are known and before persons are asked: a repeated event must not prolong a visit, and
 * `$identify` must find the hashed id. Salts come from the kernel's random numbers and live in the transaction
 * of the batch that first needed them, so a batch that is begun again finds the same state. Ids of visits are
 * made of the salt, too, and not of dice: K1. */
#include "ingest/cookieless.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "ingest/heatmap.h"
#include "ingest/property_key.h"
#include "wire/base64.h"
#include "wire/time.h"

enum { FORGET_A_BATCH = 1000, ID_BYTES_MAX = 48 };

struct cookieless {
    EVP_MAC     *mac;
    EVP_MAC_CTX *ctx;
    bool         has_salt; /* of this day, in this transaction */
    uint32_t     salt_day;
    uint8_t      salt[VISIT_SALT_BYTES];
};

int cookieless_new(struct cookieless **out, struct err *err)
{
    struct cookieless *cookieless = calloc(1, sizeof *cookieless);

    if (cookieless == NULL)
        return err_set(err, ERR_FULL, "no memory");
    cookieless->mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
    cookieless->ctx = cookieless->mac == NULL ? NULL : EVP_MAC_CTX_new(cookieless->mac);
    if (cookieless->ctx == NULL) {
        cookieless_free(cookieless);
        return err_set(err, ERR_STOP, "OpenSSL has no SipHash (its default provider is needed)");
    }
    *out = cookieless;
    return 0;
}

void cookieless_free(struct cookieless *cookieless)
{
    if (cookieless == NULL)
        return;
    EVP_MAC_CTX_free(cookieless->ctx);
    EVP_MAC_free(cookieless->mac);
    free(cookieless);
}

/* --- days -------------------------------------------------------------------------------------- */

bool cookieless_day_valid(int64_t day, int64_t now_us)
{
    int64_t start_us = day * TIME_US_DAY;

    return now_us >= start_us - (int64_t)COOKIELESS_DAY_BEFORE_S * TIME_US_S &&
           now_us < start_us + (int64_t)COOKIELESS_DAY_AFTER_S * TIME_US_S;
}

uint32_t cookieless_first_day(int64_t now_us)
{
    int64_t day = (now_us - (int64_t)COOKIELESS_DAY_AFTER_S * TIME_US_S) / TIME_US_DAY + 1;

    return day < 0 ? 0 : (uint32_t)day;
}

int cookieless_begin(struct cookieless *cookieless, struct people_txn *txn, int64_t now_us, struct err *err)
{
    cookieless->has_salt = false;
    return people_visits_forget(txn, cookieless_first_day(now_us), FORGET_A_BATCH, err) < 0 ? -1 : 0;
}

bool cookieless_days_over(struct people *people, int64_t now_us)
{
    struct people_txn *txn;
    struct err         ignored;
    int                old;

    if (people_begin(people, false, &txn, &ignored) < 0)
        return false;
    old = people_visits_old(txn, cookieless_first_day(now_us), &ignored);
    people_abort(txn);
    return old > 0;
}

static int salt_find(struct cookieless *cookieless, struct people_txn *txn, uint32_t day, struct err *err)
{
    uint8_t fresh[VISIT_SALT_BYTES];

    if (cookieless->has_salt && cookieless->salt_day == day)
        return 0;
    cookieless->has_salt = false;
    if (getrandom(fresh, sizeof fresh, 0) != sizeof fresh)
        return err_set(err, ERR_RETRY, "the kernel gives no random numbers for a salt");
    if (people_salt(txn, day, fresh, cookieless->salt, err) < 0)
        return -1;
    cookieless->has_salt = true;
    cookieless->salt_day = day;
    return 0;
}

/* --- hashes ------------------------------------------------------------------------------------ */

static bool hash_begin(struct cookieless *cookieless, const uint8_t salt[VISIT_SALT_BYTES])
{
    size_t           bytes = VISIT_HASH_BYTES;
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &bytes), OSSL_PARAM_construct_end() };

    return EVP_MAC_init(cookieless->ctx, salt, VISIT_SALT_BYTES, params) == 1;
}

static bool hash_add(struct cookieless *cookieless, struct span part)
{
    return part.bytes == 0 || EVP_MAC_update(cookieless->ctx, part.at, part.bytes) == 1;
}

static bool hash_end(struct cookieless *cookieless, uint8_t out[VISIT_HASH_BYTES])
{
    uint8_t plain[VISIT_HASH_BYTES];
    size_t  bytes;

    if (EVP_MAC_final(cookieless->ctx, plain, &bytes, sizeof plain) != 1 || bytes != sizeof plain)
        return false;
    for (size_t i = 0; i < sizeof plain; i += 4)
        memcpy(out + i, plain + 12 - i, 4);
    return true;
}

int cookieless_hash(struct cookieless *cookieless, const uint8_t salt[VISIT_SALT_BYTES], uint32_t project,
                    const struct visitor *visitor, int64_t n, uint8_t out[VISIT_HASH_BYTES], struct err *err)
{
    char head[24], middle[32];

    (void)snprintf(head, sizeof head, "%" PRIu32 "-", project);
    (void)snprintf(middle, sizeof middle, "-%" PRId64 "-", n);
    if (!hash_begin(cookieless, salt) || !hash_add(cookieless, span_text(head)) || !hash_add(cookieless, visitor->ip) ||
        !hash_add(cookieless, SPAN("-")) || !hash_add(cookieless, visitor->domain) || !hash_add(cookieless, SPAN("-")) ||
        !hash_add(cookieless, visitor->agent) || !hash_add(cookieless, span_text(middle)) ||
        !hash_add(cookieless, visitor->extra) || !hash_end(cookieless, out))
        return err_set(err, ERR_STOP, "OpenSSL refuses a hash");
    return 0;
}

/* The id of a visit that begins with this event. */
static int session_new(struct cookieless *cookieless, const uint8_t hash[VISIT_HASH_BYTES], const struct item *item,
                       struct uuid *out, struct err *err)
{
    uint8_t made[VISIT_HASH_BYTES];

    if (!hash_begin(cookieless, cookieless->salt) || !hash_add(cookieless, SPAN("session")) ||
        !hash_add(cookieless, span_of(hash, VISIT_HASH_BYTES)) ||
        !hash_add(cookieless, span_of(item->record.uuid.bytes, sizeof item->record.uuid.bytes)) ||
        !hash_end(cookieless, made))
        return err_set(err, ERR_STOP, "OpenSSL refuses a hash");
    *out = uuid_v7(item->record.timestamp_us / TIME_US_MS, made);
    return 0;
}

/* --- ids --------------------------------------------------------------------------------------- */

/* A quoted text: prefix and the hash in base64 without its padding. at NULL: no room. */
static struct span id_text(const char *prefix, const uint8_t hash[VISIT_HASH_BYTES], struct arena *arena)
{
    uint8_t   *text = arena_alloc(arena, ID_BYTES_MAX);
    struct buf buf;

    if (text == NULL)
        return span_of(NULL, 0);
    buf_init_over(&buf, text, ID_BYTES_MAX);
    buf_add_byte(&buf, '"');
    buf_add_text(&buf, prefix);
    base64_encode(span_of(hash, VISIT_HASH_BYTES), &buf);
    while (buf.at[buf.bytes - 1] == '=')
        buf.bytes--;
    buf_add_byte(&buf, '"');
    return buf_span(&buf);
}

static struct span uuid_text(const struct uuid *uuid, struct arena *arena)
{
    uint8_t *text = arena_alloc(arena, UUID_TEXT_BYTES + 2);

    if (text == NULL)
        return span_of(NULL, 0);
    text[0] = text[UUID_TEXT_BYTES + 1] = '"';
    uuid_format(uuid, (char *)text + 1);
    return span_of(text, UUID_TEXT_BYTES + 2);
}

static struct span unquoted(struct span raw)
{
    return span_of(raw.at + 1, raw.bytes - 2);
}

/* Into the room that cookieless_keys_take left. */
static void property_fill(struct item *item, enum property_key key, struct span raw)
{
    for (size_t i = 0; i < item->properties.count; i++)
        if (span_equal(item->properties.at[i].key, property_key_texts[key].name)) {
            item->properties.at[i].value = (struct json_value){ .kind = JSON_STRING, .raw = raw };
            return;
        }
}

/* Under the one id of all visitors, which is nobody's: also `$identify` with it joins nobody, or all of them would be one person. */
static bool is_anonymous(const struct item *item)
{
    return span_is(item->record.distinct_id, COOKIELESS_SENTINEL);
}

/* base: of the visitor; hash: of the visitor since the last `$identify`. */
static int ids_fill(struct item *item, const uint8_t base[VISIT_HASH_BYTES], const uint8_t hash[VISIT_HASH_BYTES],
                    const struct uuid *session, struct arena *arena, struct err *err)
{
    struct span id = id_text("cookieless_", hash, arena), device = id_text("cookielessd_", base, arena);
    struct span session_id = uuid_text(session, arena);

    if (id.at == NULL || device.at == NULL || session_id.at == NULL)
        return err_set(err, ERR_FULL, "no room in the arena for the ids of a visitor");
    property_fill(item, KEY_DISTINCT_ID, id);
    property_fill(item, KEY_DEVICE_ID, device);
    property_fill(item, KEY_SESSION_ID, session_id);
    item->session_id = session_id;
    if (item->heatmap != NULL)
        item->heatmap->session_id = unquoted(session_id);
    if (item->visitor->stateful && item->kind == EVENT_IDENTIFY) {
        property_fill(item, KEY_ANON_DISTINCT_ID, id);
        item->who.merge_other = unquoted(id);
    }
    if (!item->visitor->stateful || is_anonymous(item))
        item->record.distinct_id = item->who.distinct_id = unquoted(id);
    return 0;
}

/* --- one event --------------------------------------------------------------------------------- */

/* How many had identified before this visitor did, or would. */
static int identifies_before(struct people_txn *txn, const struct item *item, const uint8_t base[VISIT_HASH_BYTES],
                             int64_t *out, struct err *err)
{
    uint32_t day = item->visitor->day, project = item->project->id, count;

    if (item->kind == EVENT_IDENTIFY && !is_anonymous(item)) {
        if (people_identifies_add(txn, day, project, base, &item->record.uuid, &count, err) < 0)
            return -1;
        *out = count;
        return 0;
    }
    if (people_identifies(txn, day, project, base, &count, err) < 0)
        return -1;
    *out = is_anonymous(item) ? (int64_t)count : (int64_t)count - 1;
    return 0;
}

static int visit_find(struct cookieless *cookieless, struct people_txn *txn, const struct item *item,
                      const uint8_t hash[VISIT_HASH_BYTES], struct uuid *session_out, struct err *err)
{
    struct visit visit;
    uint32_t     day = item->visitor->day, project = item->project->id;
    int64_t      now_ms = item->record.timestamp_us / TIME_US_MS;
    int          got = people_visit_get(txn, day, project, hash, &visit, err);

    if (got < 0)
        return -1;
    if ((got == 0 || now_ms - visit.last_ms > COOKIELESS_IDLE_MS) &&
        session_new(cookieless, hash, item, &visit.session, err) < 0)
        return -1;
    visit.last_ms = now_ms;
    *session_out = visit.session;
    return people_visit_put(txn, day, project, hash, &visit, err);
}

int cookieless_item(struct cookieless *cookieless, struct people_txn *txn, struct item *item, struct arena *arena,
                    struct err *err)
{
    const struct visitor *visitor = item->visitor;
    uint8_t               base[VISIT_HASH_BYTES], hash[VISIT_HASH_BYTES];
    struct uuid           session;
    int64_t               n;

    if (salt_find(cookieless, txn, visitor->day, err) < 0 ||
        cookieless_hash(cookieless, cookieless->salt, item->project->id, visitor, 0, base, err) < 0)
        return -1;
    if (!visitor->stateful) {
        session = uuid_v7(visitor->day_start_ms, base);
        return ids_fill(item, base, base, &session, arena, err);
    }
    if (identifies_before(txn, item, base, &n, err) < 0 ||
        cookieless_hash(cookieless, cookieless->salt, item->project->id, visitor, n, hash, err) < 0 ||
        visit_find(cookieless, txn, item, hash, &session, err) < 0)
        return -1;
    return ids_fill(item, base, hash, &session, arena, err);
}
