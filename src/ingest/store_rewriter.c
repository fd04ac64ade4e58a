/* ingest/store_rewriter.c - see store_rewriter.h. A pause of ingest is the price of a copy that needs no journal of what
 * changes meanwhile; so it comes seldom, and never for what LMDB reuses by itself. */
#include "ingest/store_rewriter.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/machine.h"
#include "base/say.h"
#include "people/rewrite.h"

#define REWRITE_EVERY_US ((int64_t)10 * 1000000)
#define REWRITE_RETRY_US ((int64_t)300 * 1000000)
enum { REWRITE_PART = 100 /* of the time at most is spent on it, however often somebody is erased */ };
#define REWRITE_LATE_US ((int64_t)12 * 3600 * 1000000)
#define REWRITE_ROOM_BYTES ((uint64_t)256 << 20) /* left for everybody else while there are two copies */

/* A walk down the store's two trees costs 2 to 4 us of CPU where its pages are in the page cache, and several times that where they
 * are not, which the kernel decides; 256 MiB are half a million persons and their ids. In time all of it is used, whatever the number of persons:
 * a value that grew leaves the room of what it was behind. docs/performance.md */
enum { MEMORY_SHARE = 32, WARM_SHARE = 4 /* what of the store is read into the page cache when it is opened */ };
#define MEMORY_MIN ((size_t)256 << 20)
#define MEMORY_MAX ((size_t)2 << 30)

static void folder_of(const struct role_env *env, char to[4096])
{
    (void)snprintf(to, 4096, "%s/people", env->data_folder);
}

size_t store_memory_usual(uint64_t machine_bytes)
{
    uint64_t share = machine_bytes / MEMORY_SHARE;

    return share < MEMORY_MIN ? MEMORY_MIN : share > MEMORY_MAX ? MEMORY_MAX : (size_t)share;
}

int store_open(const struct role_env *env, const struct ingest_options *options, struct people **out, struct err *err)
{
    char                  folder[4096];
    const char           *recent = getenv("PENSTOCK_SEEN_RECENT_MAX"); /* for tests only: docs/testing.md */
    struct people_options store = { .folder = folder, .settings = stores_people(env->stores), .unit = env->unit, .owner = true,
                                  .memory_bytes = (size_t)options->people_memory,
                                  .warm_bytes = machine_memory_bytes() / WARM_SHARE };

    folder_of(env, folder);
    if (store.memory_bytes == 0) /* of several units each has its own */
        store.memory_bytes = log_on_kafka(stores_log(env->stores)) ? MEMORY_MIN : store_memory_usual(machine_memory_bytes());
    if (recent != NULL)
        store.seen_recent_max = (size_t)strtoul(recent, NULL, 10);
    if (people_rewrite_clean(folder, err) < 0 || people_open(&store, out, err) < 0 || people_seen_load(*out, err) < 0)
        return err_wrap(err, "people");
    return 0;
}

static bool rewriter_due(struct store_rewriter *rewriter, struct people *people, const char *folder, bool behind, int64_t now_us)
{
    static struct say_gate gate;
    struct err             err = { .kind = ERR_NONE };
    struct statvfs         disk;
    uint64_t               bytes;
    bool                   wanted;

    if (now_us < rewriter->next_us)
        return false;
    if (people_rewrite_wanted(people, &wanted, &err) < 0) {
        say_seldom(&gate, SAY_WARN, "whether the store of persons is to be written anew is not known: %s", err.text);
        wanted = false;
    }
    if (!wanted) {
        rewriter->wanted_us = 0;
        return false;
    }
    if (rewriter->wanted_us == 0)
        rewriter->wanted_us = now_us;
    if (behind && now_us - rewriter->wanted_us < REWRITE_LATE_US)
        return false;
    bytes = people_rewrite_bytes(people);
    if (statvfs(folder, &disk) == 0 && (uint64_t)disk.f_bavail * disk.f_frsize < bytes + REWRITE_ROOM_BYTES) {
        say_seldom(&gate, SAY_WARN, "the store of persons still holds bytes of what was erased: to write it anew the disk needs "
                   "%llu MiB more room", (unsigned long long)((bytes + REWRITE_ROOM_BYTES - (uint64_t)disk.f_bavail * disk.f_frsize) >> 20) + 1);
        rewriter->next_us = now_us + REWRITE_RETRY_US;
        return false;
    }
    return true;
}

static void rewriter_run(struct store_rewriter *rewriter, const char *folder, int64_t now_us)
{
    static struct say_gate      gate;
    const struct people_options options = { .folder = folder, .memory_bytes = 1 };
    struct err                  err = { .kind = ERR_NONE };
    int64_t                     took_us;

    if (people_rewrite(&options, &err) < 0) {
        say_seldom(&gate, SAY_WARN, "the store of persons could not be written anew, and still holds bytes of what was erased; "
                   "trying again: %s", err.text);
        rewriter->next_us = now_us + REWRITE_RETRY_US;
        return;
    }
    took_us = clock_mono_us() - now_us;
    say(SAY_INFO, "the store of persons was written anew in %.1f s: what was erased is in no byte of it any more",
        (double)took_us / 1e6);
    rewriter->next_us = now_us + (REWRITE_PART * took_us > REWRITE_EVERY_US ? REWRITE_PART * took_us : REWRITE_EVERY_US);
    rewriter->wanted_us = 0;
}

int store_rewriter_step(struct store_rewriter *rewriter, const struct role_env *env, const struct ingest_options *options,
                        bool behind, struct people **people, struct err *err)
{
    char    folder[4096];
    int64_t now_us = clock_mono_us();

    folder_of(env, folder);
    if (!rewriter_due(rewriter, *people, folder, behind, now_us))
        return 0;
    people_close(*people);
    *people = NULL;
    rewriter_run(rewriter, folder, now_us);
    return store_open(env, options, people, err);
}
