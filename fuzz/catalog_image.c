/* fuzz/catalog_image.c - any bytes as the catalog's image, which capture reads. Half of the inputs get a true head, so that
 * what SQLite makes of damaged pages is reached. Nothing crashes, and a snapshot that comes out can be asked for anything. */
#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "catalog/catalog_image.h"
#include "fuzz.h"

enum { HEAD_BYTES = 24, IMAGE_BYTES_MAX = 1 << 20 };

static void ask(const struct catalog_snapshot *snapshot)
{
    const struct catalog_token       *tokens;
    const struct catalog_restriction *restrictions;
    const struct catalog_quota       *quotas;
    const struct catalog_limit       *limits;
    const struct catalog_project     *projects;
    size_t                            count = catalog_snapshot_tokens(snapshot, &tokens), sum = 0;

    for (size_t i = 0; i < count; i++) {
        const struct catalog_token *found = catalog_snapshot_find_token(snapshot, span_text(tokens[i].token));

        if (found == NULL && tokens[i].owner == NULL)
            continue; /* of a project that is not there: nobody has it */
        if (found == NULL || strcmp(found->token, tokens[i].token) != 0)
            abort();
        for (int kind = 0; kind < CATALOG_LIMIT_KIND_COUNT; kind++)
            sum += found->limits[kind] != NULL;
    }
    count = catalog_snapshot_restrictions(snapshot, &restrictions);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < restrictions[i].distinct_id.bytes; k++)
            sum += restrictions[i].distinct_id.at[k];
    sum += catalog_snapshot_quotas(snapshot, &quotas) + catalog_snapshot_limits(snapshot, &limits) + catalog_snapshot_projects(snapshot, &projects);
    if (sum == SIZE_MAX || catalog_snapshot_find_token(snapshot, SPAN("phc_nobody_has_this_one")) != NULL)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct catalog_snapshot *snapshot;
    struct err               err = { .kind = ERR_NONE };
    uint8_t                 *image;

    if (bytes > IMAGE_BYTES_MAX)
        return 0;
    image = malloc(bytes + HEAD_BYTES);
    if (image == NULL)
        return 0;
    memcpy(image, data, bytes);
    if (catalog_image_snapshot(span_of(image, bytes), &snapshot, &err) == 0) {
        ask(snapshot);
        catalog_snapshot_free(snapshot);
    }
    memset(image, 0, HEAD_BYTES);
    memcpy(image, "PNSTIMG1", 8);
    bytes_put_u64(image + 8, bytes);
    memcpy(image + HEAD_BYTES, data, bytes);
    bytes_put_u32(image + 16, crc32c(0, span_of(image + HEAD_BYTES, bytes)));
    if (catalog_image_snapshot(span_of(image, bytes + HEAD_BYTES), &snapshot, &err) == 0) {
        ask(snapshot);
        catalog_snapshot_free(snapshot);
    }
    free(image);
    return 0;
}
