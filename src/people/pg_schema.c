/* people/pg_schema.c - the tables in PostgreSQL, and how older ones become these.
 *
 * Upstream's tables (posthog_...) have upstream's names, columns and types, and stand where upstream's programs look for them, in
 * the schema that the connection creates in. They may be there already, made by an installation of PostHog: then only what is
 * missing is added. Two columns are ours: penstock_properties, the properties exactly as they were sent (packed, event/packed.h),
 * and penstock_version, the row's version that they belong to. jsonb, which upstream's programs read, does not keep all of it:
 * the order of members, 1e5 for 100000, U+0000; and a program that writes properties without knowing of our columns is noticed by
 * the version.
 * What upstream has no place for stands in the schema penstock:
 *   version          one row: how many of the steps below were done
 *   places           unit -> epoch of its owner, how often it has committed, and who that is
 *   state            table, unit, key -> value: the small tables of table.h
 *   deleted_ids      team, distinct id -> version of the row that said it was deleted
 *   deleted_persons  team, uuid -> the same of persons, and of ids that were erased, under the uuid that is made of them
 *   changes          which persons and groups the latest commits of each unit changed (pg_follow.c)
 *   seen             event ids of each batch, a partition a day (pg_seen.c)
 * A step is never changed once it was released; a new one is added behind it. All of them run in one transaction, one process at
 * a time. */
#include "people/pg_schema.h"

#include <stdio.h>

static const char begin_sql[] =
    "BEGIN; SELECT pg_advisory_xact_lock(5065432211); "
    "CREATE SCHEMA IF NOT EXISTS penstock; "
    "CREATE TABLE IF NOT EXISTS penstock.version (one bool PRIMARY KEY DEFAULT true CHECK (one), version int4 NOT NULL); "
    "INSERT INTO penstock.version (version) VALUES (0) ON CONFLICT DO NOTHING";

static const char *const steps[] = {
    /* 1: everything */
    "CREATE TABLE IF NOT EXISTS posthog_person (id bigserial PRIMARY KEY, created_at timestamptz NOT NULL, "
    "properties jsonb NOT NULL DEFAULT '{}', properties_last_updated_at jsonb, properties_last_operation jsonb, "
    "is_identified bool NOT NULL DEFAULT false, is_user_id int4, uuid uuid NOT NULL, version int8, team_id int4 NOT NULL, "
    "CONSTRAINT check_properties_size CHECK (pg_column_size(properties) <= 655360)); "
    "ALTER TABLE posthog_person ADD COLUMN IF NOT EXISTS last_seen_at timestamptz, "
    "ADD COLUMN IF NOT EXISTS is_deleted bool, ADD COLUMN IF NOT EXISTS merged_into_id int8, "
    "ADD COLUMN IF NOT EXISTS penstock_version int8, ADD COLUMN IF NOT EXISTS penstock_properties bytea; "
    "CREATE INDEX IF NOT EXISTS posthog_person_team_id ON posthog_person (team_id, id DESC); "
    "CREATE INDEX IF NOT EXISTS posthog_person_uuid ON posthog_person (uuid); "

    "CREATE TABLE IF NOT EXISTS posthog_persondistinctid (id bigserial PRIMARY KEY, distinct_id varchar(400) NOT NULL, "
    "version int8, person_id int8 NOT NULL REFERENCES posthog_person (id) DEFERRABLE INITIALLY DEFERRED, "
    "team_id int4 NOT NULL, UNIQUE (team_id, distinct_id)); "
    "CREATE INDEX IF NOT EXISTS posthog_persondistinctid_person ON posthog_persondistinctid (person_id, distinct_id COLLATE \"C\"); "

    "CREATE TABLE IF NOT EXISTS posthog_personlessdistinctid (id bigserial PRIMARY KEY, distinct_id varchar(400) NOT NULL, "
    "is_merged bool NOT NULL DEFAULT false, created_at timestamptz NOT NULL DEFAULT now(), team_id int4 NOT NULL, "
    "UNIQUE (team_id, distinct_id)); "
    "CREATE TABLE IF NOT EXISTS posthog_cohortpeople (id bigserial PRIMARY KEY, version int4, cohort_id int4 NOT NULL, "
    "person_id int8 NOT NULL REFERENCES posthog_person (id) DEFERRABLE INITIALLY DEFERRED); "
    "CREATE INDEX IF NOT EXISTS posthog_cohortpeople_person ON posthog_cohortpeople (person_id); "
    "CREATE TABLE IF NOT EXISTS posthog_featureflaghashkeyoverride (id bigserial PRIMARY KEY, "
    "feature_flag_key varchar(400) NOT NULL, hash_key varchar(400) NOT NULL, "
    "person_id int8 NOT NULL REFERENCES posthog_person (id) DEFERRABLE INITIALLY DEFERRED, team_id int4 NOT NULL, "
    "UNIQUE (team_id, person_id, feature_flag_key)); "
    "CREATE INDEX IF NOT EXISTS posthog_featureflaghashkeyoverride_person ON posthog_featureflaghashkeyoverride (person_id); "

    "CREATE TABLE IF NOT EXISTS posthog_group (id bigserial PRIMARY KEY, group_key varchar(400) NOT NULL, "
    "group_type_index int4 NOT NULL, group_properties jsonb NOT NULL DEFAULT '{}', created_at timestamptz NOT NULL, "
    "properties_last_updated_at jsonb NOT NULL DEFAULT '{}', properties_last_operation jsonb NOT NULL DEFAULT '{}', "
    "version int8 NOT NULL, team_id int4 NOT NULL, UNIQUE (team_id, group_key, group_type_index)); "
    "ALTER TABLE posthog_group ADD COLUMN IF NOT EXISTS penstock_version int8, "
    "ADD COLUMN IF NOT EXISTS penstock_properties bytea; "
    "CREATE TABLE IF NOT EXISTS posthog_grouptypemapping (id bigserial PRIMARY KEY, group_type varchar(400) NOT NULL, "
    "group_type_index int4 NOT NULL, project_id int8 NOT NULL, team_id int4 NOT NULL, name_singular varchar(400), "
    "name_plural varchar(400), created_at timestamptz, UNIQUE (project_id, group_type), UNIQUE (project_id, group_type_index)); "

    "CREATE TABLE penstock.places (unit int4 PRIMARY KEY, epoch int8 NOT NULL, commits int8 NOT NULL, "
    "changed_at timestamptz NOT NULL DEFAULT now()) WITH (fillfactor = 50); "
    "CREATE TABLE penstock.state (tab int4, unit int4, key bytea, value bytea NOT NULL, PRIMARY KEY (tab, unit, key)) "
    "WITH (fillfactor = 70); "
    "CREATE TABLE penstock.deleted_ids (team_id int4, distinct_id varchar(400), version int8 NOT NULL, "
    "PRIMARY KEY (team_id, distinct_id)); "
    "CREATE TABLE penstock.deleted_persons (team_id int4, uuid uuid, version int8 NOT NULL, PRIMARY KEY (team_id, uuid)); "
    "CREATE TABLE penstock.seen (day int4 NOT NULL, unit int4 NOT NULL, sequence int8 NOT NULL, mark int8 NOT NULL, "
    "entries bytea NOT NULL, PRIMARY KEY (unit, sequence, day)) PARTITION BY LIST (day); "
    "ALTER TABLE penstock.seen ALTER COLUMN entries SET STORAGE EXTERNAL; "

    "CREATE FUNCTION penstock.must(held bool, what text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN "
    "IF held THEN RETURN true; END IF; RAISE EXCEPTION '%', what USING ERRCODE = '40001'; END $$; "
    "CREATE FUNCTION penstock.own(held bool) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN "
    "IF held THEN RETURN true; END IF; "
    "RAISE EXCEPTION 'another process has taken this unit over' USING ERRCODE = 'PS001'; END $$",
    /* 2: what a commit changed, for the other units' memories */
    "CREATE TABLE penstock.changes (unit int4, commits int8, things int8[] NOT NULL, PRIMARY KEY (unit, commits))",
    /* 3: who the owner is, so that it knows its own taking over, whose answer was lost */
    "ALTER TABLE penstock.places ADD COLUMN owner uuid",
    /* 4: how many persons a unit has erased: what others had at hand of one is not committed any more */
    "ALTER TABLE penstock.places ADD COLUMN IF NOT EXISTS erased int8 NOT NULL DEFAULT 0",
    /* 5: numbers that are read once or never are not worth compressing */
    "ALTER TABLE penstock.changes ALTER COLUMN things SET STORAGE EXTERNAL",
};
enum { STEPS = sizeof steps / sizeof *steps };

/* Newer installations of PostHog part persons by team: nothing can refer to a person by its id alone there, and no key finds it by that. What
 * is missing is made without references; PERSON asks for ids alone. */
static const char parted_sql[] =
    "DO $$ BEGIN IF EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('posthog_person') AND relkind = 'p') THEN "
    "CREATE INDEX IF NOT EXISTS posthog_person_id ON posthog_person (id); "
    "CREATE TABLE IF NOT EXISTS posthog_persondistinctid (id bigserial PRIMARY KEY, distinct_id varchar(400) NOT NULL, "
    "version int8, person_id int8 NOT NULL, team_id int4 NOT NULL, UNIQUE (team_id, distinct_id)); "
    "CREATE TABLE IF NOT EXISTS posthog_cohortpeople (id bigserial PRIMARY KEY, version int4, cohort_id int4 NOT NULL, "
    "person_id int8 NOT NULL); "
    "CREATE TABLE IF NOT EXISTS posthog_featureflaghashkeyoverride (id bigserial PRIMARY KEY, feature_flag_key varchar(400) NOT NULL, "
    "hash_key varchar(400) NOT NULL, person_id int8 NOT NULL, team_id int4 NOT NULL, UNIQUE (team_id, person_id, feature_flag_key)); "
    "END IF; END $$";

/* Room in each page for the next version of a person's row, which then stays there and needs no new entries in indexes. Of a table that we
 * made just now; one that was there is left as its owner has it (docs/decisions/people-postgres.md). */
static const char room_sql[] = "ALTER TABLE posthog_person SET (fillfactor = 70)";

static void undo(struct pg_conn *conn)
{
    struct err ignored;

    if (conn->pq != NULL && pg_script(conn, "ROLLBACK", NULL, &ignored) < 0)
        pg_disconnect(conn);
}

static int schema_upgrade(struct pg_conn *conn, struct err *err)
{
    char    text[80];
    int64_t version, theirs;

    if (pg_script(conn, begin_sql, NULL, err) < 0 || pg_script(conn, "SELECT version FROM penstock.version", &version, err) < 0 ||
        pg_script(conn, "SELECT count(to_regclass('posthog_person'))", &theirs, err) < 0)
        return -1;
    if (version == 0 && theirs > 0 && pg_script(conn, parted_sql, NULL, err) < 0)
        return -1;
    for (; version < STEPS; version++)
        if (pg_script(conn, steps[version], NULL, err) < 0)
            return -1;
    if (theirs == 0 && pg_script(conn, room_sql, NULL, err) < 0)
        return -1;
    (void)snprintf(text, sizeof text, "UPDATE penstock.version SET version = %d; COMMIT", STEPS);
    return pg_script(conn, text, NULL, err);
}

int pg_schema_make(struct pg_conn *conn, struct err *err)
{
    int64_t version;

    if (pg_script(conn, "SELECT count(to_regclass('penstock.version'))", &version, err) < 0 ||
        (version > 0 && pg_script(conn, "SELECT version FROM penstock.version", &version, err) < 0))
        return -1;
    if (version > STEPS)
        return err_set(err, ERR_INPUT, "people: PostgreSQL's tables have version %d, made by a later Penstock; this one knows %d",
                       (int)version, STEPS);
    if (version == STEPS)
        return 0;
    if (schema_upgrade(conn, err) == 0)
        return 0;
    undo(conn);
    return -1;
}

/* --- a day's table of seen ids ------------------------------------------------------------------- */

int pg_schema_seen_day(struct pg_conn *conn, int32_t day, struct err *err)
{
    char text[900];
    int  rc;

    /* ATTACH takes a lock that lets others read and write the other days; CREATE ... PARTITION OF does not. */
    (void)snprintf(text, sizeof text,
                   "BEGIN; SELECT pg_advisory_xact_lock(5065432211); DO $$ BEGIN "
                   "IF to_regclass('penstock.seen_%d') IS NULL THEN "
                   "CREATE TABLE penstock.seen_%d (LIKE penstock.seen INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE, "
                   "CHECK (day = %d)); "
                   "ALTER TABLE penstock.seen ATTACH PARTITION penstock.seen_%d FOR VALUES IN (%d); "
                   "END IF; END $$; COMMIT", (int)day, (int)day, (int)day, (int)day, (int)day);
    rc = pg_script(conn, text, NULL, err);
    if (rc < 0)
        undo(conn);
    return rc;
}

int pg_schema_seen_drop(struct pg_conn *conn, int32_t day, struct err *err)
{
    char text[200];
    int  rc;

    (void)snprintf(text, sizeof text, "BEGIN; SELECT pg_advisory_xact_lock(5065432211); SET LOCAL lock_timeout = 2000; "
                   "DROP TABLE IF EXISTS penstock.seen_%d; COMMIT", (int)day);
    rc = pg_script(conn, text, NULL, err);
    if (rc < 0)
        undo(conn);
    return rc;
}
