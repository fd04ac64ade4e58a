/* command/project.c - penstock project list | show | create | set.
 *
 * One table of settings drives reading, printing and the help of `show`, so that they cannot disagree. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "command/catalog_list.h"
#include "wire/json.h"

enum setting_kind { SETTING_NAME, SETTING_SWITCH, SETTING_NUMBER64, SETTING_NUMBER32, SETTING_COOKIELESS, SETTING_ZONE };

static const struct setting {
    const char       *key;
    enum setting_kind kind;
    size_t            at; /* in struct catalog_project */
    int64_t           max;
    const char       *help;
} settings[] = {
#define AT(field) offsetof(struct catalog_project, field)
    { "name", SETTING_NAME, AT(name), 0, "how people call it" },
    { "anonymize_ips", SETTING_SWITCH, AT(anonymize_ips), 0, "true: $ip does not stay on events" },
    { "geoip_off", SETTING_SWITCH, AT(geoip_off), 0, "true: addresses are not turned into places" },
    { "person_processing_off", SETTING_SWITCH, AT(person_processing_off), 0, "true: events never touch persons" },
    { "person_last_seen", SETTING_SWITCH, AT(person_last_seen), 0, "true: persons carry when they were last seen" },
    { "cookieless", SETTING_COOKIELESS, AT(cookieless), 0,
      "off, stateless or stateful: what becomes of events in cookieless mode; off drops them" },
    { "time_zone", SETTING_ZONE, AT(time_zone), 0, "whose midnight begins a day, such as Europe/Berlin" },
    { "heatmaps_off", SETTING_SWITCH, AT(heatmaps_off), 0, "true: heatmap data is not kept" },
    { "drop_older_than_s", SETTING_NUMBER64, AT(drop_older_than_s), INT64_C(3155760000),
      "events older than so many seconds when they arrive are dropped; 0: none are" },
    { "retention_days", SETTING_NUMBER32, AT(retention_days), CATALOG_RETENTION_DAYS_MAX,
      "events older than so many days leave the warehouse; 0: kept for ever" },
};
enum { SETTING_COUNT = sizeof settings / sizeof *settings };

/* --- printing ---------------------------------------------------------------------------------- */

static void setting_print(struct buf *out, const struct setting *setting, const struct catalog_project *project, bool json)
{
    const char *at = (const char *)project + setting->at;

    switch (setting->kind) {
    case SETTING_SWITCH:
        buf_add_text(out, *(const bool *)at ? "true" : "false");
        return;
    case SETTING_NUMBER64:
        buf_add_format(out, "%lld", (long long)*(const int64_t *)at);
        return;
    case SETTING_NUMBER32:
        buf_add_format(out, "%u", *(const uint32_t *)at);
        return;
    case SETTING_COOKIELESS:
        at = catalog_cookieless_name(project->cookieless);
        break;
    case SETTING_NAME:
    case SETTING_ZONE:
        break;
    }
    if (json)
        json_write_string(out, span_text(at));
    else
        buf_add_text(out, at);
}

static void project_print_json(struct buf *out, const struct catalog_project *project)
{
    buf_add_format(out, "{\"id\":%u", project->id);
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        buf_add_format(out, ",\"%s\":", settings[i].key);
        setting_print(out, &settings[i], project, true);
    }
    buf_add_format(out, ",\"restrictions\":%zu}", project->restriction_count);
}

static void project_print(struct buf *out, const struct catalog_project *project)
{
    buf_add_format(out, "%-22s %u\n", "id", project->id);
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        size_t from;

        buf_add_format(out, "%-22s ", settings[i].key);
        from = out->bytes;
        setting_print(out, &settings[i], project, false);
        buf_add_format(out, "%*s  %s\n", out->bytes - from < 14 ? (int)(14 - (out->bytes - from)) : 0, "", settings[i].help);
    }
    buf_add_format(out, "%-22s %-14zu  penstock restrict list\n", "restrictions", project->restriction_count);
}

static void projects_show(struct catalog_list *list, const struct catalog_snapshot *snapshot)
{
    const struct catalog_project *all;
    size_t                        count = catalog_snapshot_projects(snapshot, &all);

    if (!list->json)
        buf_add_text(&list->out, "    id  name\n");
    for (size_t i = 0; i < count; i++)
        if (!catalog_list_next(list, all[i].id))
            continue;
        else if (list->json)
            project_print_json(&list->out, &all[i]);
        else
            buf_add_format(&list->out, "%6u  %s\n", all[i].id, all[i].name);
}

int project_list_run(const struct command_args *args)
{
    return catalog_list_run(args, projects_show, NULL);
}

static int project_print_one(const struct command_args *args, struct catalog *catalog, uint32_t id, struct err *err)
{
    struct catalog_snapshot      *snapshot;
    const struct catalog_project *project;
    struct buf                    out;

    if (catalog_snapshot_load(catalog, &snapshot, err) < 0)
        return -1;
    buf_init(&out, 1 << 16);
    project = catalog_snapshot_project(snapshot, id);
    if (project != NULL && args_has(args, "--json")) {
        project_print_json(&out, project);
        buf_add_text(&out, "\n");
    } else if (project != NULL) {
        project_print(&out, project);
    }
    command_print(&out);
    catalog_snapshot_free(snapshot);
    return 0;
}

int project_show_run(const struct command_args *args)
{
    struct catalog *catalog;
    struct err      err = { .kind = ERR_NONE };
    uint32_t        id;
    int             code = EXIT_DONE;

    if (command_catalog_open(args, false, &catalog, &err) < 0)
        return command_failed(&err);
    if (command_project_named(catalog, args_at(args, 0), &id, &err) < 0 || project_print_one(args, catalog, id, &err) < 0)
        code = command_failed(&err);
    catalog_close(catalog);
    return code;
}

int project_create_run(const struct command_args *args)
{
    struct catalog *catalog;
    struct err      err = { .kind = ERR_NONE };
    uint32_t        id;
    int             code = EXIT_DONE;

    if (command_catalog_open(args, true, &catalog, &err) < 0)
        return command_failed(&err);
    if (catalog_project_create(catalog, args_at(args, 0), &id, &err) < 0) {
        code = command_failed(&err);
    } else {
        command_wait_in_force(args, catalog);
        command_print_id(args, id);
    }
    catalog_close(catalog);
    return code;
}

/* --- set --------------------------------------------------------------------------------------- */

static int switch_read(const char *key, const char *text, bool *out, struct err *err)
{
    bool yes = strcmp(text, "true") == 0 || strcmp(text, "on") == 0;

    if (!yes && strcmp(text, "false") != 0 && strcmp(text, "off") != 0)
        return err_set(err, ERR_INPUT, "%s takes true or false, not \"%.60s\"", key, text);
    *out = yes;
    return 0;
}

static int number_read(const struct setting *setting, const char *text, int64_t *out, struct err *err)
{
    char     *end;
    long long value;

    errno = 0;
    value = strtoll(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end != '\0' || value > setting->max)
        return err_set(err, ERR_INPUT, "%s takes a whole number from 0 to %lld, not \"%.60s\"", setting->key,
                       (long long)setting->max, text);
    *out = value;
    return 0;
}

static int text_read(const struct setting *setting, const char *text, char *to, size_t room, struct err *err)
{
    if (strlen(text) >= room)
        return err_set(err, ERR_INPUT, "%s takes at most %zu bytes", setting->key, room - 1);
    (void)snprintf(to, room, "%s", text);
    return 0;
}

/* A zone that nobody knows would count days by nobody's midnight. Without the system's table of zones only the
 * name's form is checked. */
static int zone_check(const char *name, struct err *err)
{
    static const char zones[] = "/usr/share/zoneinfo";
    struct stat       found;
    char              path[128];

    (void)snprintf(path, sizeof path, "%s/%s", zones, name);
    if (strcmp(name, "UTC") == 0 || stat(zones, &found) < 0 || strstr(name, "..") != NULL)
        return 0;
    if (stat(path, &found) < 0 || !S_ISREG(found.st_mode))
        return err_set(err, ERR_INPUT, "time_zone: there is no zone \"%s\" in %s; such as UTC or Europe/Berlin", name, zones);
    return 0;
}

static int setting_read(const struct setting *setting, const char *text, struct catalog_project *project, struct err *err)
{
    char   *at = (char *)project + setting->at;
    int64_t number = 0;

    switch (setting->kind) {
    case SETTING_NAME:
        return text_read(setting, text, at, sizeof project->name, err);
    case SETTING_ZONE:
        return text_read(setting, text, at, sizeof project->time_zone, err) < 0 ? -1 : zone_check(text, err);
    case SETTING_SWITCH:
        return switch_read(setting->key, text, (bool *)at, err);
    case SETTING_COOKIELESS:
        if (!catalog_cookieless_find(text, &project->cookieless))
            return err_set(err, ERR_INPUT, "cookieless takes off, stateless or stateful, not \"%.60s\"", text);
        return 0;
    case SETTING_NUMBER64:
    case SETTING_NUMBER32:
        if (number_read(setting, text, &number, err) < 0)
            return -1;
        if (setting->kind == SETTING_NUMBER64)
            *(int64_t *)at = number;
        else
            *(uint32_t *)at = (uint32_t)number;
        return 0;
    }
    return 0;
}

static int settings_read(const struct command_args *args, struct catalog_project *project, struct err *err)
{
    const char *keys[SETTING_COUNT + 1] = { NULL };

    for (size_t i = 0; i < SETTING_COUNT; i++)
        keys[i] = settings[i].key;
    for (size_t i = 0; i < args_count(args); i++) {
        const char *word = args_at(args, i), *near;
        size_t      bytes = strcspn(word, "="), found = 0;
        char        key[64];

        (void)snprintf(key, sizeof key, "%.*s", (int)(bytes < 60 ? bytes : 60), word);
        if (word[bytes] != '=')
            return err_set(err, ERR_INPUT, "\"%.60s\" is not KEY=VALUE", word);
        while (found < SETTING_COUNT && strcmp(key, keys[found]) != 0)
            found++;
        near = nearest_word(key, keys);
        if (found == SETTING_COUNT)
            return err_set(err, ERR_INPUT, "there is no setting \"%s\"%s%s%s; penstock project show tells all of them", key,
                           near != NULL ? "; did you mean \"" : "", near != NULL ? near : "", near != NULL ? "\"?" : "");
        if (setting_read(&settings[found], word + bytes + 1, project, err) < 0)
            return -1;
    }
    return 0;
}

static int project_change(const struct command_args *args, struct catalog *catalog, uint32_t id, struct err *err)
{
    struct catalog_snapshot      *snapshot;
    const struct catalog_project *found;
    struct catalog_project        project;

    if (catalog_snapshot_load(catalog, &snapshot, err) < 0)
        return -1;
    found = catalog_snapshot_project(snapshot, id);
    project = found != NULL ? *found : (struct catalog_project){ .id = id };
    catalog_snapshot_free(snapshot);
    return settings_read(args, &project, err) < 0 ? -1 : catalog_project_update(catalog, &project, err);
}

int project_set_run(const struct command_args *args)
{
    struct catalog *catalog;
    struct err      err = { .kind = ERR_NONE };
    uint32_t        id;
    int             code = EXIT_DONE;

    if (command_catalog_open(args, false, &catalog, &err) < 0)
        return command_failed(&err);
    if (command_project(args, false, catalog, &id, &err) < 0 || project_change(args, catalog, id, &err) < 0) {
        code = command_failed(&err);
    } else {
        command_wait_in_force(args, catalog);
        if (project_print_one(args, catalog, id, &err) < 0)
            code = command_failed(&err);
    }
    catalog_close(catalog);
    return code;
}
