/* command/config_command.c - penstock config check | show | explain: what can be set, and what is. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command/command.h"
#include "command/config.h"
#include "command/listen.h"
#include "command/supervisor_inner.h"
#include "wire/json.h"

static struct config config; /* large; one command a process */

static unsigned wrong_keys;

static void wrong_key_print(const struct err *err)
{
    wrong_keys++;
    fprintf(stderr, "penstock: %s\n", err->text);
}

static bool wrong_print(int rc, const struct err *err)
{
    if (rc < 0)
        fprintf(stderr, "penstock: %s\n", err->text);
    return rc < 0;
}

/* The certificates of addresses that say tls, as a start looks at them. */
static int tls_check(struct err *err)
{
    struct listen_address *addresses = calloc(LISTEN_MAX, sizeof *addresses);
    struct tls_files      *tls = NULL;
    size_t                 count;
    int                    rc;

    if (addresses == NULL)
        return err_set(err, ERR_FULL, "no memory for the configuration");
    rc = listen_read(config.listen, addresses, &count, err) < 0 ? -1 : supervisor_tls(&config, addresses, count, &tls, err);
    tls_files_free(tls);
    free(addresses);
    return rc;
}

/* Where everything will be kept; what is not there yet will be made. */
static int data_folder_check(struct err *err)
{
    size_t      end = strlen(config.data);
    char        above[4096];
    struct stat found;

    if (stat(config.data, &found) == 0 && !S_ISDIR(found.st_mode))
        return err_set(err, ERR_INPUT, "%.200s (data) is no folder", config.data);
    if (access(config.data, W_OK | X_OK) == 0)
        return 0;
    if (errno != ENOENT)
        return err_set(err, ERR_INPUT, "the folder %.200s (data) cannot be written by user %d: %s", config.data, (int)geteuid(), strerror(errno));
    while (end > 1 && config.data[end - 1] == '/') /* DIR/ is DIR */
        end--;
    while (end > 0 && config.data[end - 1] != '/')
        end--;
    (void)snprintf(above, sizeof above, "%.*s", end == 0 ? 1 : (int)end, end == 0 ? "." : config.data);
    if (access(above, W_OK | X_OK) == 0)
        return 0;
    return err_set(err, ERR_INPUT, "the folder %.200s (data) cannot be made by user %d: %.100s: %s", config.data, (int)geteuid(), above, strerror(errno));
}

/* What the file names, each told: on the machine and as the user that will serve. */
static bool named_are_wrong(void)
{
    struct err err = { .kind = ERR_NONE };
    bool       wrong = wrong_print(tls_check(&err), &err);

    return wrong_print(data_folder_check(&err), &err) || wrong;
}

int config_check_run(const struct command_args *args)
{
    struct err err = { .kind = ERR_NONE };
    int        code = EXIT_DONE;

    if (config_init(&config, &err) < 0) {
        config_fini(&config);
        return command_failed(&err);
    }
    config.tell = wrong_key_print;
    if (config_load_file(&config, args_at(args, 0), &err) < 0 || config_check(&config, &err) < 0) {
        code = wrong_keys > 0 ? EXIT_USAGE : command_failed(&err);
    } else if (named_are_wrong()) {
        code = EXIT_USAGE;
    } else {
        size_t set = 0;

        for (size_t i = 0; i < config.count; i++)
            set += strcmp(config.values[i].source, "default") != 0;
        fprintf(stderr, "%s: fine; %zu of %zu keys are set\n", args_at(args, 0), set, config.count);
    }
    config_fini(&config);
    return code;
}

static void value_print_json(struct buf *out, const struct config_value *value)
{
    char key[200], limits[160], shown[CONFIG_VALUE_BYTES_MAX];

    config_key(value, key, sizeof key);
    config_limits(value->option, limits, sizeof limits);
    config_shown(value, shown);
    buf_add_text(out, "{\"key\":");
    json_write_string(out, span_text(key));
    buf_add_text(out, ",\"value\":");
    json_write_string(out, span_text(shown));
    buf_add_text(out, ",\"source\":");
    json_write_string(out, span_text(value->source));
    buf_add_text(out, ",\"default\":");
    json_write_string(out, span_text(value->option->def));
    buf_add_text(out, ",\"takes\":");
    json_write_string(out, span_text(limits));
    buf_add_text(out, ",\"help\":");
    json_write_string(out, span_text(value->option->help));
    buf_add_text(out, "}");
}

/* A text as a YAML value: quoted when it would not be read back as itself. */
static void value_print_yaml(const char *text)
{
    bool plain = text[0] != '\0' && strpbrk(text, "#'\"\\{}[],&*!|>%@`\n\t ") == NULL && strstr(text, ": ") == NULL &&
                 text[strlen(text) - 1] != ':' && strchr("-?:", text[0]) == NULL;
    struct buf quoted;

    if (plain) {
        printf("%s", text);
        return;
    }
    buf_init(&quoted, 6 * strlen(text) + 2);
    json_write_string(&quoted, span_text(text)); /* YAML reads it as JSON does */
    (void)fwrite(quoted.at, 1, quoted.bytes, stdout);
    buf_fini(&quoted);
}

int config_show_run(const struct command_args *args)
{
    struct err err = { .kind = ERR_NONE };
    struct buf out;
    bool       json = args_has(args, "--json");

    if (config_of_server(&config, args, &err) < 0) {
        config_fini(&config);
        return command_failed(&err);
    }
    buf_init(&out, 4 << 20);
    buf_add_text(&out, "[");
    for (size_t i = 0; i < config.count; i++) {
        char key[200], shown[CONFIG_VALUE_BYTES_MAX];

        config_key(&config.values[i], key, sizeof key);
        config_shown(&config.values[i], shown);
        buf_add_text(&out, i > 0 ? ",\n " : "");
        if (json) {
            value_print_json(&out, &config.values[i]);
            continue;
        }
        printf("%s: ", key);
        value_print_yaml(shown);
        printf("  # %s\n", config.values[i].source);
    }
    buf_add_text(&out, "]\n");
    if (json)
        (void)fwrite(out.at, 1, out.bytes, stdout);
    buf_fini(&out);
    config_fini(&config);
    return EXIT_DONE;
}

static void value_explain(const struct config_value *value)
{
    char key[200], limits[160];

    config_key(value, key, sizeof key);
    config_limits(value->option, limits, sizeof limits);
    printf("%s\n  %s\n  takes    %s\n  default  %s\n", key, value->option->help, limits,
           value->option->def[0] != '\0' ? value->option->def : "(empty)");
}

/* The page docs/config.md, of which this is the only source. */
static void page_print(void)
{
    printf("# Configuration\n\nEverything has a default; no file is needed. Settings are read from `DIR/penstock.yaml` "
           "(or `--config FILE`), strict YAML:\nan unknown key, a wrong type or a value out of its limits is an error "
           "with file, line and column.\n\n```yaml\nlisten: 0.0.0.0:8000\ncapture:\n  body_bytes_max: 20MiB\n```\n\n"
           "`penstock config check FILE` reads a file, `config show` tells every value and where it came from, "
           "`config explain KEY` one key. Each key of log, people, warehouse and catalog may also stand in the environment, which goes\n"
           "over the file: `PENSTOCK_PEOPLE_URL` is `people.url` ([cluster.md](cluster.md)).\n"
           "This page is written by `penstock config explain --page` from the tables "
           "that the program itself uses.\n\n| key | takes | default | what it does |\n|---|---|---|---|\n");
    for (size_t i = 0; i < config.count; i++) {
        char key[200], limits[160];

        config_key(&config.values[i], key, sizeof key);
        config_limits(config.values[i].option, limits, sizeof limits);
        printf("| `%s` | %s | %s%s%s | %s |\n", key, limits, config.values[i].option->def[0] != '\0' ? "`" : "",
               config.values[i].option->def[0] != '\0' ? config.values[i].option->def : "empty",
               config.values[i].option->def[0] != '\0' ? "`" : "", config.values[i].option->help);
    }
}

/* Whether this key is one of `capture`, of `log`, ... */
static bool value_below(const struct config_value *value, const char *group)
{
    char   key[200];
    size_t bytes = strlen(group);

    config_key(value, key, sizeof key);
    return strncmp(key, group, bytes) == 0 && key[bytes] == '.';
}

int config_explain_run(const struct command_args *args)
{
    struct err                 err = { .kind = ERR_NONE };
    const char                *key = args_at(args, 0);
    bool                       found = false;
    int                        code = EXIT_DONE;

    if (config_init(&config, &err) < 0)
        return command_failed(&err);
    if (args_has(args, "--page")) {
        page_print();
    } else if (key == NULL || config_find(&config, key) == NULL) {
        for (size_t i = 0; i < config.count; i++)
            if (key == NULL || value_below(&config.values[i], key)) {
                if (found)
                    printf("\n");
                value_explain(&config.values[i]);
                found = true;
            }
    } else {
        value_explain(config_find(&config, key));
        found = true;
    }
    if (!found && !args_has(args, "--page")) {
        const char *near = config_nearest(&config, key);

        code = near != NULL ? args_wrong(args, "there is no key \"%s\"; did you mean \"%s\"?", key, near)
                            : args_wrong(args, "there is no key \"%s\"", key);
    }
    config_fini(&config);
    return code;
}
