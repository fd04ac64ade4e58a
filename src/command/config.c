/* command/config.c - the configuration, read by libfyaml, checked by the roles' own tables.
 *
 * Why YAML through libfyaml: it is YAML 1.2 (no `no` that means false), and each token knows its line and
 * column. Values are taken as the text that stands there and read by option_set, so a file, a flag and a
 * default mean the same. Aliases and anchors are refused: a file of settings is read by people at night. */
#include "command/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libfyaml.h>

#include "command/command.h"
#include "command/config_stores.h"
#include "command/listen.h"
#include "command/tls_files.h"

/* The settings of Penstock as a whole. */
static const struct option top_options[] = {
    { "data", OPTION_TEXT, "penstock-data", 0, 0, "the folder that holds everything: log, people, warehouse, catalog",
      offsetof(struct config, data) },
    { "listen", OPTION_LIST, "127.0.0.1:8000", 0, 0,
      "addresses that SDKs send to, one or several: HOST:PORT (0.0.0.0:8000 for every network, [::]:8000 for IPv6 too), "
      "behind it tls, and proxy where PROXY headers come; or a socket unix:/PATH, behind it mode=0660, proxy",
      offsetof(struct config, listen), listen_check },
    { "tls.certificate", OPTION_LIST, "", 0, 0,
      "for addresses that say tls: files with a certificate and its chain (PEM); of several, the name that a client asks "
      "for chooses", offsetof(struct config, tls_certificate), tls_files_list_check },
    { "tls.key", OPTION_LIST, "", 0, 0, "the private keys of these certificates, in the same order; not open to every user",
      offsetof(struct config, tls_key), tls_files_list_check },
    { NULL, OPTION_TEXT, NULL, 0, 0, NULL, 0 },
};

void config_key(const struct config_value *value, char *to, size_t room)
{
    (void)snprintf(to, room, "%s%s%s", value->role != NULL ? value->role->name : "", value->role != NULL ? "." : "",
                   value->option->name);
}

static struct config_value *value_find(struct config *config, const char *key)
{
    char name[200];

    for (size_t i = 0; i < config->count; i++) {
        config_key(&config->values[i], name, sizeof name);
        if (strcmp(name, key) == 0)
            return &config->values[i];
    }
    return NULL;
}

const struct config_value *config_find(const struct config *config, const char *key)
{
    return value_find((struct config *)config, key);
}

const char *config_nearest(const struct config *config, const char *key)
{
    static char names[CONFIG_KEYS_MAX][120];
    const char *pointers[CONFIG_KEYS_MAX + 1];

    for (size_t i = 0; i < config->count; i++) {
        config_key(&config->values[i], names[i], sizeof names[i]);
        pointers[i] = names[i];
    }
    pointers[config->count] = NULL;
    return nearest_word(key, pointers);
}

static void number_text(enum option_type type, int64_t value, char *to, size_t room)
{
    static const struct { int64_t factor; const char *name; } bytes[] = {
        { (int64_t)1 << 40, "TiB" }, { 1 << 30, "GiB" }, { 1 << 20, "MiB" }, { 1 << 10, "KiB" }, { 1, "B" } };
    static const struct { int64_t factor; const char *name; } times[] = {
        { (int64_t)86400 * 1000000, "d" }, { (int64_t)3600 * 1000000, "h" }, { 60000000, "m" }, { 1000000, "s" },
        { 1000, "ms" }, { 1, "us" } };

    (void)snprintf(to, room, "%" PRId64, value);
    if (type == OPTION_BYTES) {
        for (size_t i = 0; i < sizeof bytes / sizeof *bytes && value > 0; i++)
            if (value % bytes[i].factor == 0) {
                (void)snprintf(to, room, "%" PRId64 "%s", value / bytes[i].factor, bytes[i].name);
                return;
            }
    } else if (type == OPTION_DURATION) {
        for (size_t i = 0; i < sizeof times / sizeof *times && value > 0; i++)
            if (value % times[i].factor == 0) {
                (void)snprintf(to, room, "%" PRId64 "%s", value / times[i].factor, times[i].name);
                return;
            }
    }
}

void config_limits(const struct option *option, char *to, size_t room)
{
    static const char *const what[] = { [OPTION_TEXT] = "text", [OPTION_COUNT] = "a whole number",
                                        [OPTION_BYTES] = "a size", [OPTION_DURATION] = "a time",
                                        [OPTION_BOOL] = "true or false",
                                        [OPTION_LIST] = "a text, or a list of texts" };
    char low[40], high[40];

    (void)snprintf(to, room, "%s", what[option->type]);
    if (option->type == OPTION_TEXT || option->type == OPTION_BOOL || option->type == OPTION_LIST)
        return;
    number_text(option->type, option->min, low, sizeof low);
    number_text(option->type, option->max, high, sizeof high);
    if (option->max == INT64_MAX)
        (void)snprintf(to, room, "%s, %s or more", what[option->type], low);
    else
        (void)snprintf(to, room, "%s from %s to %s", what[option->type], low, high);
}

/* --- setting ----------------------------------------------------------------------------------- */

static void *value_target(struct config *config, const struct config_value *value)
{
    for (size_t i = 0; i < role_count; i++)
        if (value->role == roles[i])
            return config->options[i];
    return config;
}

static int value_set(struct config *config, struct config_value *value, const char *text, const char *source,
                     struct err *err)
{
    char *copy = strdup(text);

    if (copy == NULL)
        return err_set(err, ERR_FULL, "no memory for the configuration");
    if (option_set(value->option, value_target(config, value), copy, err) < 0) {
        free(copy);
        return -1;
    }
    free(value->text);
    value->text = copy;
    (void)snprintf(value->source, sizeof value->source, "%s", source);
    return 0;
}

static int key_unknown(const struct config *config, const char *key, struct err *err)
{
    const char *near = config_nearest(config, key);

    if (near != NULL)
        return err_set(err, ERR_INPUT, "there is no key \"%.60s\"; did you mean \"%s\"?", key, near);
    return err_set(err, ERR_INPUT, "there is no key \"%.60s\"; `penstock config show` lists all of them", key);
}

int config_set(struct config *config, const char *key, const char *text, const char *source, struct err *err)
{
    struct config_value *value = value_find(config, key);

    if (value == NULL)
        return key_unknown(config, key, err);
    return value_set(config, value, text, source, err);
}

static int table_add(struct config *config, const struct role *role, const struct option *options, struct err *err)
{
    for (; options->name != NULL; options++) {
        struct config_value *value = &config->values[config->count];

        if (config->count == CONFIG_KEYS_MAX)
            return err_set(err, ERR_STOP, "more than %d options", CONFIG_KEYS_MAX);
        *value = (struct config_value){ .role = role, .option = options };
        config->count++;
        if (value_set(config, value, options->def, "default", err) < 0)
            return -1;
    }
    return 0;
}

int config_init(struct config *config, struct err *err)
{
    *config = (struct config){ .count = 0 };
    if (table_add(config, NULL, top_options, err) < 0 || table_add(config, NULL, store_options, err) < 0)
        return -1;
    for (size_t i = 0; i < role_count; i++) {
        config->options[i] = calloc(1, roles[i]->options_bytes + 1);
        if (config->options[i] == NULL)
            return err_set(err, ERR_FULL, "no memory for the configuration");
        if (table_add(config, roles[i], roles[i]->options, err) < 0)
            return err_wrap(err, roles[i]->name);
    }
    return 0;
}

void config_fini(struct config *config)
{
    for (size_t i = 0; i < config->count; i++)
        free(config->values[i].text);
    for (size_t i = 0; i < ROLES_MAX; i++)
        free(config->options[i]);
    *config = (struct config){ .count = 0 };
}

int config_check(const struct config *config, struct err *err)
{
    return config_stores_check(config, err);
}

void config_shown(const struct config_value *value, char to[CONFIG_VALUE_BYTES_MAX])
{
    char url[URL_SHOWN_BYTES];

    (void)snprintf(to, CONFIG_VALUE_BYTES_MAX, "%s", value->text);
    if (config_store_key(value) && strstr(value->text, "://") != NULL) {
        url_shown(value->text, url);
        (void)snprintf(to, CONFIG_VALUE_BYTES_MAX, "%s", url);
    }
}

/* --- the file ---------------------------------------------------------------------------------- */

struct config_file { struct config *config; const char *name; unsigned wrong; struct err first; };

/* What follows a wrong key: the end, or the next key when somebody wants to know all of them. */
static int file_wrong(struct config_file *file, const struct err *err)
{
    if (file->wrong++ == 0)
        file->first = *err;
    if (file->config->tell == NULL)
        return -1;
    file->config->tell(err);
    return 0;
}

/* The first word in a value: it knows where it stands. */
static const struct fy_mark *value_mark(struct fy_node *node)
{
    struct fy_token *token;

    if (fy_node_get_type(node) == FYNT_SEQUENCE && fy_node_sequence_item_count(node) > 0)
        node = fy_node_sequence_get_by_index(node, 0);
    token = fy_node_get_scalar_token(node);
    return token != NULL ? fy_token_start_mark(token) : NULL;
}

static int at_node(struct config_file *file, struct fy_node *node, struct err *err)
{
    const struct fy_mark *mark = node != NULL ? value_mark(node) : NULL;
    struct err            plain = *err;

    if (mark == NULL)
        return err_wrap(err, file->name);
    return err_set(err, ERR_INPUT, "%s:%d:%d: %s", file->name, mark->line + 1, mark->column + 1, plain.text);
}

/* One value, or of a LIST several, joined by commas, into `to`. False: the node is none of these. */
static bool value_read(const struct option *option, struct fy_node *node, struct buf *to)
{
    struct fy_node *item;
    void           *at = NULL;
    const char     *text;
    size_t          bytes;

    if (node == NULL || fy_node_is_alias(node))
        return false;
    if (option->type == OPTION_LIST && fy_node_get_type(node) == FYNT_SEQUENCE) {
        while ((item = fy_node_sequence_iterate(node, &at)) != NULL) {
            if (fy_node_get_type(item) != FYNT_SCALAR || fy_node_is_alias(item))
                return false;
            text = fy_node_get_scalar(item, &bytes);
            if (text == NULL || bytes == 0 || memchr(text, ',', bytes) != NULL)
                return false;
            buf_add_text(to, to->bytes > 0 ? ", " : "");
            buf_add(to, span_of(text, bytes));
        }
        return true;
    }
    if (fy_node_get_type(node) != FYNT_SCALAR || (text = fy_node_get_scalar(node, &bytes)) == NULL ||
        (bytes == 0 && fy_node_get_style(node) == FYNS_PLAIN))
        return false;
    buf_add(to, span_of(text, bytes));
    return true;
}

static int file_value(struct config_file *file, const char *key, struct fy_node *key_node, struct fy_node *node,
                      struct err *err)
{
    struct config_value  *value = value_find(file->config, key);
    const struct fy_mark *mark;
    char                  source[CONFIG_SOURCE_BYTES_MAX], limits[120];
    struct buf            text;
    int                   rc = -1;

    if (value == NULL) {
        (void)key_unknown(file->config, key, err);
        return at_node(file, key_node, err);
    }
    config_limits(value->option, limits, sizeof limits);
    buf_init(&text, CONFIG_VALUE_BYTES_MAX);
    if (!value_read(value->option, node, &text)) {
        (void)err_set(err, ERR_INPUT, "%s takes one value: %s", key, limits);
        rc = at_node(file, key_node, err);
        goto done;
    }
    buf_add_byte(&text, '\0');
    if (text.failed || memchr(text.at, '\0', text.bytes - 1) != NULL) {
        (void)err_set(err, ERR_INPUT, "%s: at most %d bytes, none of them NUL", key, CONFIG_VALUE_BYTES_MAX - 1);
        rc = at_node(file, node, err);
        goto done;
    }
    mark = value_mark(node);
    (void)snprintf(source, sizeof source, "%s:%d", file->name, mark != NULL ? mark->line + 1 : 0);
    rc = value_set(file->config, value, (const char *)text.at, source, err);
    if (rc < 0)
        rc = at_node(file, node, err);
done:
    buf_fini(&text);
    return rc;
}

static const char *group_first(const struct option *options, const char *word)
{
    size_t bytes = strlen(word);

    for (; options->name != NULL; options++)
        if (strncmp(options->name, word, bytes) == 0 && options->name[bytes] == '.')
            return options->name + bytes + 1;
    return NULL;
}

/* Whether keys may stand below this word: a role's, or the first word of a key of Penstock as a whole. Gives one of them
 * as an example; NULL: no. */
static const char *group_example(const char *word)
{
    const struct role *role = role_find(word);
    const char        *first = group_first(top_options, word);

    if (role != NULL)
        return role->options->name;
    return first != NULL ? first : group_first(store_options, word);
}

static int file_mapping(struct config_file *file, struct fy_node *mapping, const char *prefix, struct err *err)
{
    struct fy_node_pair *pair;
    void                *at = NULL;

    while ((pair = fy_node_mapping_iterate(mapping, &at)) != NULL) {
        struct fy_node *key_node = fy_node_pair_key(pair), *node = fy_node_pair_value(pair);
        const char     *text = NULL;
        size_t          bytes = 0;
        char            key[200];

        if (key_node != NULL && fy_node_get_type(key_node) == FYNT_SCALAR && !fy_node_is_alias(key_node))
            text = fy_node_get_scalar(key_node, &bytes);
        if (text == NULL || bytes == 0 || bytes > 100) {
            (void)err_set(err, ERR_INPUT, "a key must be a plain word of at most 100 bytes");
            (void)at_node(file, key_node, err);
            if (file_wrong(file, err) < 0)
                return -1;
            continue;
        }
        (void)snprintf(key, sizeof key, "%s%s%.*s", prefix, prefix[0] != '\0' ? "." : "", (int)bytes, text);
        if (prefix[0] == '\0' && group_example(key) != NULL && node != NULL && fy_node_get_type(node) == FYNT_MAPPING) {
            if (file_mapping(file, node, key, err) < 0)
                return -1;
        } else if (prefix[0] == '\0' && group_example(key) != NULL) {
            if (node != NULL && (fy_node_get_type(node) != FYNT_SCALAR || fy_node_is_alias(node))) {
                (void)err_set(err, ERR_INPUT, "%s takes keys below it, such as `%s.%s: ...`", key, key,
                              group_example(key));
                (void)at_node(file, key_node, err);
                if (file_wrong(file, err) < 0)
                    return -1;
                continue;
            }
            text = node != NULL ? fy_node_get_scalar(node, &bytes) : NULL;
            if (text != NULL && bytes > 0) {
                (void)err_set(err, ERR_INPUT, "%s takes keys below it, not a value", key);
                (void)at_node(file, node, err);
                if (file_wrong(file, err) < 0)
                    return -1;
            }
        } else if (file_value(file, key, key_node, node, err) < 0 && file_wrong(file, err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* No document at all, and nothing wrong with that. */
static bool file_is_comments(const char *text)
{
    while (*text != '\0') {
        text += strspn(text, " \t\r\n");
        if (*text != '#')
            return *text == '\0';
        text += strcspn(text, "\n");
    }
    return true;
}

/* What libfyaml has to say about a text that is no YAML, or holds a key twice. */
static int file_broken(const char *name, struct fy_diag *diag, struct err *err)
{
    struct fy_diag_error *first;
    void                 *at = NULL;

    first = fy_diag_errors_iterate(diag, &at);
    if (first == NULL)
        return err_set(err, ERR_INPUT, "%s: this is no YAML", name);
    return err_set(err, ERR_INPUT, "%s:%d:%d: %.200s", name, first->line, first->column, first->msg);
}

static size_t lines_before(const char *text)
{
    size_t lines = 0;

    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    return lines;
}

static bool is_nothing(struct fy_node *root)
{
    return root == NULL || (fy_node_get_type(root) == FYNT_SCALAR && fy_node_get_scalar_length(root) == 0);
}

static int second_document(const char *name, struct fy_node *root, struct err *err)
{
    void                 *at = NULL;
    struct fy_node_pair  *pair = fy_node_get_type(root) == FYNT_MAPPING ? fy_node_mapping_iterate(root, &at) : NULL;
    const struct fy_mark *mark = value_mark(pair != NULL ? fy_node_pair_key(pair) : root);

    return err_set(err, ERR_INPUT, "%s:%d:%d: a second document begins here; what stands in it would not be read: keep one", name,
                   mark != NULL ? mark->line + 1 : 1, mark != NULL ? mark->column + 1 : 1);
}

int config_load_text(struct config *config, const char *name, const char *text, size_t bytes, struct err *err)
{
    struct fy_diag_cfg  diag_cfg;
    struct fy_parse_cfg cfg = { .flags = FYPCF_QUIET | FYPCF_DEFAULT_VERSION_1_2 };
    struct fy_parser   *parser = NULL;
    struct fy_document *document = NULL, *second = NULL;
    struct fy_node     *root;
    struct config_file  file = { .config = config, .name = name };
    int                 rc = -1;

    if (strlen(text) < bytes)
        return err_set(err, ERR_INPUT, "%s:%zu: a NUL byte: what stands behind it would not be read; take it out", name, lines_before(text) + 1);
    config->file_blank = text[strspn(text, " \t\r\n")] == '\0';
    if (file_is_comments(text))
        return 0; /* a file of defaults */
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    diag_cfg.output_fn = NULL;
    cfg.diag = fy_diag_create(&diag_cfg);
    if (cfg.diag == NULL)
        return err_set(err, ERR_FULL, "no memory for the configuration");
    fy_diag_set_collect_errors(cfg.diag, true);
    parser = fy_parser_create(&cfg);
    if (parser != NULL && fy_parser_set_string(parser, text, bytes) == 0)
        document = fy_parse_load_document(parser);
    second = document != NULL ? fy_parse_load_document(parser) : NULL;
    root = document != NULL ? fy_document_root(document) : NULL;
    if (document == NULL || (second == NULL && fy_diag_got_error(cfg.diag)))
        (void)file_broken(name, cfg.diag, err);
    else if (second != NULL && !is_nothing(fy_document_root(second)))
        (void)second_document(name, fy_document_root(second), err);
    else if (is_nothing(root))
        rc = 0; /* comments only */
    else if (fy_node_get_type(root) != FYNT_MAPPING)
        (void)err_set(err, ERR_INPUT, "%s:1:1: the file must hold `key: value` lines", name);
    else
        rc = file_mapping(&file, root, "", err);
    if (file.wrong > 0) {
        *err = file.first;
        rc = -1;
    }
    if (parser != NULL) {
        fy_parse_document_destroy(parser, second);
        fy_parse_document_destroy(parser, document);
        fy_parser_destroy(parser);
    }
    fy_diag_destroy(cfg.diag);
    return rc;
}

int config_load_file(struct config *config, const char *path, struct err *err)
{
    FILE  *file = fopen(path, "re");
    char  *text;
    size_t bytes;
    int    rc = -1;

    if (file == NULL)
        return err_set(err, ERR_INPUT, "cannot read the configuration %.200s: %s", path, strerror(errno));
    text = malloc(CONFIG_FILE_BYTES_MAX + 2);
    bytes = text != NULL ? fread(text, 1, CONFIG_FILE_BYTES_MAX + 1, file) : 0;
    if (text == NULL)
        (void)err_set(err, ERR_FULL, "no memory for the configuration");
    else if (ferror(file))
        (void)err_set(err, ERR_INPUT, "cannot read the configuration %.200s: %s", path, strerror(errno));
    else if (bytes > CONFIG_FILE_BYTES_MAX)
        (void)err_set(err, ERR_INPUT, "%.200s is larger than %d bytes", path, CONFIG_FILE_BYTES_MAX);
    else {
        text[bytes] = '\0';
        rc = config_load_text(config, path, text, bytes, err);
    }
    free(text);
    (void)fclose(file);
    return rc;
}

/* --listen, as often as it was given. */
static int listen_of_args(struct config *config, const struct command_args *args, struct err *err)
{
    const char *text;
    struct buf  list;
    int         rc = -1;

    buf_init(&list, CONFIG_VALUE_BYTES_MAX);
    for (size_t i = 0; (text = args_text_nth(args, "--listen", i)) != NULL; i++) {
        buf_add_text(&list, i > 0 ? ", " : "");
        buf_add_text(&list, text);
    }
    buf_add_byte(&list, '\0');
    if (list.failed)
        (void)err_set(err, ERR_INPUT, "--listen: at most %d bytes", CONFIG_VALUE_BYTES_MAX - 1);
    else
        rc = config_set(config, "listen", (const char *)list.at, "--listen", err);
    buf_fini(&list);
    return rc;
}

static int config_of(struct config *config, const struct command_args *args, bool served, struct err *err)
{
    const char *path = args_text(args, "--config");
    char        beside[4096];

    if (config_init(config, err) < 0)
        return -1;
    if (path == NULL && served && config_file_of_server(args_data(args), beside, sizeof beside))
        path = beside;
    if (path == NULL) {
        if (data_path(args_data(args), "penstock.yaml", beside, sizeof beside, err) < 0)
            return -1;
        if (access(beside, F_OK) == 0)
            path = beside;
    }
    if ((path != NULL && config_load_file(config, path, err) < 0) || config_stores_environment(config, err) < 0)
        return -1;
    if (args_has(args, "--data") && config_set(config, "data", args_text(args, "--data"), "--data", err) < 0)
        return -1;
    if (args_has(args, "--listen") && listen_of_args(config, args, err) < 0)
        return -1;
    return config_check(config, err);
}

int config_of_args(struct config *config, const struct command_args *args, struct err *err)
{
    return config_of(config, args, false, err);
}

int config_of_server(struct config *config, const struct command_args *args, struct err *err)
{
    return config_of(config, args, true, err);
}
