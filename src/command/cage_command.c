/* command/cage_command.c - penstock cage: tries on this machine what capture must not be able to do. */
#include <stdio.h>

#include "base/cage.h"
#include "capture/cage_drill.h"
#include "command/command.h"
#include "command/config.h"
#include "wire/json.h"

struct drill {
    bool     json;
    unsigned count, bad;
};

static void drill_print(void *ctx, const struct cage_drill_result *result)
{
    struct drill *drill = ctx;
    struct buf    out;

    drill->bad += !result->good;
    if (drill->json) {
        buf_init(&out, 1 << 14);
        buf_add_format(&out, "%s{\"verdict\":\"%s\",\"what\":", drill->count++ == 0 ? "[" : ",\n ", result->good ? "ok" : "fail");
        json_write_string(&out, span_text(result->what));
        buf_add_text(&out, ",\"how\":");
        json_write_string(&out, span_text(result->how));
        buf_add_byte(&out, '}');
        command_print(&out);
        return;
    }
    printf("%-5s %-52s %s\n", result->good ? "ok" : "fail", result->what, result->how);
}

int cage_run(const struct command_args *args)
{
    static struct config       config;
    const struct config_value *user;
    const char                *why;
    struct err                 err = { .kind = ERR_NONE };
    struct drill               drill = { .json = args_has(args, "--json") };
    int                        code;

    if (config_of_server(&config, args, &err) < 0) {
        code = command_failed(&err);
    } else if (!cage_possible(&why)) {
        fprintf(stderr, "penstock: there is no cage here: %s\n", why);
        code = EXIT_FAILED;
    } else {
        user = config_find(&config, "capture.user");
        if (cage_drill_run(user != NULL ? user->text : "", drill_print, &drill, &err) < 0)
            code = command_failed(&err);
        else
            code = drill.bad > 0 ? EXIT_FAILED : EXIT_DONE;
        if (drill.json)
            printf("%s]\n", drill.count == 0 ? "[" : "");
        if (cage_landlock_version() == 0)
            fprintf(stderr, "penstock: this kernel has no Landlock: files are not kept from capture\n");
    }
    config_fini(&config);
    return code;
}
