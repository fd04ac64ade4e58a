/* people/pg_sql.h - every statement that is sent to PostgreSQL, by name; and the tables they are for (pg_schema.c). */
#ifndef PENSTOCK_PEOPLE_PG_SQL_H
#define PENSTOCK_PEOPLE_PG_SQL_H

/* A person's columns, in the order that pg_find.c reads them. What Penstock itself wrote last is read as it wrote it. */
#define PG_PERSON_COLUMNS                                                                                       \
    "p.id, p.team_id, p.uuid, p.created_at, p.last_seen_at, coalesce(p.is_identified, false), "                 \
    "coalesce(p.version, 0), coalesce(p.is_deleted, false), "                                                   \
    "CASE WHEN p.penstock_version = p.version THEN p.penstock_properties END, "                                 \
    "CASE WHEN p.penstock_version = p.version AND p.penstock_properties IS NOT NULL THEN NULL ELSE p.properties::text END"

#define PG_CLOCK_US "(extract(epoch FROM clock_timestamp()) * 1000000)::int8"

/* X(name, text): penstock.must() fails the transaction as a conflict, penstock.own() as one that lost its unit (pg_schema.c). */
#define PG_SQLS(X)                                                                                              \
    X(BEGIN, "BEGIN")                                                                                           \
    X(BEGIN_READ, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")                                            \
    X(COMMIT, "COMMIT")                                                                                         \
    X(ROLLBACK, "ROLLBACK")                                                                                     \
    /* --- whose unit it is */                                                                                  \
    /* epochs are the clock's, so that none is given twice, whatever the server has lost (G7) */                \
    X(TAKE, "INSERT INTO penstock.places AS p (unit, epoch, commits, owner) VALUES ($1::int4, "                 \
            "(extract(epoch FROM clock_timestamp()) * 1000)::int8, 0, $2::uuid) "                               \
            "ON CONFLICT (unit) DO UPDATE SET epoch = greatest(p.epoch + 1, excluded.epoch), owner = excluded.owner " \
            "RETURNING epoch, commits, " PG_CLOCK_US)                                                           \
    X(EPOCH, "SELECT coalesce(max(epoch), 0) FROM penstock.places WHERE unit = $1::int4")                       \
    X(TAKE_AGAIN, "UPDATE penstock.places SET epoch = $4::int8 WHERE unit = $1::int4 AND owner = $2::uuid "     \
                  "AND epoch >= $3::int8 AND epoch < $4::int8 RETURNING epoch, commits, " PG_CLOCK_US)          \
    X(CLOCK, "SELECT " PG_CLOCK_US)                                                                             \
    X(PLACE, "WITH w AS (UPDATE penstock.places SET commits = commits + 1, changed_at = now() "                 \
             "WHERE unit = $1::int4 AND epoch = $2::int8 AND commits = $3::int8 RETURNING 1) "                  \
             "SELECT penstock.own((SELECT count(*) FROM w) = 1)")                                               \
    /* --- batches that met at a row, one after the other: of the session, so that it ends with it */           \
    X(TURN_WAIT, "SELECT set_config('lock_timeout', $1::int4::text, true)")                                     \
    X(TURN_ALONE, "SELECT pg_advisory_lock(5065432, 1)")                                                        \
    X(TURN_BESIDE, "SELECT pg_advisory_lock_shared(5065432, 1)")                                                \
    X(TURN_GIVE, "SELECT pg_advisory_unlock(5065432, 1)")                                                       \
    X(TURN_GIVE_BESIDE, "SELECT pg_advisory_unlock_shared(5065432, 1)")                                         \
    /* --- erasures (pg_erase.c) */                                                                             \
    X(ERASED, "SELECT coalesce(sum(erased), 0)::int8 FROM penstock.places")                                     \
    X(COMMIT_BESIDE, "SELECT pg_advisory_xact_lock_shared(1885695603, 1)")                                      \
    X(COMMIT_ALONE, "SELECT pg_advisory_xact_lock(1885695603, 1)")                                              \
    X(ERASED_SAME, "SELECT penstock.must((SELECT coalesce(sum(erased), 0) FROM penstock.places) = $1::int8, "   \
                   "'a person was erased by another unit')")                                                    \
    X(ERASED_MORE, "UPDATE penstock.places SET erased = erased + 1 WHERE unit = $1::int4")                      \
    X(OTHERS, "SELECT unit, value FROM penstock.state WHERE tab = $1::int4 AND key = $2::bytea AND unit <> $3::int4 ORDER BY unit") \
    /* --- what other units have changed since we looked last */                                                \
    X(FOLLOW, "SELECT p.unit, p.commits, x.seen, c.things FROM penstock.places p "                              \
              "LEFT JOIN unnest($1::int4[], $2::int8[]) AS x(unit, seen) ON x.unit = p.unit "                   \
              "LEFT JOIN penstock.changes c ON c.unit = p.unit AND c.commits > x.seen "                         \
              "WHERE p.unit <> $3::int4 AND (x.unit IS NULL OR p.commits <> x.seen)")                           \
    X(CHANGES_PUT, "INSERT INTO penstock.changes (unit, commits, things) VALUES ($1::int4, $2::int8, $3::int8[])") \
    X(CHANGES_DELETE, "DELETE FROM penstock.changes WHERE unit = $1::int4 AND commits < $2::int8")              \
    /* --- looking up: only what is not as we believe it to be comes back */                                    \
    X(CONFIRM, "SELECT x.n::int4, coalesce(d.version, 0), d.person_id, " PG_PERSON_COLUMNS " "                  \
               "FROM unnest($1::int4[], $2::text[], $3::int8[], $4::int8[], $5::int8[]) "                       \
               "WITH ORDINALITY AS x(team, id, person, lversion, pversion, n) "                                 \
               "LEFT JOIN posthog_persondistinctid d ON d.team_id = x.team AND d.distinct_id = x.id "           \
               "LEFT JOIN posthog_person p ON p.id = d.person_id AND p.team_id = d.team_id "                    \
               "WHERE d.person_id IS DISTINCT FROM x.person OR coalesce(d.version, 0) <> x.lversion "           \
               "OR coalesce(p.version, 0) <> x.pversion OR p.is_deleted")                                       \
    X(FETCH, "SELECT x.n::int4, coalesce(d.version, 0), d.person_id, " PG_PERSON_COLUMNS ", g.version, t.version " \
             "FROM unnest($1::int4[], $2::text[], $3::uuid[]) WITH ORDINALITY AS x(team, id, uuid, n) "         \
             "LEFT JOIN posthog_persondistinctid d ON d.team_id = x.team AND d.distinct_id = x.id "             \
             "LEFT JOIN posthog_person p ON p.id = d.person_id AND p.team_id = d.team_id "                      \
             "LEFT JOIN penstock.deleted_ids g ON g.team_id = x.team AND g.distinct_id = x.id "                 \
             "LEFT JOIN penstock.deleted_persons t ON t.team_id = x.team AND t.uuid = x.uuid "                  \
             "WHERE d.person_id IS NOT NULL OR g.version IS NOT NULL OR t.version IS NOT NULL")                 \
    X(PERSON, "SELECT " PG_PERSON_COLUMNS " FROM posthog_person p WHERE p.id = $1::int8")                       \
    X(PERSON_UUID, "SELECT " PG_PERSON_COLUMNS " FROM posthog_person p WHERE p.team_id = $1::int4 AND p.uuid = $2::uuid " \
                   "AND NOT coalesce(p.is_deleted, false)")                                                     \
    /* through rows of persons that were merged away and stay, by whoever; they may lead around */               \
    X(PERSON_HEIR, "WITH RECURSIVE x (id, way) AS (SELECT p.merged_into_id, ARRAY[p.id] FROM posthog_person p WHERE p.id = $1::int8 " \
                   "AND p.is_deleted UNION ALL SELECT p.merged_into_id, x.way || p.id FROM x JOIN posthog_person p ON p.id = x.id " \
                   "AND p.is_deleted AND p.id <> ALL (x.way)) SELECT p.id FROM x JOIN posthog_person p ON p.id = x.id " \
                   "WHERE NOT coalesce(p.is_deleted, false) LIMIT 1")                                           \
    X(GRAVE, "SELECT version FROM penstock.deleted_persons WHERE team_id = $1::int4 AND uuid = $2::uuid")       \
    X(UNDER, "SELECT distinct_id, coalesce(version, 0) FROM posthog_persondistinctid "                          \
             "WHERE person_id = $1::int8 AND distinct_id COLLATE \"C\" >= $2::text "                             \
             "ORDER BY distinct_id COLLATE \"C\" LIMIT $3::int4")                                               \
    /* the ids of persons that may be merged away, of each at most so many, by one id of each */                 \
    X(UNDER_MANY, "SELECT x.n::int4, d.person_id, u.distinct_id, coalesce(u.version, 0) "                       \
                  "FROM unnest($1::int4[], $2::text[]) WITH ORDINALITY AS x(team, id, n) "                      \
                  "JOIN posthog_persondistinctid d ON d.team_id = x.team AND d.distinct_id = x.id "             \
                  "CROSS JOIN LATERAL (SELECT distinct_id, version FROM posthog_persondistinctid "              \
                  "WHERE person_id = d.person_id ORDER BY distinct_id COLLATE \"C\" LIMIT $3::int4) u ORDER BY x.n") \
    X(GRAVES, "SELECT x.n::int4, t.version FROM unnest($1::int4[], $2::uuid[]) WITH ORDINALITY AS x(team, uuid, n) " \
              "JOIN penstock.deleted_persons t ON t.team_id = x.team AND t.uuid = x.uuid")                      \
    /* the sequence is the column's own, or, where the table took another one's place, what its default asks */  \
    X(IDS_NEW, "SELECT nextval((SELECT coalesce(pg_get_serial_sequence('posthog_person', 'id')::regclass, "     \
               "(SELECT s.oid::regclass FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum " \
               "JOIN pg_depend u ON u.classid = 'pg_attrdef'::regclass AND u.objid = d.oid AND u.refclassid = 'pg_class'::regclass " \
               "JOIN pg_class s ON s.oid = u.refobjid AND s.relkind = 'S' "                                     \
               "WHERE a.attrelid = 'posthog_person'::regclass AND a.attname = 'id' LIMIT 1)))) FROM generate_series(1, $1::int4)") \
    /* --- persons */                                                                                           \
    X(PERSONS_LOCK, "WITH l AS (SELECT coalesce(p.version, 0) = x.version AS same "                             \
                    "FROM unnest($1::int8[], $2::int8[], $3::int4[]) AS x(id, version, team) "                  \
                    "JOIN posthog_person p ON p.id = x.id AND p.team_id = x.team "                              \
                    "WHERE NOT coalesce(p.is_deleted, false) ORDER BY p.id FOR UPDATE OF p) "                   \
                    "SELECT penstock.must((SELECT count(*) FROM l WHERE same) = cardinality($1::int8[]), "      \
                    "'a person was changed by somebody else')")                                                 \
    X(PERSONS_INSERT, "INSERT INTO posthog_person (id, team_id, uuid, created_at, last_seen_at, is_identified, version, " \
                      "properties, properties_last_updated_at, properties_last_operation, penstock_version, "   \
                      "penstock_properties) SELECT x.id, x.team, x.uuid, x.created, x.seen, x.identified, x.version, " \
                      "x.properties::jsonb, '{}', '{}', x.version, x.exact "                                    \
                      "FROM unnest($1::int8[], $2::int4[], $3::uuid[], $4::timestamptz[], $5::timestamptz[], "  \
                      "$6::bool[], $7::int8[], $8::text[], $9::bytea[]) "                                       \
                      "AS x(id, team, uuid, created, seen, identified, version, properties, exact)")            \
    X(PERSONS_UPDATE, "WITH w AS (UPDATE posthog_person p SET uuid = x.uuid, created_at = x.created, last_seen_at = x.seen, " \
                      "is_identified = x.identified, version = x.version, properties = x.properties::jsonb, "   \
                      "penstock_version = x.version, penstock_properties = x.exact "                            \
                      "FROM unnest($1::int8[], $2::int4[], $3::uuid[], $4::timestamptz[], $5::timestamptz[], "  \
                      "$6::bool[], $7::int8[], $8::text[], $9::bytea[], $10::int8[]) "                          \
                      "AS x(id, team, uuid, created, seen, identified, version, properties, exact, bversion) "  \
                      "WHERE p.id = x.id AND p.team_id = x.team AND coalesce(p.version, 0) = x.bversion "       \
                      "AND NOT coalesce(p.is_deleted, false) RETURNING 1) "                                     \
                      "SELECT penstock.must((SELECT count(*) FROM w) = cardinality($1::int8[]), "               \
                      "'a person was changed by somebody else')")                                               \
    X(PERSONS_DELETE, "DELETE FROM posthog_person p USING unnest($1::int8[], $2::int4[]) AS x(id, team) "       \
                      "WHERE p.id = x.id AND p.team_id = x.team")                                               \
    X(HOLDERS_DELETE, "DELETE FROM posthog_person WHERE id = ANY($1::int8[])")                                  \
    X(PERSONS_MERGED, "UPDATE posthog_person p SET is_deleted = true, merged_into_id = x.target, "              \
                      "properties = '{}', penstock_properties = NULL, version = coalesce(p.version, 0) + 100 "  \
                      "FROM unnest($1::int8[], $2::int4[], $3::int8[]) AS x(id, team, target) "                 \
                      "WHERE p.id = x.id AND p.team_id = x.team")                                               \
    X(COHORTS_MOVE, "UPDATE posthog_cohortpeople c SET person_id = x.target FROM unnest($1::int8[], $2::int8[]) AS x(id, target) " \
                    "WHERE c.person_id = x.id")                                                                 \
    X(COHORTS_DELETE, "DELETE FROM posthog_cohortpeople WHERE person_id = ANY($1::int8[])")                     \
    X(FLAGS_MOVE, "INSERT INTO posthog_featureflaghashkeyoverride (feature_flag_key, hash_key, person_id, team_id) " \
                  "SELECT o.feature_flag_key, o.hash_key, x.target, o.team_id "                                 \
                  "FROM unnest($1::int8[], $2::int8[]) AS x(id, target) "                                       \
                  "JOIN posthog_featureflaghashkeyoverride o ON o.person_id = x.id ON CONFLICT DO NOTHING")     \
    X(FLAGS_DELETE, "DELETE FROM posthog_featureflaghashkeyoverride WHERE person_id = ANY($1::int8[])")         \
    X(GRAVES_PUT, "INSERT INTO penstock.deleted_persons AS t (team_id, uuid, version) "                         \
                  "SELECT * FROM unnest($1::int4[], $2::uuid[], $3::int8[]) "                                   \
                  "ON CONFLICT (team_id, uuid) DO UPDATE SET version = greatest(t.version, excluded.version)")  \
    /* --- ids */                                                                                               \
    X(LINKS_DELETE, "WITH w AS (DELETE FROM posthog_persondistinctid d "                                        \
                    "USING unnest($1::int4[], $2::text[], $3::int8[], $4::int8[]) AS x(team, id, bperson, bversion) " \
                    "WHERE d.team_id = x.team AND d.distinct_id = x.id AND d.person_id = x.bperson "            \
                    "AND coalesce(d.version, 0) = x.bversion RETURNING 1) "                                     \
                    "SELECT penstock.must((SELECT count(*) FROM w) = cardinality($1::int4[]), 'an id was changed by somebody else')") \
    X(LINKS_UPDATE, "WITH w AS (UPDATE posthog_persondistinctid d SET person_id = x.person, version = x.version " \
                    "FROM unnest($1::int4[], $2::text[], $3::int8[], $4::int8[], $5::int8[], $6::int8[]) "      \
                    "AS x(team, id, bperson, bversion, person, version) "                                       \
                    "WHERE d.team_id = x.team AND d.distinct_id = x.id AND d.person_id = x.bperson "            \
                    "AND coalesce(d.version, 0) = x.bversion RETURNING 1) "                                     \
                    "SELECT penstock.must((SELECT count(*) FROM w) = cardinality($1::int4[]), 'an id was changed by somebody else')") \
    X(LINKS_INSERT, "INSERT INTO posthog_persondistinctid (team_id, distinct_id, person_id, version) "          \
                    "SELECT * FROM unnest($1::int4[], $2::text[], $3::int8[], $4::int8[])")                     \
    X(DELETED_IDS_PUT, "INSERT INTO penstock.deleted_ids AS t (team_id, distinct_id, version) "                 \
                       "SELECT * FROM unnest($1::int4[], $2::text[], $3::int8[]) "                              \
                       "ON CONFLICT (team_id, distinct_id) DO UPDATE SET version = greatest(t.version, excluded.version)") \
    X(DELETED_IDS_DELETE, "WITH w AS (DELETE FROM penstock.deleted_ids d "                                      \
                          "USING unnest($1::int4[], $2::text[]) AS x(team, id) "                                \
                          "WHERE d.team_id = x.team AND d.distinct_id = x.id RETURNING 1) "                     \
                          "SELECT penstock.must((SELECT count(*) FROM w) = cardinality($1::int4[]), 'an id was changed by somebody else')") \
    /* --- groups */                                                                                            \
    X(TYPES, "SELECT group_type, group_type_index::int4 FROM posthog_grouptypemapping WHERE project_id = $1::int8") \
    X(TYPES_INSERT, "INSERT INTO posthog_grouptypemapping (group_type, group_type_index, project_id, team_id, created_at) " \
                    "SELECT x.name, x.index, x.project, x.project::int4, now() "                                \
                    "FROM unnest($1::int8[], $2::text[], $3::int4[]) AS x(project, name, index)")               \
    X(GROUP, "SELECT created_at, version, CASE WHEN penstock_version = version THEN penstock_properties END, "  \
             "CASE WHEN penstock_version = version AND penstock_properties IS NOT NULL THEN NULL ELSE group_properties::text END " \
             "FROM posthog_group WHERE team_id = $1::int4 AND group_type_index = $2::int4 AND group_key = $3::text") \
    X(GROUPS_INSERT, "INSERT INTO posthog_group (team_id, group_type_index, group_key, created_at, version, group_properties, " \
                     "properties_last_updated_at, properties_last_operation, penstock_version, penstock_properties) " \
                     "SELECT x.team, x.index, x.key, x.created, x.version, x.properties::jsonb, '{}', '{}', x.version, x.exact " \
                     "FROM unnest($1::int4[], $2::int4[], $3::text[], $4::timestamptz[], $5::int8[], $6::text[], $7::bytea[]) " \
                     "AS x(team, index, key, created, version, properties, exact)")                             \
    X(GROUPS_UPDATE, "WITH w AS (UPDATE posthog_group g SET created_at = x.created, version = x.version, "      \
                     "group_properties = x.properties::jsonb, penstock_version = x.version, penstock_properties = x.exact " \
                     "FROM unnest($1::int4[], $2::int4[], $3::text[], $4::timestamptz[], $5::int8[], $6::text[], $7::bytea[], " \
                     "$8::int8[]) AS x(team, index, key, created, version, properties, exact, bversion) "       \
                     "WHERE g.team_id = x.team AND g.group_type_index = x.index AND g.group_key = x.key "       \
                     "AND g.version = x.bversion RETURNING 1) "                                                 \
                     "SELECT penstock.must((SELECT count(*) FROM w) = cardinality($1::int4[]), 'a group was changed by somebody else')") \
    /* --- small tables; those of merges are read over all units */                                             \
    X(STATE_GET, "SELECT value FROM penstock.state WHERE tab = $1::int4 AND unit = $2::int4 AND key = $3::bytea") \
    X(STATE_SEEK, "SELECT key, value FROM penstock.state WHERE tab = $1::int4 AND unit = $2::int4 AND key >= $3::bytea " \
                  "ORDER BY key LIMIT $4::int4")                                                                \
    X(STATE_LAST, "SELECT key, value FROM penstock.state WHERE tab = $1::int4 AND unit = $2::int4 "             \
                  "AND ($3::bytea IS NULL OR key < $3::bytea) ORDER BY key DESC LIMIT 1")                       \
    X(STATE_ALL, "SELECT unit, key, value FROM penstock.state WHERE tab = $1::int4")                            \
    X(STATE_PUT, "INSERT INTO penstock.state AS t (tab, unit, key, value) SELECT * "                            \
                 "FROM unnest($1::int4[], $2::int4[], $3::bytea[], $4::bytea[]) "                               \
                 "ON CONFLICT (tab, unit, key) DO UPDATE SET value = excluded.value")                           \
    X(STATE_DELETE, "DELETE FROM penstock.state s USING unnest($1::int4[], $2::int4[], $3::bytea[]) AS x(tab, unit, key) " \
                    "WHERE s.tab = x.tab AND s.unit = x.unit AND s.key = x.key")                                \
    /* --- seen ids */                                                                                          \
    X(SEEN_ADD, "INSERT INTO penstock.seen (day, unit, sequence, mark, entries) "                               \
                "VALUES ($1::int4, $2::int4, $3::int8, $4::int8, $5::bytea)")                                   \
    X(SEEN_END, "SELECT sequence, mark FROM penstock.seen WHERE unit = $1::int4 ORDER BY sequence DESC LIMIT 1") \
    X(SEEN_AT, "SELECT mark FROM penstock.seen WHERE unit = $1::int4 AND sequence = $2::int8")                  \
    X(SEEN_FROM, "SELECT sequence, mark, day, entries FROM penstock.seen WHERE unit = $1::int4 AND sequence > $2::int8 " \
                 "ORDER BY sequence LIMIT $3::int4")                                                            \
    X(SEEN_FIND, "SELECT entries FROM penstock.seen WHERE position($1::bytea IN entries) > 0")                  \
    X(SEEN_DAYS, "SELECT substring(c.relname FROM 6)::int4 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid " \
                 "WHERE i.inhparent = 'penstock.seen'::regclass AND c.relname ~ '^seen_[0-9]+$'")

#define PG_SQL_ENUM(name, text) PG_##name##_SQL,
enum pg_sql { PG_SQLS(PG_SQL_ENUM) PG_SQL_COUNT };

#endif
