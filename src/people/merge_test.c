/* people/merge_test.c - identify, alias and merge, as small stories: whose the ids are afterwards, and what is refused. */
#include "people/story_test_kit.h"

static void merges(void **state)
{
    static const char *const stories[] = {
        "identify n o {\"$set\":{\"a\":1}}\n? n v0 ident {\"a\":1}\n? n @n\n? o @n\n? n #0\n? o #1",
        "identify n o\n= @n\n! none\n/\nov o n 1\nov n n 0\ntold n v0",
        "# vector E03\n"
        "+ o {}\nidentify n o\n? n @o\n? n v1 ident {}\n? n #1\n? o #0",
        "# vector E04\n"
        "+ n {}\nalso n o\nidentify n o\n! none\n/\ntold n v1\nuntold n\nuntold o\n? n v1 ident {}\n? o @n\n? o #0",
        "+ n {}\nidentify n o\n? o @n\n? n v1 ident {}\n? o #1",
        "+ o {}\nidentify n o\n/\nidentify n o\n? n v1 ident {}\n? n #1\ntold o not", /* the second: nothing left to do
                                                                                       */

        "# vector E05\n"
        "+ o {}\nlater 60\n+ n {}\nlater 120\nidentify n o\n= @n\n/\ntold n v1\ntold o v100 deleted\nov o n 1\n"
        "? n v1 ident {}\n? n at 0\n? n #0\n? o #1\n? o @n",

        "# vector E07\n"
        "+! o {}\n+ n {}\nidentify n o {\"$set\":{\"k\":1}}\n= @n\n! identified o n\n/\ntold n v1\ntold o not\n"
        "? n v1 ident {\"k\":1}\n? o @o",
        "# vector E08\n"
        "+! o {}\n+! n {}\nidentify n o\n! identified o n\nidentify n o\n! identified o n\n? n v0 ident {}\n? o @o",
        "# vector E09\n"
        "+! o {}\n+! n {}\nmerge n o\n! none\n? o @n\n? n v1 ident {}",
        "# vector E10\n"
        "+! o {}\n+! n {}\nalias n o\n! identified o n\n? o @o",

        "# vector E11\n"
        "+ o {\"a\":1,\"b\":2}\n+ n {\"b\":3,\"c\":4,\"d\":5}\n"
        "identify n o {\"$set\":{\"d\":6,\"e\":7},\"$set_once\":{\"a\":8,\"f\":9}}\n"
        "= {\"b\":3,\"c\":4,\"d\":6,\"a\":1,\"f\":9,\"e\":7}\n? n v1 ident "
        "{\"b\":3,\"c\":4,\"d\":6,\"a\":1,\"f\":9,\"e\":7}",
        "# vector E12\n"
        "+ o {}\n+ n {}\nversion o 7\nversion n 2\nidentify n o\n/\ntold n v8\ntold o v107 deleted\nov o n 1\n? n v8 "
        "ident {}",

        "# vector E13\n"
        "+ n {}\nidentify n n\n! none\n? n v0 anon {}\ntold n not",
        "# vector E14\n"
        "identify null o\n! illegal o null\n? null v0 anon {}\n? nobody o",
        "# vector E15\n"
        "identify n undefined\n! illegal\n? n v0 anon {}\n? nobody undefined",
        "# vector E16\n"
        "identify n null\n! illegal",
        "# vector E17\n"
        "identify n ''\n! illegal\nidentify n '   '\n! illegal\n? n v0 anon {}",

        "# vector E21\n"
        "+ a {}\nalias n a\n+ b {}\nalias n b\n? n @a\n? b @a\n? a v2 ident {}",
        "# vector E22\n"
        "alias n o\n? o @n\n? n @n\n? n v0 ident {}",
        "# vector E23\n"
        "+ a1 {}\n+ a2 {}\n+ a3 {}\nidentify n a1\nidentify n a2\nidentify n a3\n? n @a1\n? a2 @a1\n? a3 @a1",
        "# vector E23, a batch each\n"
        "+ a1 {}\n+ a2 {}\n+ a3 {}\nidentify n a1\n/\nidentify n a2\n/\nidentify n a3\n? n v3 ident {}\n? n @a1\n? a1 @a1\n"
        "? a2 @a1\n? a3 @a1",
        "+ n {}\n+ a1 {}\n+ a2 {}\nidentify n a1\n/\nidentify n a2\n? n v2 ident {}\n? a1 @n\n? a2 @n",
        "# vector E24\n"
        "identify u1 a\n+ u2 {}\nidentify u2 a\n! identified a u2\n? u2 @u2",
        "# vector E24, u2 is new\n"
        "identify u1 a\nidentify u2 a\n! none\n? u2 @u1",
        "# vector E36\n"
        "alias a b\nalias b c\nalias c d\n? b @a\n? c @a\n? d @a\n? d #1",
        "alias c d\nalias b c\nalias a b\n? a @c\n? b @c\n? d @c",
        "# vector E37\n"
        "alias c d\nview b\nalias b c\n! identified c b\n? b @b",
        "alias a b\nalias b c\nalias c a\n! none\n? a @a\n? c @a\n? a v0 ident {}", /* a ring */
        "# vector E38\n"
        "+! o {}\nidentify n o\n! none\n? n @o",

        /* All in one batch, and the merged person's id never stored. */
        "view o {\"$set\":{\"a\":1}}\nview n {\"$set\":{\"b\":2}}\nidentify n o\n/\ntold n v1\ntold o v100 deleted\nov "
        "o n 1\n"
        "? n v1 ident {\"b\":2,\"a\":1}",
        /* An id that moves twice in a batch. */
        "+ a {}\n+ b {}\n+ c {}\nidentify b a\nmerge c b\n/\nov a c 2\nov b c 1\ntold a v100 deleted\ntold b v101 "
        "deleted\n? c v2 "
        "ident {}\n? a @c",
        "+ a {}\nalias a a2\n/\nview b\nmerge b a2\n? a2 @b\n? a @b\n? a #1\n? a2 #2",
    };

    (void)state;
    RUN_STORIES(stories);
}

/* A person with more ids than a merge may move is left alone, and so is the event. */
static void merges_of_too_many_ids(void **state)
{
    static const char *const stories[] = {
        "# vector E27, with a smaller limit\n"
        "limit ids 2\n+ o {}\nalias o b\nalias o c\n+ n {}\nmerge n o {\"$set\":{\"a\":1}}\n! toolarge\n/\ntold n not\ntold o "
        "not\n? n v0 anon {}\n? b @o\n? c #1",
        "# vector E29, with a smaller limit\n"
        "limit ids 3\n+ o {}\nalias o b\nalias o c\n+ n {}\nmerge n o\n! none\n? b @n\n? c #2\n? o @n", /* exactly */
        /* The target may have any number, and ids that join are no merge. */
        "limit ids 1\n+ n {}\nalias n b\nalias n c\n+ o {}\nalias n o\n! none\n? o @n\nalias n d\n! none\n? d @n",
        /* What it got in this batch counts, and what it lost does not. */
        "limit ids 2\nview o\nalias o b\nalias o c\nview n\nmerge n o\n! toolarge\n? o @o\n? n @n",
        "limit ids 2\n+ o {}\nalias o b\n/\nview n\nalias o c\nmerge n o\n! toolarge\n? c @o",
        "limit ids 2\n+ a {}\nalias a b\n/\n+ m {}\nmerge m a\n! none\nview n\nmerge n m\n! toolarge\n? a @m\n? m @m",
        /* Ids that a note owes count as well, in the batch of the merge and later. */
        "+ a {}\nalias a b\nalias a c\n/\nlimit once 1\nlimit moves 1\nlimit ids 3\n+ m {}\nmerge m a\n! none\nview n\n"
        "merge n m\n! toolarge\n? b @m\n? n @n",
        "+ a {}\nalias a b\nalias a c\nalias a d\n/\nlimit once 1\nlimit moves 1\n+ m {}\nmerge m a\n/\nlimit ids 4\n"
        "view n\nmerge n m\n! toolarge\n? d @m\n? d #2",
    };

    (void)state;
    RUN_STORIES(stories);
}

/* T is the beginning of an hour. */
static void joins_in_an_hour(void **state)
{
    static const char *const stories[] = {
        "limit joins 2\n+ a {}\n+ b {}\n+ c {}\n+ n {}\nidentify n a\n! none\nidentify n b\n! none\nidentify n c\n! joins\n"
        "? c @c\n? c v0 anon {}\n? a @n\n? b @n",
        /* Over batches, and ids that nobody had yet count too, from either side. */
        "limit joins 2\n+ n {}\nidentify n a\n/\nidentify n b\n/\nidentify n c\n! joins\n/\nidentify d n\n! joins\n"
        "? nobody c\n? d @d\n? d v0 anon {}\n? b @n",
        /* The next hour is another one; an old hour's event counts for the newest. */
        "limit joins 1\n+ n {}\nidentify n a\nlater 3599\nidentify n b\n! joins\nlater 3600\nidentify n b\n! none\n/\n"
        "identify n c\n! joins\n? b @n\n? nobody c",
        "limit joins 1\n+ n {}\nidentify n a\n/\nlater 3600\nidentify n b\n/\nidentify n c\n! joins\n? b @n",
        /* What merges nothing counts nothing: again the same, refused, illegal. */
        "limit joins 1\n+ n {}\nidentify n a\nidentify n a\n! none\n+! o {}\nidentify n o\n! identified\nidentify n null\n! "
        "illegal\n? a @n",
        "limit joins 1\nidentify n o\nidentify n p\nidentify n q\n! joins\n? p @n\n? nobody q", /* a new person */
        /* An aborted batch counts nothing; a person that was merged itself neither. */
        "limit joins 1\n+ a {}\nidentify a b\n+ n {}\nmerge n a\n! none\nmerge n c\n! joins\n? b @n",
        "+ n {}\nidentify n a\nidentify n b\nidentify n c\n! none\n? c @n", /* no limit */
    };

    (void)state;
    RUN_STORIES(stories);
}

/* Many ids: the merge is done at once, though its ids move later. */
static void merges_of_many_ids(void **state)
{
    static const char *const stories[] = {
        "+ a {}\nalias a b\nalias a c\nalias a d\n/\nlimit once 1\nlimit moves 1\n+ n {}\nmerge n a\n? a @n\n? b @n\n? c @n\n? d "
        "@n\n? a #1\n? d #2\n? n v2 ident {}",
        /* Each row once; an id that is used meanwhile is not told again. */
        "+ a {}\nalias a b\nalias a c\nalias a d\nalias a e\n/\nlimit once 1\nlimit moves 1\n+ n {}\nmerge n a\n/\nov a n 1\nov b n "
        "2\nov c n 2\nuntold d\nview e\n= @n\n/\nov d n 2\nuntold c\nuntold e\n/\nov e n 2\nuntold d\n/\nuntold e",
        /* Found by an id that stands under the merged person still, in the same batch. */
        "+ a {}\nalias a b\nalias a c\nalias a d\n/\nlimit once 1\nlimit moves 1\n+ n {}\nmerge n a\nview d {\"$set\":{\"k\":1}}\n= "
        "@n\n? n v2 ident {\"k\":1}",
    };

    (void)state;
    RUN_STORIES(stories);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges),
        cmocka_unit_test(merges_of_too_many_ids),
        cmocka_unit_test(joins_in_an_hour),
        cmocka_unit_test(merges_of_many_ids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
