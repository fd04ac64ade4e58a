/* base/cage.c - see cage.h.
 *
 * Why the filter is written out here: it is one table of names, the same for both machines that Penstock runs on, and a
 * library that builds filters would be one more thing that runs before the walls stand. Calls without conditions come
 * first and are decided by their number alone; the kernel (5.11 and later) remembers those and asks no filter again.
 * Why a trap and not a plain kill: the kernel tells nobody which call it was. The handler cannot be replaced by who is
 * caught (rt_sigaction of SIGSYS is not in the list), names the call and makes one that kills. */
#include "base/cage.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/say.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAGE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define CAGE_SANITIZED 1
#endif
#endif

#if defined(__x86_64__)
#define CAGE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define CAGE_ARCH AUDIT_ARCH_AARCH64
#endif

/* --- system calls ------------------------------------------------------------------------------ */

#define CALL(name) { SYS_##name, #name }
static const struct { long number; const char *name; } calls_allowed[] = {
    /* connections: taken, read, written, closed; none is made */
    CALL(read), CALL(write), CALL(readv), CALL(writev), CALL(recvfrom), CALL(recvmsg), CALL(sendto), CALL(sendmsg),
    CALL(accept4), CALL(shutdown), CALL(close), CALL(getsockname), CALL(getpeername), CALL(getsockopt), CALL(setsockopt),
    CALL(epoll_create1), CALL(epoll_ctl), CALL(epoll_pwait), CALL(epoll_pwait2), CALL(ppoll), CALL(eventfd2), CALL(pipe2),
    /* files: Landlock says which */
    CALL(pread64), CALL(pwrite64), CALL(preadv), CALL(pwritev), CALL(pwritev2), CALL(lseek), CALL(openat), CALL(fcntl), CALL(flock),
    CALL(fstat), CALL(statx), CALL(fstatfs), CALL(statfs), CALL(newfstatat), CALL(faccessat), CALL(faccessat2), CALL(getdents64),
    CALL(fsync), CALL(fdatasync), CALL(sync_file_range), CALL(ftruncate), CALL(fallocate), CALL(renameat), CALL(renameat2), CALL(unlinkat),
    /* memory, threads, time */
    CALL(munmap), CALL(mremap), CALL(madvise), CALL(brk), CALL(futex), CALL(set_robust_list), CALL(rseq), CALL(sched_yield),
    CALL(sched_getaffinity), CALL(membarrier), CALL(rt_sigprocmask), CALL(rt_sigreturn), CALL(sigaltstack), CALL(restart_syscall),
    CALL(exit), CALL(exit_group), CALL(clock_gettime), CALL(clock_nanosleep), CALL(nanosleep), CALL(gettimeofday),
    CALL(getrandom), CALL(getpid), CALL(getppid), CALL(gettid), CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid),
    CALL(sysinfo), CALL(uname),
#if defined(__x86_64__)
    CALL(poll), CALL(epoll_wait), CALL(time), CALL(open), CALL(stat), CALL(lstat), CALL(access), CALL(rename), CALL(unlink),
#endif
};
enum { CALLS_ALLOWED = sizeof calls_allowed / sizeof *calls_allowed };

/* And for who connects. bind: of the netlink socket by which libc asks which addresses this machine has. */
static const long calls_connecting[] = { SYS_connect, SYS_bind, SYS_sendmmsg, SYS_recvmmsg };
enum { CALLS_CONNECTING = sizeof calls_connecting / sizeof *calls_connecting };

/* The call that kills at once: what the handler makes, and the one that nobody has any business with. */
#define CALL_DEADLY SYS_ptrace

enum { FILTER_MAX = 2 * (CALLS_ALLOWED + CALLS_CONNECTING) + 90 };
struct filter {
    struct sock_filter at[FILTER_MAX];
    unsigned short     count;
};

static void filter_add(struct filter *filter, uint16_t code, uint8_t yes, uint8_t no, uint32_t value)
{
    if (filter->count < FILTER_MAX)
        filter->at[filter->count++] = (struct sock_filter){ code, yes, no, value };
}

static void filter_load(struct filter *filter, size_t at)
{
    filter_add(filter, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)at);
}

static void filter_answer(struct filter *filter, uint32_t answer)
{
    filter_add(filter, BPF_RET | BPF_K, 0, 0, answer);
}

/* Low half of an argument; calls are little-endian on both machines. */
static size_t argument(unsigned n)
{
    return offsetof(struct seccomp_data, args) + n * sizeof(uint64_t);
}

/* `call` is allowed when (argument n & mask) == value, else it gets `otherwise`. Ends with the number loaded again. */
static void filter_if(struct filter *filter, long call, unsigned n, uint32_t mask, uint32_t value, uint32_t otherwise)
{
    filter_add(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, 5, (uint32_t)call);
    filter_load(filter, argument(n));
    filter_add(filter, BPF_ALU | BPF_AND | BPF_K, 0, 0, mask);
    filter_add(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, value);
    filter_answer(filter, SECCOMP_RET_ALLOW);
    filter_answer(filter, otherwise);
}

static uint32_t refuse(int errno_value)
{
    return SECCOMP_RET_ERRNO | ((uint32_t)errno_value & SECCOMP_RET_DATA);
}

#ifdef CAGE_ARCH
static void filter_connecting(struct filter *filter)
{
    for (size_t i = 0; i < CALLS_CONNECTING; i++) {
        filter_add(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (uint32_t)calls_connecting[i]);
        filter_answer(filter, SECCOMP_RET_ALLOW);
    }
    filter_add(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, 6, SYS_socket);
    filter_load(filter, argument(0));
    filter_add(filter, BPF_JMP | BPF_JEQ | BPF_K, 3, 0, AF_INET);
    filter_add(filter, BPF_JMP | BPF_JEQ | BPF_K, 2, 0, AF_INET6);
    filter_add(filter, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AF_NETLINK);
    filter_answer(filter, refuse(EAFNOSUPPORT));
    filter_answer(filter, SECCOMP_RET_ALLOW);
}

static void filter_make(struct filter *filter, bool connecting)
{
    filter_load(filter, offsetof(struct seccomp_data, arch));
    filter_add(filter, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, CAGE_ARCH);
    filter_answer(filter, SECCOMP_RET_KILL_PROCESS);
    filter_load(filter, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < CALLS_ALLOWED; i++) {
        filter_add(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (uint32_t)calls_allowed[i].number);
        filter_answer(filter, SECCOMP_RET_ALLOW);
    }
    if (connecting)
        filter_connecting(filter);
    filter_if(filter, SYS_mmap, 2, PROT_EXEC, 0, SECCOMP_RET_TRAP);
    filter_if(filter, SYS_mprotect, 2, PROT_EXEC, 0, SECCOMP_RET_TRAP);
    filter_if(filter, SYS_clone, 0, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM, SECCOMP_RET_TRAP);
    filter_if(filter, SYS_kill, 1, UINT32_MAX, 0, SECCOMP_RET_TRAP); /* is it there? */
    filter_if(filter, SYS_tgkill, 0, UINT32_MAX, (uint32_t)getpid(), SECCOMP_RET_TRAP); /* abort() */
    filter_if(filter, SYS_rt_sigaction, 0, ~1u, 32, SECCOMP_RET_TRAP); /* libc's own two, with the first thread */
    filter_if(filter, SYS_prctl, 0, UINT32_MAX, PR_SET_NAME, refuse(EPERM));
    filter_if(filter, SYS_prlimit64, 2, UINT32_MAX, 0, refuse(EPERM)); /* low half of the new limit: NULL */
    filter_if(filter, SYS_ioctl, 1, UINT32_MAX, FIONREAD, refuse(ENOTTY));
    filter_add(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_clone3); /* flags behind a pointer: libc then takes clone */
    filter_answer(filter, refuse(ENOSYS));
    filter_add(filter, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, CALL_DEADLY);
    filter_answer(filter, SECCOMP_RET_KILL_PROCESS);
    filter_answer(filter, SECCOMP_RET_TRAP);
}
#endif

static const char *call_name(int number)
{
    static const struct { long number; const char *name; } told[] = {
        CALL(socket), CALL(connect), CALL(bind), CALL(listen), CALL(socketpair), CALL(execve), CALL(execveat), CALL(clone),
        CALL(process_vm_readv), CALL(process_vm_writev), CALL(kill), CALL(tgkill), CALL(mmap), CALL(mprotect),
        CALL(mount), CALL(setuid), CALL(chroot), CALL(memfd_create), CALL(mkdirat), CALL(linkat), CALL(symlinkat),
        CALL(rt_sigaction), CALL(fchmod), CALL(fchown), CALL(bpf), CALL(io_uring_setup), CALL(unshare), CALL(setns),
#if defined(__x86_64__)
        CALL(fork), CALL(vfork),
#endif
    };

    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (told[i].number == number)
            return told[i].name;
    return "not in the list";
}

/* Only calls that the filter allows, until the last one; whoever is in here a second time does without words. */
static void on_forbidden(int signal_number, siginfo_t *info, void *context)
{
    static volatile sig_atomic_t told;

    (void)signal_number;
    (void)context;
    if (told++ == 0)
        say(SAY_ERROR, "cage: system call %d (%s) is forbidden here: this process ends", info->si_syscall,
            call_name(info->si_syscall));
    (void)syscall(CALL_DEADLY, 0, 0, 0, 0);
    _exit(1);
}

bool cage_possible(const char **why_out)
{
#if defined(CAGE_SANITIZED)
    *why_out = "this build has sanitizers, which need system calls of their own";
    return false;
#elif !defined(CAGE_ARCH)
    *why_out = "nobody has written the list of system calls for this machine";
    return false;
#else
    *why_out = "";
    return true;
#endif
}

#ifdef CAGE_ARCH
static int seccomp_enter(bool connecting, struct err *err)
{
    struct sigaction  action = { .sa_sigaction = on_forbidden, .sa_flags = SA_SIGINFO | SA_NODEFER };
    struct filter     filter = { .count = 0 };
    struct sock_fprog program = { .filter = filter.at };

    filter_make(&filter, connecting);
    program.len = filter.count;
    if (filter.count >= FILTER_MAX)
        return err_set(err, ERR_STOP, "cage: the list of system calls does not fit its filter");
    if (sigaction(SIGSYS, &action, NULL) < 0)
        return err_errno(err, errno, "cage: SIGSYS");
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0)
        return err_errno(err, errno, "cage: seccomp");
    return 0;
}
#endif

/* --- files: Landlock --------------------------------------------------------------------------- */

/* The kernel's interface, as far as this file uses it: linux/landlock.h of a machine may be older than its kernel. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif
struct landlock_ruleset { uint64_t fs, net, scoped; };
struct landlock_beneath { uint64_t allowed; int32_t parent_fd; } __attribute__((packed));
enum { LANDLOCK_VERSION_FLAG = 1, LANDLOCK_BENEATH = 1 };
#define FS_WRITE_FILE  (UINT64_C(1) << 1)
#define FS_READ_FILE   (UINT64_C(1) << 2)
#define FS_READ_DIR    (UINT64_C(1) << 3)
#define FS_REMOVE_FILE (UINT64_C(1) << 5)
#define FS_MAKE_REG    (UINT64_C(1) << 8)
#define FS_TRUNCATE    (UINT64_C(1) << 14)
#define NET_BIND_TCP UINT64_C(1)
#define NET_BIND_TCP_AND_CONNECT_TCP UINT64_C(3)
#define SCOPE_ABSTRACT_UNIX_AND_SIGNAL UINT64_C(3)

int cage_landlock_version(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION_FLAG);

    return version > 0 ? (int)version : 0;
}

/* Every right that this version knows is taken away; rules give some back. */
static struct landlock_ruleset landlock_all(int version, bool connecting, size_t *bytes_out)
{
    struct landlock_ruleset all = { .fs = (UINT64_C(1) << 13) - 1 };

    if (version >= 2)
        all.fs |= UINT64_C(1) << 13; /* refer */
    if (version >= 3)
        all.fs |= FS_TRUNCATE;
    if (version >= 5)
        all.fs |= UINT64_C(1) << 15; /* ioctl of devices */
    if (version >= 4)
        all.net = connecting ? NET_BIND_TCP : NET_BIND_TCP_AND_CONNECT_TCP;
    if (version >= 6)
        all.scoped = SCOPE_ABSTRACT_UNIX_AND_SIGNAL;
    *bytes_out = version >= 6 ? sizeof all : version >= 4 ? offsetof(struct landlock_ruleset, scoped)
                                                          : offsetof(struct landlock_ruleset, net);
    return all;
}

static int landlock_allow(int ruleset_fd, const struct cage_path *path, uint64_t known, struct err *err)
{
    struct landlock_beneath rule = { .parent_fd = path->fd };
    struct stat             st;

    if ((path->may & CAGE_READ) != 0)
        rule.allowed |= FS_READ_FILE;
    if ((path->may & CAGE_LIST) != 0)
        rule.allowed |= FS_READ_DIR;
    if ((path->may & CAGE_WRITE) != 0)
        rule.allowed |= FS_WRITE_FILE | FS_TRUNCATE | FS_MAKE_REG | FS_REMOVE_FILE;
    if (fstat(path->fd, &st) == 0 && !S_ISDIR(st.st_mode))
        rule.allowed &= FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE;
    rule.allowed &= known;
    if (syscall(SYS_landlock_add_rule, ruleset_fd, LANDLOCK_BENEATH, &rule, 0) != 0)
        return err_errno(err, errno, "cage: Landlock rule");
    return 0;
}

static int landlock_enter(const struct cage_path *paths, size_t count, int version, bool connecting, struct err *err)
{
    size_t                  bytes;
    struct landlock_ruleset all = landlock_all(version, connecting, &bytes);
    int                     fd = (int)syscall(SYS_landlock_create_ruleset, &all, bytes, 0);
    int                     rc = 0;

    if (fd < 0)
        return err_errno(err, errno, "cage: Landlock");
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = landlock_allow(fd, &paths[i], all.fs, err);
    if (rc == 0 && syscall(SYS_landlock_restrict_self, fd, 0) != 0)
        rc = err_errno(err, errno, "cage: Landlock");
    (void)close(fd);
    return rc;
}

/* --- both -------------------------------------------------------------------------------------- */

static int cage_build(const struct cage_path *paths, size_t count, bool connecting, struct cage *out, struct err *err)
{
    const char *why;

    *out = (struct cage){ .seccomp = false };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_errno(err, errno, "cage: no_new_privs");
    if (!cage_possible(&why)) {
        (void)snprintf(out->why, sizeof out->why, "%s", why);
        return 0;
    }
    out->landlock = cage_landlock_version();
    if (out->landlock == 0)
        (void)snprintf(out->why, sizeof out->why, "this kernel has no Landlock: any file of this user can be opened");
    else if (landlock_enter(paths, count, out->landlock, connecting, err) < 0)
        return -1;
#ifdef CAGE_ARCH
    if (seccomp_enter(connecting, err) < 0)
        return -1;
    out->seccomp = true;
#endif
    return 0;
}

int cage_enter(const struct cage_path *paths, size_t count, struct cage *out, struct err *err)
{
    return cage_build(paths, count, false, out, err);
}

int cage_enter_connecting(const struct cage_path *paths, size_t count, struct cage *out, struct err *err)
{
    return cage_build(paths, count, true, out, err);
}

int cage_drop_user(uid_t uid, gid_t gid, struct err *err)
{
    pid_t parent = getppid();
    int   death_signal = 0;

    (void)prctl(PR_GET_PDEATHSIG, &death_signal);
    if (setgroups(1, &gid) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return err_errno(err, errno, "cannot become user %u of group %u", (unsigned)uid, (unsigned)gid);
    if (uid != 0 && (setuid(0) == 0 || getuid() != uid || geteuid() != uid))
        return err_set(err, ERR_STOP, "could become root again after becoming user %u", (unsigned)uid);
    if (death_signal != 0 && (prctl(PR_SET_PDEATHSIG, death_signal) < 0 || getppid() != parent))
        return err_set(err, ERR_STOP, "whoever started this process is gone");
    return 0;
}
