/* wire/user_agent_test.c - texts that browsers send, and what the browser SDKs would call these browsers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "wire/user_agent.h"

#define MAC "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
#define WIN "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
#define LINUX "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
#define PHONE "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
#define PIXEL "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) "

static const struct row { const char *name, *text, *expected; } rows[] = {
    { "Chrome", LINUX "Chrome/150.0.0.0 Safari/537.36", "Chrome|150|Linux||Desktop" },
    { "Chrome on Windows", WIN "Chrome/109.0.5414.120 Safari/537.36", "Chrome|109|Windows|10.0|Desktop" },
    { "Edge says Chrome", WIN "Chrome/120.0.0.0 Safari/537.36 Edg/120.0.2210.91", "Microsoft Edge|120|Windows|10.0|Desktop" },
    { "Opera says Chrome", MAC "Chrome/119.0.0.0 Safari/537.36 OPR/105.0.0.0", "Opera|105|Mac OS X|10_15_7|Desktop" },
    { "Safari", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
      "Safari|17.4|Mac OS X|10_15_7|Desktop" },
    { "Mobile Safari", PHONE "Version/17.4 Mobile/15E148 Safari/604.1", "Mobile Safari|17.4|iOS|17_4_1|Mobile" },
    { "Chrome on a phone of Apple", PHONE "CriOS/122.0.6261.89 Mobile/15E148 Safari/604.1", "Chrome iOS|122|iOS|17_4_1|Mobile" },
    { "Firefox on a phone of Apple", PHONE "FxiOS/123.0 Mobile/15E148 Safari/605.1.15", "Firefox iOS|123|iOS|17_4_1|Mobile" },
    { "a tablet of Apple", "Mozilla/5.0 (iPad; CPU OS 12_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1 Mobile/15E148 Safari/604.1",
      "Mobile Safari|12.1|iOS|12_5|Tablet" },
    { "Chrome on Android", PIXEL "Chrome/122.0.0.0 Mobile Safari/537.36", "Chrome|122|Android|14|Mobile" },
    { "a tablet on Android", PIXEL "Chrome/122.0.0.0 Safari/537.36", "Chrome|122|Android|14|Tablet" },
    { "Samsung", PIXEL "SamsungBrowser/24.0 Chrome/117.0.0.0 Mobile Safari/537.36", "Samsung Internet|24|Android|14|Mobile" },
    { "Firefox", "Mozilla/5.0 (X11; Linux x86_64; rv:123.0) Gecko/20100101 Firefox/123.0", "Firefox|123|Linux||Desktop" },
    { "Explorer", "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko", "Internet Explorer|11|Windows|6.1|Desktop" },
    { "an old Explorer", "Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)", "Internet Explorer|10|Windows|6.2|Desktop" },
    { "Chrome OS", "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Safari/537.36",
      "Chrome|122|Chrome OS||Desktop" },
    { "no browser", "curl/8.5.0", "||||" },
    { "nothing", "", "||||" },
    { "a version that is no number", "Chrome/x.1 Linux", "Chrome||Linux||Desktop" },
    { "a version that JSON would not take", "Chrome/007.5 Linux", "Chrome||Linux||Desktop" },
    { "a word at the very end", "Mozilla Chrome/", "Chrome||||" },
    { "a system at the very end", "Android ", "||Android||Tablet" },
    { "a version without end", "Firefox/123456789012345678901234567890123", "Firefox|123456789012345678901234|||" },
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        /* At the very end of a page that is followed by none. */
        size_t            page = (size_t)sysconf(_SC_PAGESIZE), bytes = strlen(rows[i].text);
        uint8_t          *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct user_agent agent;
        char              got[256];

        assert_ptr_not_equal(pages, MAP_FAILED);
        assert_int_equal(mprotect(pages + page, page, PROT_NONE), 0);
        memcpy(pages + page - bytes, rows[i].text, bytes);
        user_agent_read(span_of(pages + page - bytes, bytes), &agent);
        (void)snprintf(got, sizeof got, "%.*s|%.*s|%.*s|%.*s|%.*s", SPAN_ARG(agent.browser), SPAN_ARG(agent.browser_version),
                       SPAN_ARG(agent.os), SPAN_ARG(agent.os_version), SPAN_ARG(agent.device_type));
        if (strcmp(got, rows[i].expected) != 0)
            fail_msg("%s: %s, expected %s", rows[i].name, got, rows[i].expected);
        assert_int_equal(agent.os_version_marked, memchr(agent.os_version.at, '_', agent.os_version.bytes) != NULL);
        assert_int_equal(munmap(pages, 2 * page), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
