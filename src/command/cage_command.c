/* command/cage_command.c - penstock cage: tries on this machine what capture must not be able to do. */
#include <stdio.h>

#include "base/cage.h"
#include "capture/cage_drill.h"
#include "command/command.h"
#include "command/config.h"

static void drill_print(void *ctx, const struct cage_drill_result *result)
{
    unsigned *bad = ctx;

    *bad += !result->good;
    printf("%-5s %-52s %s\n", result->good ? "ok" : "fail", result->what, result->how);
}

int cage_run(const struct command_args *args)
{
    static struct config       config;
    const struct config_value *user;
    const char                *why;
    struct err                 err = { .kind = ERR_NONE };
    unsigned                   bad = 0;
    int                        code;

    if (config_of_server(&config, args, &err) < 0) {
        code = command_failed(&err);
    } else if (!cage_possible(&why)) {
        fprintf(stderr, "penstock: there is no cage here: %s\n", why);
        code = EXIT_FAILED;
    } else {
        user = config_find(&config, "capture.user");
        if (cage_drill_run(user != NULL ? user->text : "", drill_print, &bad, &err) < 0)
            code = command_failed(&err);
        else
            code = bad > 0 ? EXIT_FAILED : EXIT_DONE;
        if (cage_landlock_version() == 0)
            fprintf(stderr, "penstock: this kernel has no Landlock: files are not kept from capture\n");
    }
    config_fini(&config);
    return code;
}
