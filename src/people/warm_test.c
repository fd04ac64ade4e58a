/* people/warm_test.c - a file is in the page cache when reading ahead is done, up to its bound; and a store may be closed meanwhile. */
#include "people/people_test_kit.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "people/warm.h"

enum { FILE_BYTES = 24 << 20, PAGE = 4096 };

/* Pages of the file between from and to that are in the page cache. */
static size_t pages_there(int fd, size_t from, size_t to)
{
    static unsigned char there[FILE_BYTES / PAGE];
    void  *map = mmap(NULL, to - from, PROT_READ, MAP_SHARED, fd, (off_t)from);
    size_t count = 0;

    assert_true(map != MAP_FAILED);
    assert_int_equal(mincore(map, to - from, there), 0);
    for (size_t i = 0; i < (to - from) / PAGE; i++)
        count += there[i] & 1;
    assert_int_equal(munmap(map, to - from), 0);
    return count;
}

static int cold_file(const struct place *place)
{
    static uint8_t bytes[1 << 20];
    char           path[100];
    int            fd;

    (void)snprintf(path, sizeof path, "%s/file", place->folder);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    for (int i = 0; i < FILE_BYTES >> 20; i++)
        assert_int_equal(write(fd, bytes, sizeof bytes), sizeof bytes);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    return fd;
}

static void wait_done(const struct warm *warm)
{
    for (int i = 0; i < 2000 && !warm_done(warm); i++)
        (void)usleep(10000);
    assert_true(warm_done(warm));
}

static void a_file_is_read_up_to_its_bound(void **state)
{
    enum { BOUND = 8 << 20, FAR = 12 << 20 };
    int          fd = cold_file(*state);
    size_t       far = pages_there(fd, FAR, FILE_BYTES); /* none; all, where files live in memory alone */
    struct warm *warm = warm_start(fd, BOUND);

    assert_non_null(warm);
    wait_done(warm);
    warm_stop(warm);
    assert_true(pages_there(fd, 0, BOUND) >= BOUND / PAGE * 9 / 10); /* others may want the memory */
    assert_true(pages_there(fd, FAR, FILE_BYTES) <= far);

    warm = warm_start(fd, UINT64_MAX);
    assert_non_null(warm);
    wait_done(warm);
    warm_stop(warm);
    assert_true(pages_there(fd, 0, FILE_BYTES) >= FILE_BYTES / PAGE * 9 / 10);
    assert_null(warm_start(fd, 0));
    assert_null(warm_start(-1, 1));
    close(fd);
}

static void it_may_be_ended_at_once(void **state)
{
    struct place *place = *state;
    int           fd = cold_file(place);

    for (int i = 0; i < 20; i++)
        warm_stop(warm_start(fd, UINT64_MAX));
    warm_stop(NULL);
    close(fd);
    place->options.warm_bytes = UINT64_MAX;
    for (int i = 0; i < 20; i++)
        people_close(must_open(place));
}

/* Linux lets go of a map's pages first where it was told of random access (lmdb.c): not of a store that is read whole. */
static void the_map_goes_by_what_is_read(void **state)
{
    static const struct { uint64_t warm_bytes; bool random; } rows[] = { { 0, true }, { 1 << 12, true }, { 1 << 30, false } };
    struct place *place = *state;

    people_close(must_open(place)); /* the file is larger than a page now */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct people *people;
        unsigned       flags;

        place->options.warm_bytes = rows[i].warm_bytes;
        people = must_open(place);
        assert_int_equal(mdb_env_get_flags(lmdb_of(people)->env, &flags), 0);
        assert_int_equal((flags & MDB_NORDAHEAD) != 0, rows[i].random);
        people_close(people);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(a_file_is_read_up_to_its_bound),
        PLACED(it_may_be_ended_at_once),
        PLACED(the_map_goes_by_what_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
