/* wire/user_agent.c - two tables, walked from the most telling word to the least: Edge says Chrome and Safari too,
 * Chrome says Safari, and everything says Mozilla. No regular expressions: the texts are strangers', and a table of
 * words is linear. */
#include "wire/user_agent.h"

struct mark {
    const char *word;    /* what must stand somewhere */
    const char *version; /* the version stands behind this word; NULL: behind the first */
    const char *name;
    const char *also;    /* and this; NULL: nothing more */
};

static const struct mark browsers[] = {
    { "SamsungBrowser/", NULL, "Samsung Internet", NULL },
    { "UCBrowser/", NULL, "UC Browser", NULL },
    { "OPR/", NULL, "Opera", NULL },
    { "OPT/", NULL, "Opera", NULL },
    { "Opera Mini/", NULL, "Opera Mini", NULL },
    { "EdgiOS/", NULL, "Microsoft Edge", NULL },
    { "EdgA/", NULL, "Microsoft Edge", NULL },
    { "Edg/", NULL, "Microsoft Edge", NULL },
    { "Edge/", NULL, "Microsoft Edge", NULL },
    { "FBAN/", "FBAV/", "Facebook Mobile", NULL },
    { "FBAV/", NULL, "Facebook Mobile", NULL },
    { "CriOS/", NULL, "Chrome iOS", NULL },
    { "FxiOS/", NULL, "Firefox iOS", NULL },
    { "Firefox/", NULL, "Firefox", NULL },
    { "Chrome/", NULL, "Chrome", NULL },
    { "Android ", "Version/", "Android Mobile", "Version/" },
    { "Version/", NULL, "Mobile Safari", "Mobile/" },
    { "Safari/", "Version/", "Safari", "Version/" },
    { "MSIE ", NULL, "Internet Explorer", NULL },
    { "Trident/", "rv:", "Internet Explorer", NULL },
};

static const struct mark systems[] = {
    { "Windows Phone ", "Windows Phone ", "Windows Phone", NULL },
    { "Windows", "Windows NT ", "Windows", NULL },
    { "iPhone", " OS ", "iOS", NULL },
    { "iPad", " OS ", "iOS", NULL },
    { "iPod", " OS ", "iOS", NULL },
    { "Android", "Android ", "Android", NULL },
    { "CrOS", NULL, "Chrome OS", NULL },
    { "Macintosh", "Mac OS X ", "Mac OS X", NULL },
    { "Mac OS X", "Mac OS X ", "Mac OS X", NULL },
    { "Linux", NULL, "Linux", NULL },
};

/* What stands behind the word; bytes 0 also when the word ends the text. */
static bool agent_behind(struct span text, const char *word, struct span *out)
{
    size_t         bytes = strlen(word);
    const uint8_t *at = text.bytes == 0 ? NULL : memmem(text.at, text.bytes, word, bytes);

    if (at == NULL)
        return false;
    *out = span_from(text, (size_t)(at - text.at) + bytes);
    return true;
}

static bool agent_has(struct span text, const char *word)
{
    struct span rest;

    return agent_behind(text, word, &rest);
}

static const struct mark *agent_find(struct span text, const struct mark *marks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (agent_has(text, marks[i].word) && (marks[i].also == NULL || agent_has(text, marks[i].also)))
            return &marks[i];
    return NULL;
}

static bool agent_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* Digits in up to `parts` parts, separated by `.` or `_`. */
static struct span agent_version(struct span text, int parts)
{
    size_t bytes = 0;

    while (bytes < text.bytes && bytes < 24) {
        if (agent_digit(text.at[bytes]))
            bytes++;
        else if ((text.at[bytes] == '.' || text.at[bytes] == '_') && bytes > 0 && parts > 1 && bytes + 1 < text.bytes &&
                 agent_digit(text.at[bytes + 1]) && parts-- > 0)
            bytes++;
        else
            break;
    }
    return span_of(text.at, bytes);
}

static struct span agent_device(struct span text, struct span os)
{
    if (agent_has(text, "iPad") || agent_has(text, "Tablet") ||
        (span_is(os, "Android") && !agent_has(text, "Mobile")))
        return SPAN("Tablet");
    if (span_is(os, "iOS") || span_is(os, "Android") || span_is(os, "Windows Phone") || agent_has(text, "Mobi"))
        return SPAN("Mobile");
    return os.bytes > 0 ? SPAN("Desktop") : SPAN("");
}

/* `1.50`, `007`, or anything that JSON or a reader would not take for this number: the first part alone. */
static struct span agent_number(struct span version)
{
    const uint8_t *dot = version.bytes == 0 ? NULL : memchr(version.at, '.', version.bytes);
    size_t         first = dot == NULL ? version.bytes : (size_t)(dot - version.at);

    if (first > 1 && version.at[0] == '0')
        return SPAN("");
    if (dot == NULL || version.at[version.bytes - 1] == '0')
        return span_of(version.at, first);
    return version;
}

void user_agent_read(struct span text, struct user_agent *out)
{
    const struct mark *browser = agent_find(text, browsers, sizeof browsers / sizeof *browsers);
    const struct mark *system = agent_find(text, systems, sizeof systems / sizeof *systems);
    struct span        rest;

    *out = (struct user_agent){ .browser = SPAN(""), .browser_version = SPAN(""), .os = SPAN(""),
                                .os_version = SPAN(""), .device_type = SPAN("") };
    if (browser != NULL) {
        out->browser = span_text(browser->name);
        if (agent_behind(text, browser->version != NULL ? browser->version : browser->word, &rest) &&
            memchr(agent_version(rest, 2).at, '_', agent_version(rest, 2).bytes) == NULL)
            out->browser_version = agent_number(agent_version(rest, 2));
    }
    if (system != NULL) {
        out->os = span_text(system->name);
        if (system->version != NULL && agent_behind(text, system->version, &rest)) {
            out->os_version = agent_version(rest, 3);
            out->os_version_marked = out->os_version.bytes > 0 &&
                                     memchr(out->os_version.at, '_', out->os_version.bytes) != NULL;
        }
    }
    out->device_type = agent_device(text, out->os);
}
