/* command/commands.c - the table of commands: the one source of dispatch, --help and completions. */
#include "command/command.h"

static const struct command_flag flags_serve[] = {
    FLAG_DATA,
    { "--listen", "ADDRESS", "address that SDKs send to: HOST:PORT or unix:/PATH (default: 127.0.0.1:8000); port 0: a\n"
      "                     free one; may be given several times" },
    { "--roles", "LIST", "run only these: capture, ingest, load, parted by commas (default: all)" },
    { "--role", "NAME", "the same for one role" },
    FLAG_END,
};
static const struct command_flag flags_send[] = {
    FLAG_DATA,
    { "--distinct-id", "ID", "who did it (default: penstock-send)" },
    { "--property", "KEY=VALUE", "a property; VALUE is JSON, or else text. May be given many times" },
    { "--file", "FILE", "send a whole request body instead of EVENT; - is stdin" },
    { "--token", "TOKEN", "project token (default: the first one of the data folder)" },
    { "--url", "URL", "where to (default: the server that runs on the data folder)" },
    FLAG_JSON, FLAG_END,
};
static const struct command_flag flags_tail[] = {
    FLAG_DATA,
    { "--from", "start|end", "begin with the oldest event that is kept, or with the next one (default: end)" },
    { "--count", "N", "stop after N events" },
    { "--topic", "NAME", "events (default), people, warnings, dead_letters, heatmaps, definitions, receipts" },
    FLAG_END,
};
static const struct command_flag flags_data_json[] = { FLAG_DATA, FLAG_JSON, FLAG_END };
static const struct command_flag flags_trace[] = {
    FLAG_DATA,
    { "--project", "ID", "only in this project (default: whichever has the id)" },
    FLAG_JSON, FLAG_END,
};
static const struct command_flag flags_person[] = {
    FLAG_DATA,
    { "--project", "NAME", "id or name of the project (default: the first one)" },
    FLAG_JSON, FLAG_END,
};
static const struct command_flag flags_person_delete[] = {
    FLAG_DATA,
    { "--project", "NAME", "id or name of the project (default: the first one)" },
    { "--with-events", NULL, "its events too, and what else is kept of them" },
    { "--now", NULL, "do not wait for ingest.undo_window" },
    FLAG_JSON, FLAG_END,
};
static const struct command_flag flags_status[] = {
    FLAG_DATA,
    { "--by", "project|hour|fate", "a line for each; several with commas. Exit code 1 when a line does not add up, 3 when that is not known, as a store is away" },
    { "--check", NULL, "with --by: also count the warehouse's rows, which reads two columns of all of them; exit code 3: not all that "
      "waits could be looked at, ask again" },
    FLAG_JSON, FLAG_END,
};
static const struct command_flag flags_warehouse_rebuild[] = {
    FLAG_DATA,
    { "--yes", NULL, "do not ask" },
    { "--partial", NULL, "also when the log has no more all that the warehouse has" },
    { "--wait", NULL, "until everything that is in the log now is in the new warehouse" },
    FLAG_END,
};
static const struct command_flag flags_warehouse_ddl[] = {
    { "--form", "FORM", "single: one server (default); cluster: replicated and spread; kafka-engine: ClickHouse reads the topics" },
    { "--database", "NAME", "of the tables (default: posthog); views for queries are in NAME_sql" },
    { "--cluster", "NAME", "with --form cluster: as in remote_servers (default: posthog)" },
    { "--brokers", "LIST", "with --form kafka-engine: host:port,host:port" },
    { "--topic-prefix", "TEXT", "with --form kafka-engine: in front of the topics' names" },
    FLAG_END,
};
static const struct command_flag flags_data[] = { FLAG_DATA, FLAG_END };
static const struct command_flag flags_compare[] = {
    { "--ignore", "MEMBER", "do not compare this member: timestamp, properties.$lib, 'properties.$geoip_*', kafka.key,\n"
      "                     kafka.headers.timestamp, 'kafka.*'; may be given many times" },
    { "--strict", NULL, "compare everything: now, created_at, captured_at, version, inserted_at, _timestamp, _offset and _partition, and all\n"
      "                     headers, too, and times exactly" },
    { "--tolerance-ms", "N", "times that are so close count as the same (default: 2000; with --strict 0)" },
    { "--since", "SECONDS", "of topics, only what came within so many seconds (default: all)" },
    { "--client", "NAME=VALUE", "a setting of the Kafka client, such as security.protocol=ssl; may be given many times" },
    { "--memory", "MIB", "memory for a 256th of the messages (default: 512)" },
    { "--folder", "DIR", "where temporary files are made, as large as both sides (default: $TMPDIR, or /tmp)" },
    FLAG_JSON, FLAG_END,
};
static const struct command_flag flags_plan[] = {
    { "--events-per-month", "N", "how many events there are; 5e9 is a number, too" },
    { "--event-bytes", "N", "an event as it is sent, unpacked (default: 1100); sizes on disk and wire follow" },
    { "--retention-days", "N", "of rows in the warehouse (default: 365)" },
    { "--set", "NAME=VALUE", "another value of a number that is reckoned with; may be given many times" },
    { "--costs", "FILE", "other values of several: {\"capture_us\": 3.1, ...}" },
    { "--measure", NULL, "see how quick this machine is beside that of the measurements (a second), and reckon with it" },
    FLAG_JSON, FLAG_END,
};
static const struct command_flag flags_upgrade[] = {
    FLAG_DATA,
    { "--binary", "PATH", "the new program (default: what lies where the running one was started from)" },
    FLAG_END,
};
static const struct command_flag flags_json[] = { FLAG_JSON, FLAG_END };
static const struct command_flag flags_none[] = { FLAG_END };
static const struct command_flag flags_sql[] = {
    FLAG_DATA,
    { "--format", "csv|json|table", "form of the result (default: table)" },
    FLAG_JSON, FLAG_END,
};
static const struct command_flag flags_token_create[] = {
    FLAG_DATA,
    { "--token", "VALUE", "take this one, such as the token that your SDKs already have (default: a random one)" },
    { "--project", "ID|NAME", "the project that it belongs to (default: the first)" },
    { "--secret", NULL, "for servers alone: events that come with it carry $verified" },
    FLAG_JSON, FLAG_END,
};
static const struct command_flag flags_project[] = {
    FLAG_DATA,
    { "--project", "ID|NAME", "which one (default: the first)" },
    FLAG_JSON, FLAG_END,
};
static const struct command_flag flags_restrict_list[] = {
    FLAG_DATA,
    { "--project", "ID|NAME", "only those of this one (default: of all)" },
    FLAG_JSON, FLAG_END,
};
static const struct command_flag flags_restrict_add[] = {
    FLAG_DATA,
    { "--project", "ID|NAME", "whose events (default: the first)" },
    { "--token", "TOKEN", "only events that came with this token" },
    { "--distinct-id", "ID", "only events of this distinct id" },
    { "--event", "NAME", "only events of this name" },
    { "--uuid", "UUID", "only the event with this uuid" },
    { "--property", "KEY=VALUE", "filter only: only events with this property; VALUE is JSON, or else text" },
    FLAG_JSON, FLAG_END,
};
#define FLAGS_QUOTA                                                                                             \
    { "--project", "ID|NAME", "whose (default: the first)" },                                                   \
    { "--token", "TOKEN", "only what comes with this token (default: all of the project's)" }
static const struct command_flag flags_quota_set[] = {
    FLAG_DATA, FLAGS_QUOTA,
    { "--until", "TIME", "2026-02-03T04:05:06Z, or how long from now: 90m, 24h, 30d" },
    FLAG_END,
};
static const struct command_flag flags_quota_remove[] = { FLAG_DATA, FLAGS_QUOTA, FLAG_END };
static const struct command_flag flags_limit_set[] = {
    FLAG_DATA, FLAGS_QUOTA,
    { "--burst", "N", "token only: so many events at once after a pause (default: ten times EVENTS)" },
    FLAG_END,
};
static const struct command_flag flags_log_dump[] = {
    FLAG_DATA,
    { "--from", "OFFSET", "first offset (default: the oldest that is kept)" },
    { "--count", "N", "stop after N records" },
    { "--hex", NULL, "print every record's bytes in hexadecimal, without reading them" },
    FLAG_END,
};
static const struct command_flag flags_config_show[] = {
    FLAG_DATA,
    { "--listen", "ADDRESS", "as for serve" },
    FLAG_JSON, FLAG_END,
};
static const struct command_flag flags_config_explain[] = {
    { "--page", NULL, "print docs/config.md" },
    FLAG_END,
};
#define FLAGS_LETTERS                                                                                           \
    { "--reason", "TAG", "only those with this reason" },                                                       \
    { "--since", "TIME", "only those that failed since: 2026-02-03T04:05:06Z, or 90m, 24h, 7d ago" }
#define FLAG_STATE(def) { "--state", "open|replayed|discarded|all", "only those in this state (default: " def ")" }
static const struct command_flag flags_dlq_list[] = {
    FLAG_DATA, FLAGS_LETTERS, FLAG_STATE("open"),
    { "--limit", "N", "at most N letters; 0: all (default: 100)" },
    { "--json", NULL, "print JSON, one object a line" },
    FLAG_END,
};
static const struct command_flag flags_dlq_download[] = {
    FLAG_DATA, FLAGS_LETTERS, FLAG_STATE("all"),
    { "--limit", "N", "at most N letters; 0: all (default: all)" },
    FLAG_END,
};
static const struct command_flag flags_dlq_edit[] = {
    FLAG_DATA,
    { "--set", "FILE", "take the repaired event from FILE instead of an editor; - is stdin" },
    FLAG_END,
};
static const struct command_flag flags_dlq_replay[] = {
    FLAG_DATA,
    { "--all", NULL, "every open letter that the filters let through, instead of one" },
    FLAGS_LETTERS,
    { "--yes", NULL, "do not ask before --all" },
    { "--rate", "N", "at most N events a second (default: 100)" },
    { "--token", "TOKEN", "project token (default: the letter's own)" },
    { "--url", "URL", "where to (default: the server that runs on the data folder)" },
    FLAG_JSON, FLAG_END,
};

const struct command commands[] = {
    { "serve", "", 0, 0, "run the pipeline: capture, ingest and load, each kept alive",
      "A first start in an empty folder makes a project and a token and prints how to send an event.\n"
      "SIGTERM or Ctrl-C stops it: what is in flight is finished, at most 30 s; twice: at once. A role that\n"
      "dies is started again; every role may be killed at any time without losing an accepted event.\n"
      "SIGHUP reads the configuration again, as `penstock reload` does. TLS certificates are renewed by themselves.",
      "penstock serve\npenstock serve --data /var/lib/penstock --listen 0.0.0.0:8000\npenstock serve --role capture",
      flags_serve, serve_run },
    { "send", "[EVENT]", 0, 1, "send an event to the running server",
      "Prints the server's answer. With --file a body in any form of the capture API: one event, an array,\n"
      "or {\"api_key\", \"batch\"}.",
      "penstock send signup --distinct-id ada --property plan=pro --property seats=3\n"
      "penstock send --file batch.json\nprintf '{\"event\":\"x\",\"distinct_id\":\"1\"}' | penstock send --file -",
      flags_send, send_run },
    { "tail", "", 0, 0, "print events as they are finished, one JSON object a line", "",
      "penstock tail\npenstock tail --from start --count 10\npenstock tail --topic dead_letters --from start",
      flags_tail, tail_run },
    { "trace", "UUID", 1, 1, "the story of one event: when it came, what was changed, where it is or why it is not",
      "UUID is the event's own (`uuid` in the request; `SELECT uuid FROM events`). Each step with its time; what the\n"
      "properties lost and gained; its person; warnings; each time that the same id came again. docs/trace.md.",
      "penstock trace 0190a6c8-9f5e-7c3a-b6f1-2f0d6c1a9e55\n"
      "penstock trace 0190a6c8-9f5e-7c3a-b6f1-2f0d6c1a9e55 --json", flags_trace, trace_run },
    { "sql", "QUERY", 1, 1, "ask the warehouse, while the server runs or while it does not",
      "Tables: events, persons, person_distinct_ids, groups, heatmaps, event_definitions, property_definitions,\n"
      "event_properties, ingestion_warnings, dead_letters, receipts. Their columns: docs/sql.md, or DESCRIBE events.\n"
      "One statement that reads; writing is refused.",
      "penstock sql \"SELECT event, count(*) FROM events GROUP BY 1\"\n"
      "penstock sql \"SELECT properties->>'$.plan' AS plan FROM events\" --format csv\n"
      "penstock sql \"SELECT * FROM dead_letters\" --format json", flags_sql, sql_run },
    { "compare", "LEFT RIGHT", 2, 2, "two topics of Kafka, or two files of messages: what is missing, twice, or differs",
      "A side is kafka://HOST:PORT[,HOST:PORT]/TOPIC, or a file with a message a line, its value alone or as\n"
      "{\"key\":..,\"headers\":{..},\"value\":\"..\"}; - is stdin. Records are joined by token or team_id, and uuid (persons, ids and\n"
      "groups by theirs), and compared member by member, into JSON that stands in strings, with their keys (kafka.key) and headers\n"
      "(kafka.headers.NAME) where both sides have them. Exit code 0: the same; 1: not.\n"
      "docs/replace-posthog.md.",
      "penstock compare kafka://old:9092/clickhouse_events_json kafka://new:9092/clickhouse_events_json\n"
      "penstock compare old.jsonl new.jsonl --ignore 'properties.$geoip_*' --json", flags_compare, compare_run },
    { "plan", "", 0, 0, "what so many events a month need: machines, partitions, brokers, disks, network, money",
      "Of a cluster on Kafka, PostgreSQL and ClickHouse. Every number that it reckons with is printed, with the measurement that it\n"
      "comes from, or that it is assumed; prices and machines are yours to set. docs/scale.md goes through two examples by hand.",
      "penstock plan --events-per-month 5e9\n"
      "penstock plan --events-per-month 1e12 --retention-days 90 --set peak_factor=2 --set core_year=200 --json", flags_plan, plan_run },
    { "status", "", 0, 0, "what became of every accepted event, how the roles are, what is free",
      "accepted = stored + dropped + deduplicated + dead-lettered + pending, exactly, always; in all, and with --by\n"
      "for each project and each hour of acceptance. What the fates mean: docs/fates.md.",
      "penstock status\npenstock status --by project\npenstock status --by project,hour --check --json", flags_status,
      status_run },
    { "dlq list", "", 0, 0, "dead letters: events that could not be processed, with the reason",
      "N, the UUID or the JSON field \"letter\" names a letter for the other dlq commands.",
      "penstock dlq list\npenstock dlq list --reason req_parsing --since 24h\npenstock dlq list --state all --limit 0 --json",
      flags_dlq_list, dlq_list_run },
    { "dlq show", "UUID|N", 1, 1, "all that is known of a dead letter, and its data", "",
      "penstock dlq show 1042\npenstock dlq show 0190a6c8-9f5e-7c3a-b6f1-2f0d6c1a9e55 --json", flags_data_json,
      dlq_show_run },
    { "dlq edit", "UUID|N", 1, 1, "repair a dead letter in $EDITOR; its original bytes stay beside it", "",
      "penstock dlq edit 1042\npenstock dlq edit 1042 --set repaired.json", flags_dlq_edit, dlq_edit_run },
    { "dlq replay", "[UUID|N]", 0, 1, "send a dead letter, repaired or as it was, to the running server",
      "It keeps its token, its uuid and its time of arrival. Replaying twice stores one event: the uuid is the same.",
      "penstock dlq replay 1042\npenstock dlq replay --reason crashed --all --yes --rate 20", flags_dlq_replay,
      dlq_replay_run },
    { "dlq discard", "UUID|N", 1, 1, "put a dead letter away: it is open no more; its row stays", "",
      "penstock dlq discard 1042", flags_data, dlq_discard_run },
    { "dlq download", "", 0, 0, "print dead letters with their data, one JSON object a line", "",
      "penstock dlq download > letters.ndjson\npenstock dlq download --reason req_parsing --state open",
      flags_dlq_download, dlq_download_run },
    { "token list", "", 0, 0, "the tokens that SDKs may send with", "", "penstock token list\n"
      "penstock token list --json", flags_data_json, token_list_run },
    { "token create", "", 0, 0, "make a token, or take the one that your SDKs have", "",
      "penstock token create\npenstock token create --token phc_the_one_in_my_apps", flags_token_create,
      token_create_run },
    { "token revoke", "TOKEN", 1, 1, "refuse events with this token from now on", "",
      "penstock token revoke phc_the_old_one", flags_data, token_revoke_run },
    { "project list", "", 0, 0, "the projects", "", "penstock project list\npenstock project list --json",
      flags_data_json, project_list_run },
    { "project show", "[ID|NAME]", 0, 1, "a project's settings, and what each may be",
      "Without ID or NAME the first project.", "penstock project show\npenstock project show shop --json",
      flags_data_json, project_show_run },
    { "project create", "NAME", 1, 1, "make a project; give it a token then",
      "", "penstock project create shop\npenstock token create --project shop", flags_data_json, project_create_run },
    { "project set", "KEY=VALUE...", 1, 64, "change settings of a project; a running server follows at once",
      "All of the settings that are named are taken, or none when one of them is wrong.\n"
      "`penstock project show` tells every KEY and what its VALUE may be.",
      "penstock project set anonymize_ips=true\npenstock project set --project shop time_zone=Europe/Berlin retention_days=400",
      flags_project, project_set_run },
    { "restrict list", "", 0, 0, "what is done with some events, whatever they say themselves", "",
      "penstock restrict list\npenstock restrict list --project shop --json", flags_restrict_list, restrict_list_run },
    { "restrict add", "ACTION", 1, 1, "drop, set aside or slow down some of a project's events",
      "ACTION is one of\n"
      "  drop          the event is not taken; what was accepted before is dropped, blocked_token\n"
      "  dead_letter   the event becomes a dead letter, restricted_to_dlq; it can be replayed later\n"
      "  overflow      the event goes the overflow lane from the start\n"
      "  skip_persons  no person is looked up, created or changed\n"
      "  filter        the event is unwanted: dropped, event_filtered; needs --event or --property\n"
      "All conditions that are given must hold. Of several restrictions drop goes before dead_letter, and that\n"
      "before the others.",
      "penstock restrict add drop --token phc_leaked\npenstock restrict add skip_persons --distinct-id bot\n"
      "penstock restrict add filter --event '$pageview' --property '$host=localhost'", flags_restrict_add, restrict_add_run },
    { "restrict remove", "ID", 1, 1, "take a restriction away",
      "ID is the number that `penstock restrict list` shows.", "penstock restrict remove 3", flags_data,
      restrict_remove_run },
    { "quota list", "", 0, 0, "which quotas are used up, and until when", "",
      "penstock quota list\npenstock quota list --project shop --json", flags_restrict_list, quota_list_run },
    { "quota set", "RESOURCE", 1, 1, "take no more of a resource until a time; a running server follows at once",
      "RESOURCE is one of\n"
      "  exceptions  events named $exception\n"
      "  surveys     survey sent, survey shown and survey dismissed, unless they belong to a product tour\n"
      "  llm_events  events whose name begins with $ai_\n"
      "  events      all other events\n"
      "  recordings  what comes to /s\n"
      "What is not taken is answered as if it were (200), is not stored and is counted in the metric\n"
      "capture_events_dropped_total. A quota that is there already gets the new time.",
      "penstock quota set events --until 2026-03-01T00:00:00Z\n"
      "penstock quota set recordings --project shop --token phc_mobile --until 24h", flags_quota_set, quota_set_run },
    { "quota remove", "RESOURCE", 1, 1, "take a resource again", "",
      "penstock quota remove events\npenstock quota remove recordings --project shop --token phc_mobile", flags_quota_remove,
      quota_remove_run },
    { "limit list", "", 0, 0, "which rates are limited", "",
      "penstock limit list\npenstock limit list --project shop --json", flags_restrict_list, limit_list_run },
    { "limit set", "KIND EVENTS", 2, 2, "take so many events in a time; a running server follows at once",
      "KIND is one of\n"
      "  token        EVENTS a second of all tokens of the project together, or of the one that --token names. A request\n"
      "               above it is answered 429 with Retry-After (503 to browsers, whose SDK sends again only then)\n"
      "  distinct_id  EVENTS a minute of any one distinct id. Those above it are stored without a person, in the\n"
      "               overflow lane; none is refused",
      "penstock limit set token 500 --burst 20000\npenstock limit set distinct_id 300000 --project shop", flags_limit_set,
      limit_set_run },
    { "limit remove", "KIND", 1, 1, "limit a rate no more", "",
      "penstock limit remove token\npenstock limit remove distinct_id --project shop", flags_quota_remove, limit_remove_run },
    { "person show", "ID_OR_UUID", 1, 1, "a person, its properties and distinct ids, as ingest knows them",
      "ID_OR_UUID is a distinct id, or the person's uuid (which is looked for among all persons).",
      "penstock person show alice@example.com\npenstock person show --project shop alice --json", flags_person,
      person_show_run },
    { "person delete", "ID_OR_UUID", 1, 1, "delete a person and its distinct ids; with --with-events, erase it",
      "The request waits for ingest.undo_window (24 h unless set) and can be taken back until then; --now does not wait.\n"
      "Whoever uses one of the distinct ids again gets a new person. What became of a request: the table receipts.",
      "penstock person delete alice@example.com\npenstock person delete --with-events --now alice@example.com",
      flags_person_delete, person_delete_run },
    { "person undelete", "REQUEST", 1, 1, "take a deletion back that is not due yet",
      "REQUEST is the number that `penstock person delete` printed; `penstock person show` tells it too.",
      "penstock person undelete 12", flags_person, person_undelete_run },
    { "person split", "ID_OR_UUID ID", 2, 1000, "give some of a person's distinct ids a person of their own",
      "Each ID leaves the person, and gets a person of its own without properties. The distinct id that the person's uuid\n"
      "was made of stays where it is. Events of before stay with the person that they were stored with.",
      "penstock person split alice@example.com kiosk-7 kiosk-8", flags_person, person_split_run },
    { "log info", "", 0, 0, "topics, how much is in them, how far their readers are", "",
      "penstock log info\npenstock log info --json", flags_data_json, log_info_run },
    { "log verify", "[TOPIC]", 0, 1, "read everything and check every sum; exit code 1 when anything is damaged", "",
      "penstock log verify\npenstock log verify raw --json", flags_data_json, log_verify_run },
    { "log dump", "TOPIC", 1, 1, "print a topic's records, one JSON object a line", "",
      "penstock log dump raw --count 5\npenstock log dump events --from 1000 --count 1\n"
      "penstock log dump raw --hex", flags_log_dump, log_dump_run },
    { "retention confirm", "", 0, 0, "say that the clock is right and time has passed, so that old data go",
      "When the clock jumps forward, or the machine was off, retention of the log goes by the time in which the machine ran, and what\n"
      "became due by the jump waits an hour. This ends that: what is old by the clock goes within seconds, and cannot be brought back.\n"
      "Look at the clock first. `penstock status` says what is held.",
      "penstock retention confirm\npenstock retention confirm --data /var/lib/penstock", flags_data_json, retention_confirm_run },
    { "warehouse rebuild", "", 0, 0, "build the warehouse anew from the log, while events go on being accepted",
      "For a warehouse that is damaged, or that somebody changed. The old file is kept beside the new one, under another name. What\n"
      "the log has no more (ingest.output_retention) would be missing in the new one: then --partial is needed. Queries\n"
      "are answered meanwhile, from what is there already; `penstock status` tells how much is to come.",
      "penstock warehouse rebuild\npenstock warehouse rebuild --yes --wait", flags_warehouse_rebuild, warehouse_rebuild_run },
    { "warehouse ddl", "", 0, 0, "print the tables at ClickHouse as statements",
      "For those who make tables themselves, or want to see them: the loader makes what is missing (docs/clickhouse.md). With\n"
      "kafka-engine ClickHouse reads PostHog's topics itself, as its own installation does; rows may then come twice.",
      "penstock warehouse ddl --form cluster --cluster main --database posthog | clickhouse-client -n", flags_warehouse_ddl,
      warehouse_ddl_run },
    { "doctor", "", 0, 0, "check this machine, the data folder and the running server; say what to do",
      "Exit code 1 when a line says fail.", "penstock doctor\npenstock doctor --data /var/lib/penstock --json",
      flags_data_json, doctor_run },
    { "reload", "", 0, 0, "have the running server read its configuration again",
      "The new settings come into force whole or not at all, without a request refused: roles whose settings changed are made\n"
      "anew, capture beside the one that serves. Exit code 1, with the reason, when the old settings stay. The same: SIGHUP.",
      "penstock reload\npenstock reload --data /var/lib/penstock", flags_data, reload_run },
    { "upgrade", "", 0, 0, "have the running server go on as another binary",
      "The new binary is tried first, then takes over sockets and roles; the process id stays. When it crashes, hangs or refuses\n"
      "the configuration the old one goes on. Exit code 1, with the reason. The same, for the path it was started from: SIGUSR2.",
      "penstock upgrade\npenstock upgrade --binary /usr/local/bin/penstock-new --data /var/lib/penstock", flags_upgrade, upgrade_run },
    { "cage", "", 0, 0, "try on this machine what capture must not be able to do",
      "Capture, which reads what strangers send, locks itself in when it starts. Each line is one thing that a capture in\n"
      "other hands would try, done for real by a process in the same cage over a small log of its own in $TMPDIR.\n"
      "Exit code 1 when a line says fail.", "penstock cage\npenstock cage --config /etc/penstock.yaml",
      flags_config_show, cage_run },
    { "config check", "FILE", 1, 1, "read a configuration file and say all that is wrong, with line and column",
      "Also the certificates and keys of addresses that say tls, and whether the data folder can be written, are looked at: run it on the\n"
      "machine, and as the user, that will serve.",
      "penstock config check penstock.yaml", flags_none, config_check_run },
    { "config show", "", 0, 0, "every setting, its value, and where that came from", "",
      "penstock config show\npenstock config show --config penstock.yaml --json", flags_config_show, config_show_run },
    { "config explain", "[KEY]", 0, 1, "what a key does, its default, its limits", "",
      "penstock config explain capture\npenstock config explain listen", flags_config_explain, config_explain_run },
    { "completions", "bash|zsh", 1, 1, "print a completion script for a shell", "",
      "penstock completions bash > ~/.local/share/bash-completion/completions/penstock\n"
      "penstock completions zsh > ~/.zfunc/_penstock", flags_none, completions_run },
    { "version", "", 0, 0, "print the version", "", "penstock version\npenstock version --json", flags_json,
      version_run },
    { 0 },
};
