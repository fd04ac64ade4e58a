/* tests/shim/allocations.c - makes the n-th allocation of a running role fail.
 *
 * Loaded with LD_PRELOAD into `penstock serve`; steered while it runs through a small shared file named by
 * ALLOCATIONS_CONTROL (tests/flow/allocations.py writes it):
 *    at  bytes  field
 *     0      4  armed          counted up with each arming; 0: nothing fails
 *     4      4  countdown      allocations that pass before the first failure
 *     8      4  repeat         how many then fail; -1: until disarmed
 *    12      4  hits           written here: allocations that failed
 *    16      4  bytes_min      smaller ones are not counted
 *    20     12  nothing
 *    32     16  role           the process's name; empty: nobody
 * ALLOCATIONS_TELL=1: each failure is told with its callers, and so is where a process ended (addresses: addr2line).
 * What the DuckDB library, the C++ runtime, OpenSSL's libcrypto, librdkafka and the loader of libraries allocate for themselves
 * passes: they end the process, or read what they did not get, and nothing here can mend that. */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct control {
    _Atomic int armed, countdown, repeat, hits, bytes_min;
    int         unused[3];
    char        role[16];
};

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *at, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);

static struct control *control;
static int             tell;

static void say(const char *what)
{
    void *frames[12];

    (void)!write(STDERR_FILENO, what, strlen(what));
    backtrace_symbols_fd(frames, backtrace(frames, 12), STDERR_FILENO);
}

static void ended(int number)
{
    say(number == SIGSEGV ? "allocations: segmentation fault\n" : "allocations: aborted\n");
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

__attribute__((constructor)) static void control_map(void)
{
    const char *path = getenv("ALLOCATIONS_CONTROL");
    int         fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return;
    tell = getenv("ALLOCATIONS_TELL") != NULL;
    if (tell) {
        void *frame;

        (void)backtrace(&frame, 1); /* which allocates at its first call */
        (void)signal(SIGSEGV, ended);
        (void)signal(SIGABRT, ended);
    }
    void *at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    close(fd);
    control = at == MAP_FAILED ? NULL : at;
}

/* Looked up once for each process and arming: a role's processes come by fork, and are named later. */
static int role_matches(int armed)
{
    static _Atomic int known_pid, known_armed, known;
    int                pid = (int)syscall(SYS_getpid);
    char               name[32] = "";
    int                fd;

    if (atomic_load(&known_pid) == pid && atomic_load(&known_armed) == armed)
        return atomic_load(&known);
    fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/comm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    if (syscall(SYS_read, fd, name, sizeof name - 1) < 0)
        name[0] = '\0';
    syscall(SYS_close, fd);
    name[strcspn(name, "\n")] = '\0';
    atomic_store(&known, strcmp(name, control->role) == 0);
    if (atomic_load(&known)) { /* "penstock" may still become a role's name */
        atomic_store(&known_armed, armed);
        atomic_store(&known_pid, pid);
    }
    return atomic_load(&known);
}

struct others { uintptr_t from, to; };
enum { OTHERS = 5 };
static struct others others[OTHERS];
static atomic_int    others_state; /* 0: not looked for; 1: somebody does; 2: known */

static int others_note(struct dl_phdr_info *info, size_t bytes, void *ctx)
{
    int *count = ctx;

    (void)bytes;
    if (strstr(info->dlpi_name, "libduckdb") == NULL && strstr(info->dlpi_name, "libstdc++") == NULL &&
        strstr(info->dlpi_name, "libcrypto") == NULL && strstr(info->dlpi_name, "ld-linux") == NULL &&
        strstr(info->dlpi_name, "librdkafka") == NULL)
        return 0;
    for (int i = 0; i < info->dlpi_phnum && *count < OTHERS; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X)) {
            others[*count].from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            others[*count].to = others[*count].from + info->dlpi_phdr[i].p_memsz;
            ++*count;
        }
    return 0;
}

/* glibc ends the process when a thread's destructor (of C++) finds no memory. */
static int of_destructors(const void *caller)
{
    static _Atomic uintptr_t at;

    if (atomic_load(&at) == 0)
        atomic_store(&at, (uintptr_t)dlsym(RTLD_DEFAULT, "__cxa_thread_atexit_impl"));
    return (uintptr_t)caller >= atomic_load(&at) && (uintptr_t)caller < atomic_load(&at) + 256;
}

static int of_others(const void *caller)
{
    int count = 0, fresh = 0;

    if (atomic_compare_exchange_strong(&others_state, &fresh, 1)) {
        (void)dl_iterate_phdr(others_note, &count);
        atomic_store(&others_state, count == OTHERS ? 2 : 0); /* load opens its library late */
    }
    for (int i = 0; i < OTHERS; i++)
        if ((uintptr_t)caller >= others[i].from && (uintptr_t)caller < others[i].to)
            return 1;
    return 0;
}

static int fails(size_t bytes, const void *caller)
{
    static _Thread_local int inside;
    int                      armed, repeat, no = 1;

    if (control == NULL || (armed = atomic_load(&control->armed)) == 0 || inside || bytes < (size_t)atomic_load(&control->bytes_min))
        return 0;
    inside = 1;
    if (role_matches(armed) && !of_others(caller) && !of_destructors(caller) && atomic_fetch_sub(&control->countdown, 1) <= 0) {
        repeat = atomic_load(&control->repeat);
        no = repeat == 0;
        if (repeat > 0)
            atomic_fetch_sub(&control->repeat, 1);
        if (!no)
            atomic_fetch_add(&control->hits, 1);
        if (!no && tell)
            say("allocations: failed\n");
    }
    inside = 0;
    return !no;
}

#define FAILS(bytes) fails(bytes, __builtin_return_address(0))

void *malloc(size_t bytes)
{
    if (!FAILS(bytes))
        return __libc_malloc(bytes);
    errno = ENOMEM;
    return NULL;
}

void *calloc(size_t count, size_t bytes)
{
    if (!FAILS(count * bytes))
        return __libc_calloc(count, bytes);
    errno = ENOMEM;
    return NULL;
}

void *realloc(void *at, size_t bytes)
{
    if (bytes == 0 || !FAILS(bytes))
        return __libc_realloc(at, bytes);
    errno = ENOMEM;
    return NULL;
}

int posix_memalign(void **out, size_t align, size_t bytes)
{
    void *at = FAILS(bytes) ? NULL : __libc_memalign(align, bytes);

    if (at == NULL)
        return ENOMEM;
    *out = at;
    return 0;
}

void *aligned_alloc(size_t align, size_t bytes)
{
    return FAILS(bytes) ? NULL : __libc_memalign(align, bytes);
}

/* Of a library's own call, as the others: within libc nobody could say whose it was. */
char *strndup(const char *text, size_t bytes_max)
{
    size_t bytes = strnlen(text, bytes_max);
    char  *out = FAILS(bytes + 1) ? NULL : __libc_malloc(bytes + 1);

    if (out == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    memcpy(out, text, bytes);
    out[bytes] = '\0';
    return out;
}

char *strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char  *out = FAILS(bytes) ? NULL : __libc_malloc(bytes);

    if (out == NULL)
        errno = ENOMEM;
    return out == NULL ? NULL : memcpy(out, text, bytes);
}
