/* fuzz/handover.c - any bytes as the state that one supervisor leaves to the next binary: nothing is read past its arrays, and
 * what was read whole is written and read as the same again. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "capture/capture.h"
#include "command/supervisor_inner.h"
#include "fuzz.h"
#include "ingest/ingest.h"
#include "load/load.h"

enum { TEXT_BYTES_MAX = 1 << 20 };

static void fresh(struct supervisor *supervisor)
{
    static const struct role *const roles[] = { &capture_role, &ingest_role, &load_role };

    memset(supervisor, 0, sizeof *supervisor);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        supervisor->children[supervisor->count++] = (struct child){ .role = roles[i], .lock_fd = -1, .state = CHILD_WAITING };
}

/* What stands in a line of the state. */
static size_t written(struct supervisor *supervisor, char *text)
{
    FILE  *to = fmemopen(text, TEXT_BYTES_MAX, "w");
    long   bytes;

    MUST(to != NULL);
    supervisor->exe_fd = supervisor->change.trial_fd; /* where the other side of the exec keeps it */
    supervisor_state_write(supervisor, to);
    bytes = ftell(to);
    MUST(fclose(to) == 0 && bytes > 0 && bytes < TEXT_BYTES_MAX);
    return (size_t)bytes;
}

static int read_of(struct supervisor *supervisor, const void *text, size_t bytes)
{
    static int fd = -1;
    struct err err = { .kind = ERR_NONE };

    if (fd < 0)
        fd = memfd_create("state", MFD_CLOEXEC);
    MUST(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, text, bytes, 0) == (ssize_t)bytes);
    fresh(supervisor);
    return supervisor_state_read(supervisor, fd, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct supervisor supervisor;
    static char              first[TEXT_BYTES_MAX], second[TEXT_BYTES_MAX];
    size_t                   first_bytes, second_bytes;

    if (bytes > TEXT_BYTES_MAX / 4 || read_of(&supervisor, data, bytes) < 0)
        return 0;
    MUST(supervisor.sockets_count <= LISTEN_MAX && supervisor.leaving_count <= LEAVING_MAX && supervisor.change.todo < 8);
    for (size_t i = 0; i < supervisor.count; i++)
        MUST(supervisor.children[i].role != NULL && memchr(supervisor.children[i].last, 0, sizeof supervisor.children[i].last) != NULL);
    first_bytes = written(&supervisor, first);
    if (memchr(first, 0, first_bytes) != NULL)
        return 0;
    MUST(read_of(&supervisor, first, first_bytes) == 0);
    second_bytes = written(&supervisor, second);
    MUST(second_bytes == first_bytes && memcmp(first, second, first_bytes) == 0);
    return 0;
}
