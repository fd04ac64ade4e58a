/* base/metric.c - a page is a header, a copy of the definitions as text, and slots of 64-bit words.
 *
 * The definitions travel in the file, so that any process can render any role's page without being
 * built with that role's table. The page is made under another name and renamed into place: a reader
 * sees a whole page or none. Form:
 *     at  bytes  field
 *      0      8  magic "PNSMET1\n"
 *      8      4  process id of the writer
 *     12      4  metrics
 *     16      4  where the slots begin (a multiple of 8)
 *     20      4  bytes of the file
 *     24      *  per metric: u8 kind, u8 bounds, u16 slot, u16 name bytes, u16 labels bytes, u16 help bytes,
 *                6 zero bytes, bounds as doubles, then the three texts, padded to 8
 *  slots         a counter or gauge: one word; a histogram: count, sum (double), then a word a bucket */
#include "base/metric.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/say.h"

enum { PAGE_HEAD_BYTES = 24, PAGE_BYTES_MAX = 1 << 20, METRIC_HEAD_BYTES = 16 };
static const char page_magic[8] = "PNSMET1\n";

struct metric_page {
    const struct metric_def *defs;
    size_t                   count;
    uint8_t                 *at;
    size_t                   bytes;
    char                     path[512]; /* "": without a file, or shown */
    uint16_t                *slots; /* index of each metric's first word */
    _Atomic uint64_t        *words;
};

static size_t bounds_count(const struct metric_def *def)
{
    size_t count = 0;

    if (def->kind != METRIC_HISTOGRAM)
        return 0;
    while (!isinf(def->bounds[count]))
        count++;
    assert(count < METRIC_BUCKETS_MAX);
    return count + 1; /* with the infinite one */
}

static void page_describe(struct metric_page *page, struct buf *head)
{
    uint16_t slot = 0;

    buf_add(head, span_of(page_magic, sizeof page_magic));
    buf_add_u32(head, (uint32_t)getpid());
    buf_add_u32(head, (uint32_t)page->count);
    buf_add_u64(head, 0); /* filled in below */
    for (size_t i = 0; i < page->count; i++) {
        const struct metric_def *def = &page->defs[i];
        size_t                   bounds = bounds_count(def);

        page->slots[i] = slot;
        buf_add_byte(head, (uint8_t)def->kind);
        buf_add_byte(head, (uint8_t)bounds);
        buf_add_u16(head, slot);
        buf_add_u16(head, (uint16_t)strlen(def->name));
        buf_add_u16(head, (uint16_t)strlen(def->labels));
        buf_add_u16(head, (uint16_t)strlen(def->help));
        buf_add(head, span_of("\0\0\0\0\0", 6));
        for (size_t b = 0; b < bounds; b++)
            buf_add(head, span_of(&def->bounds[b], sizeof(double)));
        buf_add_text(head, def->name);
        buf_add_text(head, def->labels);
        buf_add_text(head, def->help);
        while (head->bytes % 8 != 0 && !head->failed)
            buf_add_byte(head, 0);
        slot = (uint16_t)(slot + (def->kind == METRIC_HISTOGRAM ? 2 + bounds : 1));
    }
    if (head->failed)
        return;
    page->bytes = head->bytes + (size_t)slot * 8;
    bytes_put_u32(head->at + 16, (uint32_t)head->bytes);
    bytes_put_u32(head->at + 20, (uint32_t)page->bytes);
}

/* A file with all its blocks: a store into a hole of a full disk would be a SIGBUS. NULL: errno says why not. */
static uint8_t *page_file(const char *path, size_t bytes)
{
    uint8_t *at = MAP_FAILED;
    int      fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), why = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)bytes);

    if (why == 0 && (at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED)
        why = errno;
    if (fd >= 0)
        close(fd);
    if (fd >= 0 && why != 0)
        (void)unlink(path);
    errno = why;
    return at == MAP_FAILED ? NULL : at;
}

static int page_map(struct metric_page *page, const char *folder, const char *role, bool needs_file, struct err *err)
{
    char temporary[sizeof page->path + 8];

    if (folder != NULL) {
        (void)snprintf(page->path, sizeof page->path, "%s/%s.metrics", folder, role);
        (void)snprintf(temporary, sizeof temporary, "%s.new", page->path);
        page->at = page_file(temporary, page->bytes);
        if (page->at != NULL)
            return 0;
        if (needs_file)
            return err_errno(err, errno, "metrics page %s", temporary);
        say(SAY_WARN, "metrics page %s: %s; nobody sees these metrics until the role is started again", temporary, strerror(errno));
        page->path[0] = '\0';
    }
    page->at = mmap(NULL, page->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page->at == MAP_FAILED ? err_errno(err, errno, "metrics page") : 0;
}

int metric_page_show(struct metric_page *page, struct err *err)
{
    char temporary[sizeof page->path + 8];

    if (page->path[0] == '\0')
        return 0;
    (void)snprintf(temporary, sizeof temporary, "%s.new", page->path);
    if (rename(temporary, page->path) < 0)
        return err_errno(err, errno, "metrics page %s", page->path);
    page->path[0] = '\0';
    return 0;
}

static int page_make(const char *folder, const char *role, const struct metric_def *defs, size_t count, bool needs_file,
                     struct metric_page **out, struct err *err)
{
    struct metric_page *page = calloc(1, sizeof *page);
    struct buf          head;

    buf_init(&head, PAGE_BYTES_MAX / 2);
    if (page == NULL || (page->slots = calloc(count + 1, sizeof *page->slots)) == NULL) {
        free(page);
        return err_set(err, ERR_FULL, "no memory for a metrics page");
    }
    page->defs = defs;
    page->count = count;
    page_describe(page, &head);
    if (head.failed) {
        err_set(err, ERR_FULL, "the metrics of %s do not fit their page", role);
        goto failed;
    }
    if (page_map(page, folder, role, needs_file, err) < 0)
        goto failed;
    memcpy(page->at, head.at, head.bytes);
    page->words = (_Atomic uint64_t *)(void *)(page->at + head.bytes);
    buf_fini(&head);
    *out = page;
    return 0;

failed:
    buf_fini(&head);
    free(page->slots);
    free(page);
    return -1;
}

int metric_page_make(const char *folder, const char *role, const struct metric_def *defs, size_t count,
                     struct metric_page **out, struct err *err)
{
    return page_make(folder, role, defs, count, false, out, err);
}

int metric_page_open(const char *folder, const char *role, const struct metric_def *defs, size_t count,
                     struct metric_page **out, struct err *err)
{
    if (page_make(folder, role, defs, count, true, out, err) < 0)
        return -1;
    if (metric_page_show(*out, err) == 0)
        return 0;
    metric_page_close(*out);
    return -1;
}

void metric_page_close(struct metric_page *page)
{
    if (page == NULL)
        return;
    munmap(page->at, page->bytes);
    free(page->slots);
    free(page);
}

void metric_add(struct metric_page *page, size_t index, uint64_t by)
{
    assert(index < page->count);
    atomic_fetch_add_explicit(&page->words[page->slots[index]], by, memory_order_relaxed);
}

void metric_set(struct metric_page *page, size_t index, int64_t value)
{
    assert(index < page->count);
    atomic_store_explicit(&page->words[page->slots[index]], (uint64_t)value, memory_order_relaxed);
}

void metric_observe(struct metric_page *page, size_t index, double value)
{
    const struct metric_def *def = &page->defs[index];
    _Atomic uint64_t        *words = &page->words[page->slots[index]];
    uint64_t                 old, fresh;
    size_t                   bucket = 0;

    assert(index < page->count && def->kind == METRIC_HISTOGRAM);
    while (value > def->bounds[bucket])
        bucket++;
    atomic_fetch_add_explicit(&words[0], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&words[2 + bucket], 1, memory_order_relaxed);
    old = atomic_load_explicit(&words[1], memory_order_relaxed);
    do {
        double sum;

        memcpy(&sum, &old, sizeof sum);
        sum += value;
        memcpy(&fresh, &sum, sizeof fresh);
    } while (!atomic_compare_exchange_weak_explicit(&words[1], &old, fresh, memory_order_relaxed, memory_order_relaxed));
}

uint64_t metric_get(const struct metric_page *page, size_t index)
{
    assert(index < page->count);
    return atomic_load_explicit(&page->words[page->slots[index]], memory_order_relaxed);
}

/* --- reading pages of other processes ----------------------------------------------------------- */

struct page_view {
    char           role[64];
    bool           second; /* a further page of its role: ROLE.NAME.metrics */
    bool           alive;
    const uint8_t *at;
    size_t         bytes;
};

struct metric_view {
    enum metric_kind kind;
    size_t           bounds;
    const uint8_t   *bounds_at;
    const uint8_t   *words;
    struct span      name, labels, help;
};

static bool page_view_open(int folder_fd, const char *file, struct page_view *out)
{
    size_t      role_bytes = strlen(file);
    struct stat st;
    int         fd;

    if (role_bytes <= 8 || role_bytes - 8 >= sizeof out->role || strcmp(file + role_bytes - 8, ".metrics") != 0)
        return false;
    (void)snprintf(out->role, sizeof out->role, "%.*s", (int)(role_bytes - 8), file);
    out->second = strchr(out->role, '.') != NULL;
    out->role[strcspn(out->role, ".")] = '\0';
    fd = openat(folder_fd, file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    if (fstat(fd, &st) < 0 || st.st_size < PAGE_HEAD_BYTES || st.st_size > PAGE_BYTES_MAX) {
        close(fd);
        return false;
    }
    out->bytes = (size_t)st.st_size;
    void *at = mmap(NULL, out->bytes, PROT_READ, MAP_SHARED, fd, 0);

    close(fd);
    if (at == MAP_FAILED)
        return false;
    out->at = at;
    if (memcmp(out->at, page_magic, sizeof page_magic) != 0 || bytes_get_u32(out->at + 20) > out->bytes ||
        bytes_get_u32(out->at + 16) > bytes_get_u32(out->at + 20)) {
        munmap(at, out->bytes);
        return false;
    }
    out->alive = kill((pid_t)bytes_get_u32(out->at + 8), 0) == 0 || errno == EPERM;
    return true;
}

static void page_view_close(struct page_view *view)
{
    munmap((void *)(uintptr_t)view->at, view->bytes);
}

/* Walks the descriptions; *at starts at PAGE_HEAD_BYTES. False at the end, or where the page makes no sense. */
static bool page_view_next(const struct page_view *view, size_t *at, struct metric_view *out)
{
    size_t         slots_at = bytes_get_u32(view->at + 16), need;
    const uint8_t *head = view->at + *at;
    size_t         name, labels, help, slot;

    if (*at + METRIC_HEAD_BYTES > slots_at)
        return false;
    out->kind = head[0];
    out->bounds = head[1];
    slot = bytes_get_u16(head + 2);
    name = bytes_get_u16(head + 4);
    labels = bytes_get_u16(head + 6);
    help = bytes_get_u16(head + 8);
    need = METRIC_HEAD_BYTES + out->bounds * sizeof(double) + name + labels + help;
    if (*at + need > slots_at || slots_at + (slot + (out->kind == METRIC_HISTOGRAM ? 2 + out->bounds : 1)) * 8 > view->bytes)
        return false;
    out->bounds_at = head + METRIC_HEAD_BYTES;
    out->name = span_of(out->bounds_at + out->bounds * sizeof(double), name);
    out->labels = span_of(out->name.at + name, labels);
    out->help = span_of(out->labels.at + labels, help);
    out->words = view->at + slots_at + slot * 8;
    *at += (need + 7) & ~(size_t)7;
    return true;
}

static uint64_t word_get(const uint8_t *words, size_t index)
{
    return __atomic_load_n((const uint64_t *)(const void *)(words + index * 8), __ATOMIC_RELAXED);
}

static double word_get_double(const uint8_t *words, size_t index)
{
    uint64_t bits = word_get(words, index);
    double   value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static void sample_write(struct buf *out, const struct metric_view *metric, const char *suffix, const char *role,
                         const char *le)
{
    buf_add(out, metric->name);
    buf_add_text(out, suffix);
    buf_add_text(out, "{role=\"");
    buf_add_text(out, role);
    buf_add_byte(out, '"');
    if (metric->labels.bytes > 0) {
        buf_add_byte(out, ',');
        buf_add(out, metric->labels);
    }
    if (le != NULL) {
        buf_add_text(out, ",le=\"");
        buf_add_text(out, le);
        buf_add_byte(out, '"');
    }
    buf_add_text(out, "} ");
}

static void metric_write(struct buf *out, const struct metric_view *metric, const char *role)
{
    uint64_t below = 0;

    if (metric->kind != METRIC_HISTOGRAM) {
        sample_write(out, metric, "", role, NULL);
        if (metric->kind == METRIC_GAUGE)
            buf_add_format(out, "%" PRId64 "\n", (int64_t)word_get(metric->words, 0));
        else
            buf_add_format(out, "%" PRIu64 "\n", word_get(metric->words, 0));
        return;
    }
    for (size_t b = 0; b < metric->bounds; b++) {
        char   le[40] = "+Inf";
        double bound;

        memcpy(&bound, metric->bounds_at + b * sizeof bound, sizeof bound);
        if (!isinf(bound))
            (void)snprintf(le, sizeof le, "%g", bound);
        below += word_get(metric->words, 2 + b);
        sample_write(out, metric, "_bucket", role, le);
        buf_add_format(out, "%" PRIu64 "\n", below);
    }
    sample_write(out, metric, "_sum", role, NULL);
    buf_add_format(out, "%.9g\n", word_get_double(metric->words, 1));
    sample_write(out, metric, "_count", role, NULL);
    buf_add_format(out, "%" PRIu64 "\n", below);
}

enum { NAME_TOLD_BYTES = 128 };

/* told: the name that was described last, here or in the page before: of several pages with one name only the first describes it. */
static void page_write(struct buf *out, const struct page_view *view, char told[NAME_TOLD_BYTES])
{
    static const char *const kinds[] = { "counter", "gauge", "histogram" };
    struct metric_view       metric;

    for (size_t at = PAGE_HEAD_BYTES; page_view_next(view, &at, &metric);) {
        if (!span_equal(metric.name, span_text(told)) && metric.kind <= METRIC_HISTOGRAM) {
            buf_add_format(out, "# HELP %.*s %.*s\n# TYPE %.*s %s\n", SPAN_ARG(metric.name), SPAN_ARG(metric.help),
                           SPAN_ARG(metric.name), kinds[metric.kind]);
            (void)snprintf(told, NAME_TOLD_BYTES, "%.*s", SPAN_ARG(metric.name));
        }
        metric_write(out, &metric, view->role);
    }
}

int metric_render_at(int folder_fd, struct buf *out, struct err *err)
{
    char            told[NAME_TOLD_BYTES] = "";
    struct dirent **entries;
    struct buf      up;
    int             count = scandirat(folder_fd, ".", &entries, NULL, alphasort); /* the pages of a role's units come one after the other */

    if (count < 0)
        return err_errno(err, errno, "metrics folder");
    buf_init(&up, 1 << 16);
    buf_add_text(&up, "# HELP penstock_role_up Whether the role's process is running.\n# TYPE penstock_role_up gauge\n");
    for (int i = 0; i < count; i++) {
        struct page_view view;

        if (page_view_open(folder_fd, entries[i]->d_name, &view)) {
            if (!view.second)
                buf_add_format(&up, "penstock_role_up{role=\"%s\"} %d\n", view.role, view.alive ? 1 : 0);
            if (view.alive)
                page_write(out, &view, told);
            page_view_close(&view);
        }
        free(entries[i]);
    }
    free(entries);
    buf_add(out, buf_span(&up));
    buf_fini(&up);
    return out->failed ? err_set(err, ERR_FULL, "the metrics text passes %zu bytes", out->bytes_max) : 0;
}

int metric_render_folder(const char *folder, struct buf *out, struct err *err)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc;

    if (fd < 0)
        return err_errno(err, errno, "metrics folder %s", folder);
    rc = metric_render_at(fd, out, err);
    (void)close(fd);
    return rc;
}

bool metric_read(const char *folder, const char *role, const char *name, const char *labels, double *out)
{
    struct page_view   view;
    struct metric_view metric;
    char               file[80];
    bool               found = false, open_view;
    int                fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return false;
    (void)snprintf(file, sizeof file, "%.60s.metrics", role);
    open_view = page_view_open(fd, file, &view);
    (void)close(fd);
    if (!open_view)
        return false;
    for (size_t at = PAGE_HEAD_BYTES; view.alive && !found && page_view_next(&view, &at, &metric);)
        if (span_is(metric.name, name) && span_is(metric.labels, labels)) {
            *out = metric.kind == METRIC_GAUGE ? (double)(int64_t)word_get(metric.words, 0)
                                               : (double)word_get(metric.words, 0);
            found = true;
        }
    page_view_close(&view);
    return found;
}
