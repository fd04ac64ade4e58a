/* base/option.c - text to options, by the table in base/role.h; and its few words more. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/role.h"

struct unit { const char *name; int64_t factor; };

static const struct unit units_bytes[] = { { "B", 1 }, { "KiB", 1 << 10 }, { "MiB", 1 << 20 }, { "GiB", 1 << 30 },
                                           { "TiB", (int64_t)1 << 40 }, { NULL, 0 } };
static const struct unit units_time[] = { { "us", 1 }, { "ms", 1000 }, { "s", 1000000 }, { "m", 60000000 },
                                          { "h", (int64_t)3600 * 1000000 }, { "d", (int64_t)86400 * 1000000 },
                                          { NULL, 0 } };

/* Digits, then a unit (none: 1, only where that is clear). */
static bool number_read(const char *text, const struct unit *units, bool unit_needed, int64_t *out)
{
    char     *end;
    long long value;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    value = strtoll(text, &end, 10);
    if (errno != 0)
        return false;
    if (*end == '\0') {
        *out = value;
        return !unit_needed || value == 0;
    }
    for (; units != NULL && units->name != NULL; units++)
        if (strcmp(end, units->name) == 0)
            return !__builtin_mul_overflow(value, units->factor, out);
    return false;
}

/* The number as a person would write it, for limits in messages. */
static void number_write(enum option_type type, int64_t value, char *to, size_t room)
{
    const struct unit *units = type == OPTION_BYTES ? units_bytes : type == OPTION_DURATION ? units_time : NULL;
    const struct unit *best = NULL;

    for (; units != NULL && units->name != NULL; units++)
        if (value % units->factor == 0 && value >= units->factor)
            best = units;
    if (best != NULL)
        (void)snprintf(to, room, "%" PRId64 "%s", value / best->factor, best->name);
    else
        (void)snprintf(to, room, "%" PRId64, value);
}

static int number_set(const struct option *option, int64_t *to, const char *text, struct err *err)
{
    static const char *const shapes[] = {
        [OPTION_COUNT] = "a whole number such as 4",
        [OPTION_BYTES] = "a size such as 512KiB, 20MiB or 1GiB",
        [OPTION_DURATION] = "a time such as 500ms, 10s, 5m, 12h or 7d",
    };
    const struct unit *units = option->type == OPTION_BYTES ? units_bytes
                               : option->type == OPTION_DURATION ? units_time : NULL;
    char    low[40], high[40];
    int64_t value;

    if (!number_read(text, units, option->type == OPTION_DURATION, &value))
        return err_set(err, ERR_INPUT, "%s is \"%.60s\"; it takes %s", option->name, text, shapes[option->type]);
    number_write(option->type, option->min, low, sizeof low);
    number_write(option->type, option->max, high, sizeof high);
    if (value < option->min || value > option->max)
        return err_set(err, ERR_INPUT, "%s is %.60s; it must be from %s to %s", option->name, text, low, high);
    *to = value;
    return 0;
}

int option_set(const struct option *option, void *to, const char *text, struct err *err)
{
    void *at = (char *)to + option->at;

    switch (option->type) {
    case OPTION_TEXT: case OPTION_LIST:
        if (option->check != NULL && option->check(text, err) < 0)
            return err_wrap(err, option->name);
        *(const char **)at = text;
        return 0;
    case OPTION_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0 && strcmp(text, "on") != 0 && strcmp(text, "off") != 0)
            return err_set(err, ERR_INPUT, "%s is \"%.60s\"; it takes true or false", option->name, text);
        *(bool *)at = text[0] == 't' || strcmp(text, "on") == 0;
        return 0;
    case OPTION_COUNT: case OPTION_BYTES: case OPTION_DURATION:
        return number_set(option, at, text, err);
    }
    return err_set(err, ERR_INPUT, "%s has no type", option->name);
}

void role_tell(const struct role_env *env, char what)
{
    if (env->own_process && env->ready_fd >= 0 && write(env->ready_fd, &what, 1) < 0)
        return; /* nobody waits any more */
}

void option_defaults(const struct option *options, void *to)
{
    for (; options->name != NULL; options++) {
        struct err err = { .kind = ERR_NONE };

        if (option_set(options, to, options->def, &err) < 0) {
            fprintf(stderr, "the default of option %s does not fit its own table: %s\n", options->name, err.text);
            abort();
        }
    }
}
