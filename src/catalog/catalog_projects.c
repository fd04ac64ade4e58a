/* catalog/catalog_projects.c - projects and their settings.
 *
 * What a setting may be is checked here and not in the command line alone: other programs will set them too,
 * and a role that finds nonsense in a snapshot can tell nobody. */
#include "catalog/catalog_db.h"

#include "base/clock.h"
#include "wire/utf8.h"

static const char *const cookieless_names[] = { "off", "stateless", "stateful" };

const char *catalog_cookieless_name(enum catalog_cookieless mode)
{
    return cookieless_names[mode];
}

bool catalog_cookieless_find(const char *name, enum catalog_cookieless *out)
{
    for (size_t i = 0; i < sizeof cookieless_names / sizeof *cookieless_names; i++)
        if (strcmp(name, cookieless_names[i]) == 0) {
            *out = (enum catalog_cookieless)i;
            return true;
        }
    return false;
}

static int catalog_name_check(const char *name, struct err *err)
{
    struct span text = span_text(name);
    bool        control = false; /* it would be a terminal's to obey, wherever the name is shown */

    for (size_t i = 0; i < text.bytes; i++)
        control |= text.at[i] < 0x20 || text.at[i] == 0x7f || (text.at[i] == 0xc2 && i + 1 < text.bytes && text.at[i + 1] < 0xa0);
    if (text.bytes == 0 || text.bytes > CATALOG_NAME_BYTES_MAX || !utf8_valid(text) || control)
        return err_set(err, ERR_INPUT, "a project's name has 1 to %d bytes of UTF-8, without control characters", CATALOG_NAME_BYTES_MAX);
    return 0;
}

/* Whether such a zone exists is not ours to know; that the name is no path to somewhere else is. */
static bool time_zone_usable(const char *name)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/";

    return name[0] != '/' && strspn(name, letters) == strlen(name) && strstr(name, "//") == NULL;
}

int catalog_project_create(struct catalog *catalog, const char *name, uint32_t *id_out, struct err *err)
{
    int64_t id = 0;
    int rc;

    if (catalog_name_check(name, err) < 0 || catalog_write_begin(catalog, err) < 0)
        return -1;
    catalog_db_bind_text(catalog, CATALOG_PROJECT_CREATE, 1, span_text(name));
    catalog_db_bind_int(catalog, CATALOG_PROJECT_CREATE, 2, clock_wall_us());
    rc = catalog_db_number(catalog, CATALOG_PROJECT_CREATE, &id, err);
    if (rc == 0 && id > UINT32_MAX)
        rc = err_set(err, ERR_FULL, "catalog: no project ids are left");
    if (catalog_write_end(catalog, rc, err) < 0)
        return -1;
    *id_out = (uint32_t)id;
    return 0;
}

static int catalog_settings_check(const struct catalog_project *project, struct err *err)
{
    if (catalog_name_check(project->name, err) < 0)
        return -1;
    if (project->drop_older_than_s < 0)
        return err_set(err, ERR_INPUT, "drop_older_than_s is negative; 0 turns it off");
    if (project->retention_days > CATALOG_RETENTION_DAYS_MAX)
        return err_set(err, ERR_INPUT, "retention_days is at most %d; 0 keeps everything", CATALOG_RETENTION_DAYS_MAX);
    if (!time_zone_usable(project->time_zone))
        return err_set(err, ERR_INPUT, "time_zone \"%s\" is no name of a zone; such as UTC or Europe/Berlin",
                       project->time_zone);
    return 0;
}

int catalog_project_update(struct catalog *catalog, const struct catalog_project *project, struct err *err)
{
    int rc;

    if (catalog_settings_check(project, err) < 0 || catalog_write_begin(catalog, err) < 0)
        return -1;
    catalog_db_bind_int(catalog, CATALOG_PROJECT_UPDATE, 1, project->id);
    catalog_db_bind_text(catalog, CATALOG_PROJECT_UPDATE, 2, span_text(project->name));
    catalog_db_bind_int(catalog, CATALOG_PROJECT_UPDATE, 3, project->anonymize_ips);
    catalog_db_bind_int(catalog, CATALOG_PROJECT_UPDATE, 4, project->person_processing_off);
    catalog_db_bind_int(catalog, CATALOG_PROJECT_UPDATE, 5, project->geoip_off);
    catalog_db_bind_int(catalog, CATALOG_PROJECT_UPDATE, 6, project->drop_older_than_s);
    catalog_db_bind_text(catalog, CATALOG_PROJECT_UPDATE, 7, span_text(catalog_cookieless_name(project->cookieless)));
    catalog_db_bind_text(catalog, CATALOG_PROJECT_UPDATE, 8, span_text(project->time_zone[0] != '\0' ? project->time_zone : "UTC"));
    catalog_db_bind_int(catalog, CATALOG_PROJECT_UPDATE, 9, project->person_last_seen);
    catalog_db_bind_int(catalog, CATALOG_PROJECT_UPDATE, 10, project->retention_days);
    catalog_db_bind_int(catalog, CATALOG_PROJECT_UPDATE, 11, project->heatmaps_off);
    rc = catalog_db_run(catalog, CATALOG_PROJECT_UPDATE, err);
    if (rc == 0 && catalog_db_changed(catalog) == 0)
        rc = err_set(err, ERR_INPUT, "there is no project %u", project->id);
    return catalog_write_end(catalog, rc, err);
}

/* --- of a snapshot ----------------------------------------------------------------------------- */

static void text_read(struct catalog *catalog, int column, char *to, size_t room)
{
    struct span text = catalog_db_text(catalog, CATALOG_PROJECTS, column);
    size_t      bytes = text.bytes < room ? text.bytes : room - 1;

    if (bytes > 0)
        memcpy(to, text.at, bytes);
    to[bytes] = '\0';
}

static bool flag_read(struct catalog *catalog, int column)
{
    return catalog_db_int(catalog, CATALOG_PROJECTS, column) != 0;
}

void catalog_project_read(struct catalog *catalog, struct catalog_project *out)
{
    char cookieless[16];

    *out = (struct catalog_project){ .id = (uint32_t)catalog_db_int(catalog, CATALOG_PROJECTS, 0) };
    text_read(catalog, 1, out->name, sizeof out->name);
    out->anonymize_ips = flag_read(catalog, 2);
    out->person_processing_off = flag_read(catalog, 3);
    out->geoip_off = flag_read(catalog, 4);
    out->drop_older_than_s = catalog_db_int(catalog, CATALOG_PROJECTS, 5);
    text_read(catalog, 6, cookieless, sizeof cookieless);
    if (!catalog_cookieless_find(cookieless, &out->cookieless))
        out->cookieless = CATALOG_COOKIELESS_OFF;
    text_read(catalog, 7, out->time_zone, sizeof out->time_zone);
    out->person_last_seen = flag_read(catalog, 8);
    out->retention_days = (uint32_t)catalog_db_int(catalog, CATALOG_PROJECTS, 9);
    out->heatmaps_off = flag_read(catalog, 10);
}
