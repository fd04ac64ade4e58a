/* command/doctor.c - penstock doctor: a line for each thing that must be right, and what to do when it is not. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cage.h"
#include "base/clock.h"
#include "base/metric.h"
#include "command/account.h"
#include "command/command.h"
#include "command/config.h"
#include "command/doctor.h"
#include "command/supervisor.h"
#include "command/tls_files.h"
#include "ingest/geoip.h"
#include "warehouse/duckdb.h"
#include "wire/json.h"

enum {
    DISK_FREE_MIN_GIB = 1,
    DISK_FREE_LOW_GIB = 10,
    FILES_MIN = 4096,      /* connections and segments: docs/limits.md */
    SYNC_TRIALS = 20,
    SYNC_SLOW_US = 50000,  /* a reply waits for two syncs at worst: 100 ms is felt */
    TLS_DAYS_LOW = 14,
    CLOCK_YEAR_2024_US_S = 1704067200
};

void verdict(struct doctor *doctor, enum verdict what, const char *part, const char *fmt, ...)
{
    static const char *const words[] = { "ok", "warn", "fail" };
    char       text[700];
    va_list    args;
    struct buf out;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    doctor->counts[what]++;
    if (!doctor->json) {
        printf("%-5s %-10s %s\n", words[what], part, text);
        return;
    }
    buf_init(&out, 1 << 14);
    buf_add_format(&out, "%s{\"verdict\":\"%s\",\"part\":\"%s\",\"text\":", doctor->first ? "[" : ",\n ", words[what], part);
    json_write_string(&out, span_text(text));
    buf_add_byte(&out, '}');
    command_print(&out);
    doctor->first = false;
}

/* --- this machine ------------------------------------------------------------------------------ */

static void check_system(struct doctor *doctor)
{
    struct utsname host;
    long           cpus = sysconf(_SC_NPROCESSORS_ONLN);
    double         gib = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / (1 << 30);

    if (uname(&host) == 0)
        verdict(doctor, gib < 0.9 ? WARN : FINE, "machine", "%s %s, %ld CPUs, %.1f GiB memory%s", host.sysname,
                host.release, cpus, gib, gib < 0.9 ? "; the warehouse may need more: set load.memory lower" : "");
}

static void check_files(struct doctor *doctor)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return;
    if (files.rlim_cur < FILES_MIN)
        verdict(doctor, WARN, "ulimit", "%" PRIu64 " open files; every connection is one: raise it to %d or more "
                "(ulimit -n, or LimitNOFILE= in systemd)", (uint64_t)files.rlim_cur, FILES_MIN);
    else
        verdict(doctor, FINE, "ulimit", "%" PRIu64 " open files", (uint64_t)files.rlim_cur);
}

static void check_clock(struct doctor *doctor)
{
    struct timex state = { .modes = 0 };
    int          rc = adjtimex(&state);

    if (clock_wall_us() / 1000000 < CLOCK_YEAR_2024_US_S)
        verdict(doctor, FAIL, "clock", "the clock is years behind; events would get wrong times: set it (timedatectl)");
    else if (rc < 0 || (state.status & STA_UNSYNC) != 0)
        verdict(doctor, WARN, "clock", "nobody keeps the clock right (no NTP seen); events without a time get this "
                "machine's: systemctl enable --now systemd-timesyncd");
    else
        verdict(doctor, FINE, "clock", "synchronised, within %ld ms", state.maxerror / 1000);
}

/* --- libraries and files ------------------------------------------------------------------------- */

static void check_duckdb(struct doctor *doctor, const struct config *config)
{
    const struct config_value *library = config_find(config, "load.library");
    struct duckdb              duckdb;
    struct err                 err = { .kind = ERR_NONE };

    if (duckdb_load(library != NULL ? library->text : NULL, &duckdb, &err) < 0)
        verdict(doctor, FAIL, "duckdb", "%s", err.text);
    else
        verdict(doctor, FINE, "duckdb", "%s, %s", duckdb.library_version(), duckdb.path);
}

/* Where ingest looks: in the folder that was set, or beside the program. */
static int geoip_find_folder(const char *asked, struct geoip **out, char *folder, size_t room, struct err *err)
{
    static const char *const beside[] = { "../deps/geoip", "../share/penstock" };
    char    exe[3000];
    ssize_t bytes = readlink("/proc/self/exe", exe, sizeof exe - 1);

    if (asked[0] != '\0') {
        (void)snprintf(folder, room, "%s", asked);
        return geoip_open(folder, out, err);
    }
    exe[bytes > 0 ? bytes : 0] = '\0';
    exe[strrchr(exe, '/') != NULL ? strrchr(exe, '/') - exe : 0] = '\0';
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
        (void)snprintf(folder, room, "%s/%s", exe, beside[i]);
        if (geoip_open(folder, out, err) == 0)
            return 0;
    }
    return -1;
}

static void check_geoip(struct doctor *doctor, const struct config *config)
{
    const struct config_value *value = config_find(config, "ingest.geoip_folder");
    const char                *asked = value != NULL ? value->text : "";
    struct geoip              *geoip;
    struct err                 err = { .kind = ERR_NONE };
    char                       folder[4096];

    if (strcmp(asked, "off") == 0) {
        verdict(doctor, FINE, "geoip", "is off");
    } else if (geoip_find_folder(asked, &geoip, folder, sizeof folder, &err) < 0) {
        verdict(doctor, WARN, "geoip", "%s; events get no places: ./dev deps fetches the files", err.text);
    } else {
        geoip_close(geoip);
        verdict(doctor, FINE, "geoip", "databases of cities in %s", folder);
    }
}

/* --- where it listens ------------------------------------------------------------------------------ */

static void check_tls(struct doctor *doctor, const struct config *config)
{
    struct tls_files *files = NULL;
    struct err        err = { .kind = ERR_NONE };
    char              names[200] = "";
    int64_t           expires_us = 0, days;

    if (tls_files_new(config->tls_certificate, config->tls_key, &files, &err) < 0 ||
        tls_files_read(files, &expires_us, names, sizeof names, &err) < 0) {
        verdict(doctor, FAIL, "tls", "%s", err.text);
    } else {
        days = (expires_us - clock_wall_us()) / ((int64_t)86400 * 1000000);
        if (expires_us <= clock_wall_us())
            verdict(doctor, FAIL, "tls", "the certificate for %s has expired: clients refuse it; renew it", names);
        else
            verdict(doctor, days < TLS_DAYS_LOW ? WARN : FINE, "tls", "the certificate for %s expires in %" PRId64 " days%s",
                    names, days, days < TLS_DAYS_LOW ? ": renew it" : "");
    }
    tls_files_free(files);
}

static bool host_is_near(const char *host)
{
    return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0;
}

static bool trusts_anybody(const struct config *config)
{
    return config_find(config, "capture.trusted_proxies")->text[0] == '\0' &&
           strcmp(config_find(config, "capture.trust_forwarded")->text, "true") == 0;
}

static void check_listen(struct doctor *doctor, const struct config *config)
{
    struct listen_address *addresses = calloc(LISTEN_MAX, sizeof *addresses);
    struct err             err = { .kind = ERR_NONE };
    size_t                 count;
    bool                   tls = false, open = false;

    if (addresses != NULL && listen_read(config->listen, addresses, &count, &err) == 0)
        for (size_t i = 0; i < count; i++)
            tls |= addresses[i].tls, open |= !addresses[i].local && !addresses[i].proxy && !host_is_near(addresses[i].host);
    free(addresses);
    if (tls)
        check_tls(doctor, config);
    if (open && trusts_anybody(config))
        verdict(doctor, WARN, "listen", "strangers may reach it, and whoever sends X-Forwarded-For is believed: set "
                "capture.trusted_proxies to your proxies, or capture.trust_forwarded to false");
}

/* --- the data folder ------------------------------------------------------------------------------ */

static int compare_us(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return left < right ? -1 : left > right;
}

/* The time that an acknowledgement waits for the disk, as the log writes: over filled blocks. */
static void check_sync(struct doctor *doctor, const char *folder)
{
    char    path[4200], block[4096] = { 0 };
    int64_t took_us[SYNC_TRIALS];
    int     fd;

    (void)snprintf(path, sizeof path, "%s/.doctor", folder);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        verdict(doctor, FAIL, "folder", "%s cannot be written: %s; %s", folder, strerror(errno),
                errno == ENOSPC ? "make room there" : "check its owner and mode");
        return;
    }
    verdict(doctor, FINE, "folder", "%s can be written", folder);
    for (int i = 0; i < SYNC_TRIALS; i++) {
        int64_t began_us;

        block[0] = (char)i;
        began_us = clock_mono_us();
        if (pwrite(fd, block, sizeof block, 0) != (ssize_t)sizeof block || fdatasync(fd) < 0) {
            verdict(doctor, FAIL, "sync", "writing and syncing failed: %s%s", strerror(errno),
                    errno == ENOSPC ? "; make room there, events are refused until then" : "");
            goto done;
        }
        took_us[i] = clock_mono_us() - began_us;
    }
    qsort(took_us, SYNC_TRIALS, sizeof *took_us, compare_us);
    verdict(doctor, took_us[SYNC_TRIALS / 2] > SYNC_SLOW_US ? WARN : FINE, "sync",
            "4 KiB reach the disk in %.2f ms (median; worst of %d: %.2f)%s", (double)took_us[SYNC_TRIALS / 2] / 1000,
            SYNC_TRIALS, (double)took_us[SYNC_TRIALS - 1] / 1000,
            took_us[SYNC_TRIALS / 2] > SYNC_SLOW_US ? "; every answer waits for one: use a faster disk" : "");
done:
    (void)close(fd);
    (void)unlink(path);
}

static void check_disk(struct doctor *doctor, const char *folder)
{
    struct statvfs disk;
    double         gib;

    if (statvfs(folder, &disk) < 0)
        return;
    gib = (double)disk.f_bavail * (double)disk.f_frsize / (1 << 30);
    verdict(doctor, gib < DISK_FREE_MIN_GIB ? FAIL : gib < DISK_FREE_LOW_GIB ? WARN : FINE, "disk", "%.1f GiB free%s", gib,
            gib < DISK_FREE_LOW_GIB ? "; when it is full, events are refused (503) until there is room" : "");
    if (disk.f_files > 0 && disk.f_favail < 1000)
        verdict(doctor, FAIL, "disk", "only %" PRIu64 " more files can be made", (uint64_t)disk.f_favail);
}

/* Microseconds that the kernel lets reads of the folder's disk wait before it holds writes back; 0: it never does, or nobody knows. */
static long throttle_us(const char *folder)
{
    static const char *const queues[] = { "queue", "../queue" }; /* of a disk, of a part of one */
    struct stat where;
    long        us = 0;

    if (stat(folder, &where) < 0)
        return 0;
    for (size_t i = 0; i < sizeof queues / sizeof *queues; i++) {
        char  path[200];
        FILE *file;
        int   found;

        (void)snprintf(path, sizeof path, "/sys/dev/block/%u:%u/%s/wbt_lat_usec", major(where.st_dev), minor(where.st_dev), queues[i]);
        if ((file = fopen(path, "r")) == NULL)
            continue;
        found = fscanf(file, "%ld", &us);
        (void)fclose(file);
        if (found == 1)
            return us;
    }
    return 0;
}

static void check_throttle(struct doctor *doctor, const char *folder)
{
    long us = throttle_us(folder);

    if (us > 0)
        verdict(doctor, FINE, "throttle", "the kernel holds back writes of this disk for the sake of reads (wbt, %ld us): batches of ingest "
                "wait longer. If the disk serves Penstock alone, write 0 to wbt_lat_usec in its /sys/block/.../queue", us);
}

/* --- the server ------------------------------------------------------------------------------------ */

static void check_roles(struct doctor *doctor)
{
    bool running = false;

    for (size_t i = 0; i < role_count; i++)
        running |= supervisor_owner(doctor->data, roles[i]) != 0;
    for (size_t i = 0; i < role_count; i++) {
        struct supervisor_role_state state;
        const char                  *name = roles[i]->name;

        if (!supervisor_role_state(doctor->data, roles[i], &state) || !running)
            continue;
        if (!state.up)
            verdict(doctor, FAIL, name, "is down: %s; look at what serve prints", state.last);
        else if (state.restarts > 0)
            verdict(doctor, WARN, name, "is up (process %d) after %" PRIu64 " restarts; the last time it was %s",
                    (int)state.pid, state.restarts, state.last);
        else
            verdict(doctor, FINE, name, "is up (process %d)", (int)state.pid);
    }
    if (!running)
        verdict(doctor, FINE, "server", "nothing serves %s now; start it: penstock serve --data %s", doctor->data,
                doctor->data);
}

/* What keeps capture in, as the running one says; or what this machine could do. */
static void check_cage(struct doctor *doctor)
{
    char        folder[4200];
    double      seccomp = 0, landlock = 0;
    const char *why;

    (void)snprintf(folder, sizeof folder, "%s/run", doctor->data);
    if (metric_read(folder, "capture", "capture_cage_seccomp", "", &seccomp) &&
        metric_read(folder, "capture", "capture_cage_landlock", "", &landlock))
        verdict(doctor, seccomp > 0 && landlock > 0 ? FINE : WARN, "cage", "capture's system calls are %s, its files %s%s",
                seccomp > 0 ? "limited" : "not limited", landlock > 0 ? "too (Landlock)" : "not (Landlock)",
                seccomp > 0 && landlock > 0 ? "" : "; serve said why when it started it");
    else if (!cage_possible(&why))
        verdict(doctor, WARN, "cage", "capture will not be locked in: %s", why);
    else if (cage_landlock_version() == 0)
        verdict(doctor, WARN, "cage", "this kernel has no Landlock (CONFIG_SECURITY_LANDLOCK, lsm=landlock): capture could open "
                "any file of its user");
    else
        verdict(doctor, FINE, "cage", "capture will be locked in: system calls by list, files by Landlock %d", cage_landlock_version());
}

static void check_retention(struct doctor *doctor, const struct retention_held *held)
{
    if (held->segments > 0)
        verdict(doctor, WARN, "retention", "the clock jumped %.1f hours forward (or this machine was off): %" PRIu64 " segments of the log (%" PRIu64
                " MiB) are old by it and kept. If it is right now: penstock retention confirm", (double)held->us / 3.6e9, held->segments, held->bytes >> 20);
}

static void check_account(struct doctor *doctor)
{
    struct account account;
    struct err     err = { .kind = ERR_NONE };

    if (account_read(doctor->data, &account, &err) < 0)
        verdict(doctor, err.kind == ERR_RETRY ? WARN : FAIL, "events", "%s", err.text);
    else
        verdict(doctor, FINE, "events", "%" PRIu64 " accepted = %" PRIu64 " stored + %" PRIu64 " dropped + %" PRIu64
                " deduplicated + %" PRIu64 " dead-lettered + %" PRIu64 " pending", account.accepted, account.stored,
                account.dropped, account.deduplicated, account.dead_lettered, account.pending);
    check_retention(doctor, &account.held);
}

int doctor_run(const struct command_args *args)
{
    static struct config config;
    struct doctor        doctor = { .json = args_has(args, "--json"), .first = true, .data = args_data(args) };
    struct err           err = { .kind = ERR_NONE };
    bool                 there = access(doctor.data, F_OK) == 0;
    const char          *folder = there ? doctor.data : ".";

    check_system(&doctor);
    check_files(&doctor);
    check_clock(&doctor);
    if (config_of_server(&config, args, &err) < 0)
        verdict(&doctor, FAIL, "config", "%s", err.text);
    else
        verdict(&doctor, FINE, "config", "%s", there ? "is right" : "defaults");
    if (err.kind == ERR_NONE)
        check_listen(&doctor, &config);
    if (!warehouse_on_clickhouse(err.kind == ERR_NONE ? &config.stores.warehouse : NULL))
        check_duckdb(&doctor, &config);
    check_geoip(&doctor, &config);
    if (!there)
        verdict(&doctor, FINE, "folder", "%s does not exist yet; `penstock serve` makes it", doctor.data);
    check_cage(&doctor);
    check_sync(&doctor, folder);
    check_disk(&doctor, folder);
    check_throttle(&doctor, folder);
    if (err.kind == ERR_NONE)
        doctor_stores(&doctor, &config.stores);
    if (there) {
        check_roles(&doctor);
        check_account(&doctor);
    }
    if (doctor.json)
        printf("]\n");
    config_fini(&config);
    return doctor.counts[FAIL] > 0 ? EXIT_FAILED : EXIT_DONE;
}
