/* command/post.c - bodies to a running capture. */
#include "command/post.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "command/command.h"
#include "command/supervisor.h"

enum { POST_SECONDS_MAX = 60 };

struct post {
    CURL              *curl;
    struct curl_slist *headers;
    const char        *url; /* borrowed */
};

int post_url(const struct command_args *args, char *to, size_t room, struct err *err)
{
    const char *given = args_text(args, "--url");
    char        base[LISTEN_URL_BYTES];

    if (given != NULL)
        (void)snprintf(base, sizeof base, "%.*s",
                       (int)(strlen(given) - (strlen(given) > 0 && given[strlen(given) - 1] == '/')), given);
    else if (!supervisor_url(args_data(args), base, sizeof base))
        return err_set(err, ERR_RETRY, "no server runs on %.200s, or it listens for proxies alone; start one (penstock serve), "
                       "or name one with --url",
                       args_data(args));
    /* /batch takes every form: one event, an array, an object with "batch". */
    if (given == NULL && strncmp(base, "https:", 6) == 0)
        (void)snprintf(to, room, "own:%s/batch/", base);
    else
        (void)snprintf(to, room, strncmp(base, "unix:", 5) == 0 ? "%s http://localhost/batch/" : "%s/batch/", base);
    return 0;
}

static size_t answer_piece(char *piece, size_t one, size_t bytes, void *ctx)
{
    struct buf *answer = ctx;

    (void)one;
    buf_add(answer, span_of(piece, bytes));
    return answer->failed ? 0 : bytes;
}

int post_open(const char *url, struct post **out, struct err *err)
{
    struct post *post = calloc(1, sizeof *post);
    bool         own;

    if (post == NULL)
        return err_set(err, ERR_FULL, "no memory");
    own = strncmp(url, "own:", 4) == 0;
    url += own ? 4 : 0;
    post->url = url;
    post->curl = curl_easy_init();
    post->headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (post->curl == NULL || post->headers == NULL) {
        post_close(post);
        return err_set(err, ERR_FULL, "no memory");
    }
    if (strncmp(url, "unix:", 5) == 0) {
        char path[LISTEN_URL_BYTES];

        (void)snprintf(path, sizeof path, "%.*s", (int)strcspn(url + 5, " "), url + 5);
        curl_easy_setopt(post->curl, CURLOPT_UNIX_SOCKET_PATH, path);
        curl_easy_setopt(post->curl, CURLOPT_URL, url + 5 + strcspn(url + 5, " ") + 1);
    } else {
        curl_easy_setopt(post->curl, CURLOPT_URL, url);
    }
    if (own) { /* its certificate is for the names that SDKs call it by */
        curl_easy_setopt(post->curl, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(post->curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    curl_easy_setopt(post->curl, CURLOPT_HTTPHEADER, post->headers);
    curl_easy_setopt(post->curl, CURLOPT_USERAGENT, "penstock-send/" PENSTOCK_VERSION);
    curl_easy_setopt(post->curl, CURLOPT_TIMEOUT, (long)POST_SECONDS_MAX);
    curl_easy_setopt(post->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(post->curl, CURLOPT_WRITEFUNCTION, answer_piece);
    *out = post;
    return 0;
}

void post_close(struct post *post)
{
    if (post == NULL)
        return;
    curl_slist_free_all(post->headers);
    curl_easy_cleanup(post->curl);
    free(post);
}

int post_body(struct post *post, struct span body, struct buf *answer, long *status_out, struct err *err)
{
    CURLcode rc;

    curl_easy_setopt(post->curl, CURLOPT_POSTFIELDS, (const char *)body.at);
    curl_easy_setopt(post->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.bytes);
    curl_easy_setopt(post->curl, CURLOPT_WRITEDATA, answer);
    rc = curl_easy_perform(post->curl);
    if (rc != CURLE_OK)
        return err_set(err, ERR_RETRY, "%.150s: %s; is it running? Try: penstock status", post->url,
                       curl_easy_strerror(rc));
    curl_easy_getinfo(post->curl, CURLINFO_RESPONSE_CODE, status_out);
    return 0;
}
