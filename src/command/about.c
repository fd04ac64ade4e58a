/* command/about.c - penstock version, penstock completions: what this program is and which words it knows. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "command/command.h"
#include "command/roles.h"

int version_run(const struct command_args *args)
{
    struct utsname host;

    if (uname(&host) < 0)
        memset(&host, 0, sizeof host);
    if (args_has(args, "--json"))
        printf("{\"version\":\"%s\",\"compiler\":\"%s\",\"system\":\"%s\",\"machine\":\"%s\"}\n", PENSTOCK_VERSION,
               __VERSION__, host.release, host.machine);
    else
        printf("penstock %s\n", PENSTOCK_VERSION);
    return EXIT_DONE;
}

/* The first words, each once: "token list" and "token create" give one "token". */
static void words_print(const char *before, const char *after)
{
    const char *last = "";
    size_t      last_bytes = 0;

    for (const struct command *command = commands; command->name != NULL; command++) {
        size_t bytes = strcspn(command->name, " ");

        if (bytes == last_bytes && strncmp(last, command->name, bytes) == 0)
            continue;
        printf("%s%.*s%s", before, (int)bytes, command->name, after);
        last = command->name;
        last_bytes = bytes;
    }
}

static void flags_print(const struct command *command)
{
    for (const struct command_flag *flag = command->flags; flag->name != NULL; flag++)
        printf("%s ", flag->name);
    printf("--help");
}

static void cases_print(const char *variable)
{
    for (const struct command *command = commands; command->name != NULL; command++) {
        printf("        '%s') %s='", command->name, variable);
        flags_print(command);
        printf("' ;;\n");
    }
}

static void verbs_print(const char *variable)
{
    const char *last = "";
    size_t      last_bytes = 0;

    for (const struct command *command = commands; command->name != NULL; command++) {
        const char *verb = strchr(command->name, ' ');
        size_t      bytes = strcspn(command->name, " ");

        if (verb == NULL)
            continue;
        if (bytes == last_bytes && strncmp(last, command->name, bytes) == 0) {
            printf("%s", verb);
        } else {
            printf("%s        '%.*s') %s='%s", last_bytes > 0 ? "' ;;\n" : "", (int)bytes, command->name, variable, verb + 1);
        }
        last = command->name;
        last_bytes = bytes;
    }
    printf("%s", last_bytes > 0 ? "' ;;\n" : "");
}

static void bash_print(void)
{
    printf("# bash completion for penstock: put this into ~/.local/share/bash-completion/completions/penstock\n"
           "_penstock() {\n"
           "    local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\" words=''\n"
           "    local one=\"${COMP_WORDS[1]}\" two=\"${COMP_WORDS[1]} ${COMP_WORDS[2]}\"\n"
           "    case \"$before\" in\n"
           "        --data) mapfile -t COMPREPLY < <(compgen -d -- \"$word\"); return ;;\n"
           "        --config|--file) mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); return ;;\n"
           "        --format) words='csv json table' ;;\n"
           "        --role) words='");
    for (size_t i = 0; i < role_count; i++)
        printf("%s%s", i > 0 ? " " : "", roles[i]->name);
    printf("' ;;\n    esac\n"
           "    if [ -z \"$words\" ]; then\n"
           "        if [ \"$COMP_CWORD\" -eq 1 ]; then\n            words='");
    words_print("", " ");
    printf("--help --version'\n        else\n        case \"$two\" in\n");
    cases_print("words");
    printf("        *) case \"$one\" in\n");
    cases_print("words");
    verbs_print("words");
    printf("        esac ;;\n        esac\n        fi\n    fi\n"
           "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
           "}\n"
           "complete -F _penstock penstock\n");
}

static void zsh_print(void)
{
    printf("#compdef penstock\n# zsh completion for penstock: put this into a folder of $fpath, named _penstock\n"
           "_penstock() {\n    local before=\"${words[CURRENT-1]}\" known=''\n"
           "    local one=\"${words[2]}\" two=\"${words[2]} ${words[3]}\"\n"
           "    case \"$before\" in\n"
           "        --data) _directories; return ;;\n        --config|--file) _files; return ;;\n"
           "        --format) compadd csv json table; return ;;\n"
           "        --role) compadd");
    for (size_t i = 0; i < role_count; i++)
        printf(" %s", roles[i]->name);
    printf("; return ;;\n    esac\n    if (( CURRENT == 2 )); then\n        compadd -- ");
    words_print("", " ");
    printf("--help --version\n        return\n    fi\n    case \"$two\" in\n");
    cases_print("known");
    printf("        *) case \"$one\" in\n");
    cases_print("known");
    verbs_print("known");
    printf("        esac ;;\n    esac\n    compadd -- ${=known}\n}\n_penstock \"$@\"\n");
}

int completions_run(const struct command_args *args)
{
    if (strcmp(args_at(args, 0), "bash") == 0)
        bash_print();
    else if (strcmp(args_at(args, 0), "zsh") == 0)
        zsh_print();
    else
        return args_wrong(args, "completions are there for bash and zsh, not for \"%s\"", args_at(args, 0));
    return EXIT_DONE;
}
