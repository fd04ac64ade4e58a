/* warehouse/clickhouse_http.c - one statement, one request.
 *
 * The statement stands in the address, settings beside it, data in the body. What a failure means is told by the server's
 * own code in X-ClickHouse-Exception-Code; the HTTP status says less. A request without any answer may have been carried
 * out: `answered` tells the two apart, because only a refusal is known to be over. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "warehouse/clickhouse.h"

/* A server that merges and is asked to wait may take minutes over one statement. */
enum { CONNECT_MS = 5000, ANSWER_MS = 300000, QUERY_MS = 24 * 3600 * 1000, ANSWER_BYTES_MAX = 64 << 20, SAID_BYTES_MAX = 2000 };

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_begin(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

static bool header_add(struct curl_slist **list, const char *name, const char *value)
{
    char               line[1024];
    struct curl_slist *longer;

    if (value == NULL || (value[0] == '\0' && strcmp(name, "Expect") != 0))
        return true;
    if ((size_t)snprintf(line, sizeof line, "%s: %s", name, value) >= sizeof line)
        return false;
    longer = curl_slist_append(*list, line);
    if (longer == NULL)
        return false;
    *list = longer;
    return true;
}

int clickhouse_link_init(struct clickhouse_link *link, const struct warehouse_settings *settings, const char *password,
                         const char *database, struct err *err)
{
    *link = (struct clickhouse_link){ .url = settings->url, .database = database, .tls_ca = settings->tls_ca };
    pthread_once(&curl_once, curl_begin);
    link->curl = curl_easy_init();
    for (int i = 0; i < 2; i++) {
        struct curl_slist **list = i == 0 ? &link->headers : &link->headers_packed;

        if (!header_add(list, "X-ClickHouse-User", settings->user) || !header_add(list, "X-ClickHouse-Key", password) ||
            !header_add(list, "Content-Type", "application/octet-stream") || !header_add(list, "Expect", "") ||
            (i == 1 && !header_add(list, "Content-Encoding", "lz4"))) {
            clickhouse_link_fini(link);
            return err_set(err, ERR_INPUT, "ClickHouse's user or password is too long");
        }
    }
    return link->curl != NULL ? 0 : err_set(err, ERR_FULL, "no memory for a connection to ClickHouse");
}

void clickhouse_link_fini(struct clickhouse_link *link)
{
    curl_slist_free_all(link->headers);
    curl_slist_free_all(link->headers_packed);
    curl_easy_cleanup(link->curl);
    *link = (struct clickhouse_link){ .curl = NULL };
}

void clickhouse_quote(struct buf *sql, struct span text)
{
    buf_add_byte(sql, '\'');
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.at[i] == '\'' || text.at[i] == '\\')
            buf_add_byte(sql, '\\');
        if (text.at[i] == '\0')
            buf_add_text(sql, "\\0");
        else
            buf_add_byte(sql, text.at[i]);
    }
    buf_add_byte(sql, '\'');
}

/* --- what the server said ---------------------------------------------------------------------- */

static enum err_kind kind_of(int code)
{
    switch (code) {
    case 241: /* MEMORY_LIMIT_EXCEEDED */ case 243: /* NOT_ENOUGH_SPACE */
        return ERR_FULL;
    case 6: case 26: case 27: case 33: case 38: case 41: case 53: case 69: case 70: case 72: case 117: case 131: case 321: case 349:
    case 469: /* VIOLATED_CONSTRAINT */ case 691: case 395:
        return ERR_INPUT; /* what was sent cannot be parsed, or is not taken */
    case 192: case 193: case 194: case 516: /* a new password is read when this is opened again */
    case 16: case 20: case 36: case 46: case 47: case 57: case 60: case 62: case 81: case 44: case 45:
        return ERR_STOP; /* no such table, column, function: the tables were changed */
    default:
        return ERR_RETRY;
    }
}

static const char *what_to_do(int code)
{
    switch (code) {
    case 192: case 193: case 194: case 516:
        return " (warehouse.user, warehouse.password_file)";
    case 497:
        return " (grant it to warehouse.user)";
    case 252:
        return " (it is tried again with larger batches)";
    default:
        return "";
    }
}

/* The text without its long tail, on one line. */
static int refusal(struct clickhouse_link *link, const struct buf *said, long status, struct err *err)
{
    char   text[SAID_BYTES_MAX + 1];
    size_t bytes = said->bytes < SAID_BYTES_MAX ? said->bytes : SAID_BYTES_MAX;

    if (bytes > 0)
        memcpy(text, said->at, bytes);
    text[bytes] = '\0';
    for (char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at < ' ')
            *at = ' ';
    if (link->code == 0 && sscanf(text, "Code: %d.", &link->code) != 1)
        link->code = 0;
    if (link->code == 0) {
        link->answered = status >= 400 && status < 500;
        return err_set(err, ERR_RETRY, "%s answers %ld: %.160s", link->url, status, text);
    }
    /* These two are said of statements that may still be at work, or of which it is not known. */
    link->answered = link->code != 159 && link->code != 319 && link->code != 209 && link->code != 210;
    return err_set(err, kind_of(link->code), "ClickHouse: %.200s%s", text, what_to_do(link->code));
}

/* --- a request --------------------------------------------------------------------------------- */

struct request {
    struct clickhouse_link *link;
    long                    status;
    struct buf              said;   /* of a refusal */
    struct buf             *out;    /* NULL: not wanted */
    warehouse_write        *write;  /* in out's place */
    void                   *ctx;
    struct err             *err;    /* what `write` said */
    bool                    stopped;
    const atomic_bool      *cancel;
};

static size_t on_header(char *at, size_t one, size_t bytes, void *ctx)
{
    static const char name[] = "X-ClickHouse-Exception-Code:";
    struct request   *request = ctx;
    char              value[32];

    (void)one;
    if (bytes > sizeof name && strncasecmp(at, name, sizeof name - 1) == 0) {
        size_t length = bytes - (sizeof name - 1) < sizeof value - 1 ? bytes - (sizeof name - 1) : sizeof value - 1;

        memcpy(value, at + sizeof name - 1, length);
        value[length] = '\0';
        request->link->code = (int)strtol(value, NULL, 10);
    }
    return bytes;
}

static size_t on_body(char *at, size_t one, size_t bytes, void *ctx)
{
    struct request *request = ctx;

    (void)one;
    if (request->status == 0)
        curl_easy_getinfo(request->link->curl, CURLINFO_RESPONSE_CODE, &request->status);
    if (request->status != 200) {
        buf_add(&request->said, span_of(at, bytes < SAID_BYTES_MAX ? bytes : SAID_BYTES_MAX));
        return bytes;
    }
    if (request->write != NULL) {
        request->stopped = request->write(request->ctx, span_of(at, bytes), request->err) < 0;
        return request->stopped ? 0 : bytes;
    }
    if (request->out != NULL) {
        buf_add(request->out, span_of(at, bytes));
        return request->out->failed ? 0 : bytes;
    }
    return bytes;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct request *request = ctx;

    (void)a; (void)b; (void)c; (void)d;
    return request->cancel != NULL && *request->cancel;
}

static bool add_parameter(struct buf *url, CURL *curl, const char *name, const char *value)
{
    char *escaped = curl_easy_escape(curl, value, 0);

    if (escaped == NULL)
        return false;
    buf_add_format(url, "%s=", name);
    buf_add_text(url, escaped);
    buf_add_byte(url, '&');
    curl_free(escaped);
    return true;
}

static int request_url(struct clickhouse_link *link, const char *sql, const struct clickhouse_setting *settings, struct buf *url,
                       struct err *err)
{
    bool made;

    buf_add_format(url, "%s%s?", link->url, link->url[strlen(link->url) - 1] == '/' ? "" : "/");
    made = sql == NULL || add_parameter(url, link->curl, "query", sql);
    if (link->database != NULL)
        made = made && add_parameter(url, link->curl, "database", link->database);
    for (; made && settings != NULL && settings->name != NULL; settings++)
        made = add_parameter(url, link->curl, settings->name, settings->value);
    if (url->bytes > 0)
        url->at[url->bytes - 1] = '\0';
    return made && !url->failed ? 0 : err_set(err, ERR_FULL, "no memory for a request");
}

static int perform(struct request *request, const char *sql, const struct clickhouse_setting *settings, struct span body,
                   struct err *err)
{
    struct clickhouse_link *link = request->link;
    char                    why[CURL_ERROR_SIZE] = "";
    struct buf              url;
    CURLcode                code;
    bool                    packed = body.bytes > 0;
    int                     rc = -1;

    buf_init(&url, 4 * CLICKHOUSE_SQL_BYTES_MAX);
    buf_init(&request->said, SAID_BYTES_MAX * 2);
    link->code = 0;
    link->answered = false;
    /* Without data the statement is the body: it may be long. */
    if (request_url(link, packed ? sql : NULL, settings, &url, err) < 0)
        goto out;
    if (!packed)
        body = span_text(sql);
    curl_easy_reset(link->curl);
    curl_easy_setopt(link->curl, CURLOPT_URL, (const char *)url.at);
    curl_easy_setopt(link->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    if (link->tls_ca != NULL && link->tls_ca[0] != '\0')
        curl_easy_setopt(link->curl, CURLOPT_CAINFO, link->tls_ca);
    curl_easy_setopt(link->curl, CURLOPT_HTTPHEADER, packed ? link->headers_packed : link->headers);
    curl_easy_setopt(link->curl, CURLOPT_POST, 1L);
    curl_easy_setopt(link->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.bytes);
    curl_easy_setopt(link->curl, CURLOPT_POSTFIELDS, (const char *)body.at);
    curl_easy_setopt(link->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(link->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(link->curl, CURLOPT_TIMEOUT_MS, (long)(request->write != NULL ? QUERY_MS : ANSWER_MS));
    curl_easy_setopt(link->curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(link->curl, CURLOPT_UPLOAD_BUFFERSIZE, 2L << 20); /* one copy a 2 MiB and not a 64 KiB piece */
    curl_easy_setopt(link->curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(link->curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(link->curl, CURLOPT_HEADERDATA, request);
    curl_easy_setopt(link->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(link->curl, CURLOPT_WRITEDATA, request);
    if (request->cancel != NULL) {
        curl_easy_setopt(link->curl, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(link->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(link->curl, CURLOPT_XFERINFODATA, request);
    }
    code = curl_easy_perform(link->curl);
    if (request->status == 0)
        curl_easy_getinfo(link->curl, CURLINFO_RESPONSE_CODE, &request->status);
    if (code == CURLE_ABORTED_BY_CALLBACK)
        err_set(err, ERR_RETRY, "the query was cancelled");
    else if (request->stopped)
        rc = -1; /* `write` has said why */
    else if (request->out != NULL && request->out->failed)
        err_set(err, ERR_FULL, "ClickHouse's answer is larger than %zu bytes", request->out->bytes_max);
    else if (code != CURLE_OK)
        err_set(err, ERR_RETRY, "ClickHouse at %s: %s", link->url, why[0] != '\0' ? why : curl_easy_strerror(code));
    else if (request->status != 200)
        refusal(link, &request->said, request->status, err);
    else
        rc = 0;
out:
    buf_fini(&url);
    buf_fini(&request->said);
    return rc;
}

int clickhouse_run(struct clickhouse_link *link, const char *sql, const struct clickhouse_setting *settings, struct span body,
                   struct buf *out, struct err *err)
{
    struct request request = { .link = link, .out = out, .err = err };

    return perform(&request, sql, settings, body, err);
}

int clickhouse_stream(struct clickhouse_link *link, const char *sql, const struct clickhouse_setting *settings,
                      warehouse_write *write, void *ctx, const atomic_bool *cancel, struct err *err)
{
    struct request request = { .link = link, .write = write, .ctx = ctx, .err = err, .cancel = cancel };

    return perform(&request, sql, settings, (struct span){ .bytes = 0 }, err);
}

int clickhouse_number(struct clickhouse_link *link, const char *sql, uint64_t *out, struct err *err)
{
    struct buf answer;
    int        rc;

    buf_init(&answer, ANSWER_BYTES_MAX);
    rc = clickhouse_run(link, sql, NULL, SPAN(""), &answer, err);
    buf_add_byte(&answer, '\0');
    if (rc == 0) {
        char *end;

        *out = strtoull((const char *)answer.at, &end, 10);
        if (end == (const char *)answer.at)
            rc = err_set(err, ERR_RETRY, "ClickHouse answers \"%.60s\" where a number was asked for", (const char *)answer.at);
    }
    buf_fini(&answer);
    return rc;
}
