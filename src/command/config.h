/* command/config.h - the configuration: the roles' option tables, a YAML file over them, flags over it.
 *
 * Strict: an unknown key, a wrong type, a value out of its limits, a key that stands twice, an anchor are
 * errors with file, line, column, the limits and the nearest right name; there is no other way to be
 * wrong and go on. Everything has a default, and no file is needed.
 *
 *     listen: 127.0.0.1:8000       # or several: [127.0.0.1:8000, "unix:/run/penstock/capture.sock"]
 *     capture:
 *       body_bytes_max: 20MiB      # or, on one line: `capture.body_bytes_max: 20MiB`
 *
 *  F1  after config_load every role's options are complete and inside their limits
 *  F2  a value's text lives as long as the config (options of type TEXT point to it)
 * One thread; filled once, then read. */
#ifndef PENSTOCK_COMMAND_CONFIG_H
#define PENSTOCK_COMMAND_CONFIG_H

#include "base/role.h"
#include "command/roles.h"

enum {
    CONFIG_KEYS_MAX = 256,
    CONFIG_FILE_BYTES_MAX = 1 << 20, /* docs/limits.md */
    CONFIG_VALUE_BYTES_MAX = 4096,
    CONFIG_SOURCE_BYTES_MAX = 300
};

/* A key that can be set: `capture.body_bytes_max`, or a top-level one (role NULL). */
struct config_value {
    const struct role   *role;
    const struct option *option;
    char                *text;   /* owned */
    char                 source[CONFIG_SOURCE_BYTES_MAX]; /* "default", "penstock.yaml:3", "PENSTOCK_PEOPLE_URL", "--listen" */
};

struct config {
    struct config_value values[CONFIG_KEYS_MAX];
    size_t              count;
    const char         *data;    /* top-level keys */
    const char         *listen;
    const char         *tls_certificate, *tls_key;
    struct stores       stores;
    void               *options[ROLES_MAX]; /* by the index of roles[] */
    bool                file_blank; /* a file was read, and not even a comment is in it */
    /* Set after config_init: is told each wrong key of a file, and the file is read to its end. NULL: the first one ends it. */
    void (*tell)(const struct err *err);
};

/* Every default. -1: no memory. */
int  config_init(struct config *config, struct err *err) must_check;
void config_fini(struct config *config);

/* ERR_INPUT: "FILE:LINE:COLUMN: what, limits, nearest name", the first of several. The file must exist. */
int config_load_file(struct config *config, const char *path, struct err *err) must_check;
/* The same from text; name stands for the file in messages. */
int config_load_text(struct config *config, const char *name, const char *text, size_t bytes, struct err *err) must_check;
/* One key from a flag or a test. source is what `config show` says about it. */
int config_set(struct config *config, const char *key, const char *text, const char *source, struct err *err) must_check;

/* What must hold between keys, once all of them are set. ERR_INPUT. */
int config_check(const struct config *config, struct err *err) must_check;

/* NULL: no such key. */
const struct config_value *config_find(const struct config *config, const char *key);
/* The key as it is written in a file, into to. */
void config_key(const struct config_value *value, char *to, size_t room);
/* The key nearest to a wrong one, or NULL; valid until the next call. */
const char *config_nearest(const struct config *config, const char *key);
/* "a size from 1KiB to 1GiB": what a value may be. */
void config_limits(const struct option *option, char *to, size_t room);

/* A value as it may be shown: without the password that a URL may hold. */
void config_shown(const struct config_value *value, char to[CONFIG_VALUE_BYTES_MAX]);

/* The way of all commands that read the configuration: --config FILE, or DIR/penstock.yaml when it is
 * there, then --listen and --data; checked as a whole. */
struct command_args;
int config_of_args(struct config *config, const struct command_args *args, struct err *err) must_check;
/* The same for commands that look at a server: without --config the file that it was started with (DIR/run/config) goes first. */
int config_of_server(struct config *config, const struct command_args *args, struct err *err) must_check;

#endif
