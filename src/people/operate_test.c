/* people/operate_test.c - deleted, erased, split, and what comes after, as small stories. */
#include "people/story_test_kit.h"

static void deleted_and_used_again(void **state)
{
    static const char *const stories[] = {
        "+ n {}\nversion n 3\ndelete n\ntold n v103 deleted\nov n n 100 deleted\n? nobody n",
        /* All of its ids, and nobody else's. */
        "+ n {\"a\":1}\nalias n b\nalias n c\n+ m {}\ndelete b\ntold n v101 deleted\nov n n 100 deleted\nov b n 101 deleted\nov c n "
        "101 deleted\ntold m not\n? nobody c\n? m @m\nview c\n? c @c\n? c v0 anon {}\n? c #102",
        "delete n\ntold n not\nview n\n? n v0 anon {}", /* nobody was there */
        "+ n {}\ndelete n\ndelete n\ntold n not",
        /* With ids that a merge left to be moved. */
        "+ a {}\nalias a b\nalias a c\nalias a d\nalias a e\nalias a f\nalias a g\n/\nlimit once 1\nlimit moves 1\n+ n {}\nmerge n "
        "a\n/\ndelete n\ntold n v102 deleted\nov g n 102 deleted\nov a n 101 deleted\nov b n 102 deleted\nov c n 102 deleted\nov d n 102 deleted\n? nobody d\n/\n/\n? nobody c\n"
        "view d\n? d @d\n? d #103",
        "# vector J13\n"
        "+ n {}\nversion n 3\ndelete n\n? nobody n\nview n\n/\ntold n v104\nov n n 101\n? n v104 anon {}",
        "+ n {}\ndelete n\npersonless n\n= at 5\n? nobody n",
        "+ n {}\ndelete n\n+ o {}\nidentify n o\n? n @o\n? n #101",
        "+ n {}\ndelete n\n+ o {}\nidentify o n\n? n @o\n? n #101",
        /* A merged person's uuid comes back: its id was freed, after the survivor was deleted. */
        "+ o {}\nversion o 7\n+ n {}\nidentify n o\ndelete o\nview o\n/\ntold o v108\nov o o 102",
    };

    (void)state;
    RUN_STORIES(stories);
}

/* Of what is erased the versions are kept, and nothing else. */
static void erased_and_used_again(void **state)
{
    static const char *const stories[] = {
        "+ n {}\nversion n 3\nerase n\ntold n v103 deleted\nov n n 100 deleted\n? nobody n\nview n\n/\ntold n v104\nov n n 104\n"
        "? n v104 anon {}",
        "+ n {}\nalias n b\nerase n\n? nobody b\nview b\n/\ntold b v102\nov b b 102\nalias b n\n/\nov n b 102",
        "+ n {}\nalias n b\nerase n\n+ m {}\nalias m b\n/\nov b m 102\nidentify q n\n/\nov q q 0\nov n q 102",
        "+ n {}\nerase n\nerase n\ntold n not\nview n\n? n v101 anon {}\nerase n\ntold n v201 deleted\nov n n 201 deleted\nview n\n? n "
        "v202 anon {}",
    };

    (void)state;
    RUN_STORIES(stories);
}

static void split_apart(void **state)
{
    static const char *const stories[] = {
        ("+ n {\"a\":1}\nversion n 4\nalias n b\nalias n c\nsplit n b\ntold b v106\nov b b 102\ntold n not\nuntold n\nuntold c\n? b @b\n"
        "? b v106 anon {}\n? b #102\n? c @n\n? n v5 ident {\"a\":1}"),
        "+ n {}\nalias n b\nalias n c\nsplit b c b\n? c @c\n? b @n\nsplit b n\n? n @n\n? b @n", /* n is its uuid's id */
        "+ n {}\n+ m {}\nsplit n m x\ntold m not\n? m @m\n? nobody x\nsplit x n\n? n @n",
        /* Merged and split again: above the row that said that it was gone. */
        "+ o {}\n+ n {}\nidentify n o\nsplit n o\ntold o v102\nov o o 102\n? o @o\n? n @n\nview o\n? o v102 anon {}",
        "+ o {}\nversion o 9\n+ n {}\nidentify n o\nsplit n o\ntold o v111\n? o @o", /* 109 was told, n has 10 */
    };

    (void)state;
    RUN_STORIES(stories);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deleted_and_used_again),
        cmocka_unit_test(erased_and_used_again),
        cmocka_unit_test(split_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
