/* capture/stall_http_test.c - a disk that does not come back from a sync: who waits for it waits, everybody else is served, and
 * when it comes back everything is as before. The first commit of a server is synced by its loop (loop_sync.c), so the stall begins
 * with it; later ones may be the committer's. */
#include "base/io.h"
#include "capture/capture_test_kit.h"

enum { ROUNDS = 3 };

#define EVENT(id) "{\"token\":\"phc_alpha\",\"event\":\"e\",\"distinct_id\":\"" id "\",\"properties\":{}}"

static atomic_bool stalled;
static atomic_int  waiting; /* syncs that do not come back */

static int before(void *ctx, struct io_call *call)
{
    (void)ctx;
    if (call->op != IO_FDATASYNC || !atomic_load(&stalled))
        return 0;
    atomic_fetch_add(&waiting, 1);
    while (atomic_load(&stalled))
        (void)poll(NULL, 0, 1);
    atomic_fetch_sub(&waiting, 1);
    return 0;
}

static const struct io_hook hook = { .before = before };

static int start(void **state)
{
    (void)state;
    io_hook_set(&hook);
    return KIT_BEGIN("commit_wait", "30s");
}

static void send_event(int fd)
{
    const char *body = EVENT("u");
    char        head[160];

    (void)snprintf(head, sizeof head, "POST /e/ HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                   strlen(body));
    kit_send_text(fd, head);
    kit_send_text(fd, body);
}

/* The log is open, and the disk stands from here on. */
static void stall(int probe)
{
    kit_send_text(probe, "GET /_readiness HTTP/1.1\r\nHost: t\r\n\r\n");
    kit_expect(probe, 200, "a probe before");
    atomic_store(&stalled, true);
}

static void wait_stalled(void)
{
    int64_t until_us = kit_deadline_us();

    while (atomic_load(&waiting) == 0) {
        if (clock_mono_us() > until_us)
            fail_msg("no sync was begun");
        (void)poll(NULL, 0, 1);
    }
}

static void others_are_served(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        int sender = kit_connect(&kit), later = kit_connect(&kit), probe = kit_connect(&kit);

        stall(probe);
        send_event(sender);
        wait_stalled();
        for (int i = 0; i < 3; i++) {
            kit_send_text(probe, "GET /_readiness HTTP/1.1\r\nHost: t\r\n\r\n");
            kit_expect(probe, 200, "a probe while the disk stands");
        }
        send_event(later); /* begins the next commit, which waits for this one */
        kit_send_text(probe, "GET /_liveness HTTP/1.1\r\nHost: t\r\n\r\n");
        kit_expect(probe, 200, "a probe behind an event");
        assert_false(kit_readable(sender, 0)); /* nothing is answered before its sync */
        assert_false(kit_readable(later, 0));
        atomic_store(&stalled, false);
        kit_expect(sender, 200, "the one that waited for the disk");
        kit_expect(later, 200, "the one behind it");
        for (int i = 0; i < 20; i++) {
            send_event(sender);
            kit_expect(sender, 200, "the disk is back");
        }
        assert_int_equal(kit_records(&kit), 22);
        (void)close(sender);
        (void)close(later);
        (void)close(probe);
    }
}

/* It is told to stop while the loop's own sync stands: the answer still comes. */
static void a_stop_waits_for_it(void **state)
{
    int sender = kit_connect(&kit);

    (void)state;
    stall(sender);
    send_event(sender);
    wait_stalled();
    kit_ask_to_stop(&kit);
    assert_false(kit_readable(sender, 200));
    atomic_store(&stalled, false);
    kit_expect(sender, 200, "what was taken is answered");
    (void)close(sender);
}

int main(void)
{
    const struct CMUnitTest first[] = { cmocka_unit_test(others_are_served) };
    const struct CMUnitTest second[] = { cmocka_unit_test(a_stop_waits_for_it) };
    int                     failed = cmocka_run_group_tests(first, start, kit_teardown);

    failed += cmocka_run_group_tests(second, start, kit_teardown);
    return failed;
}
