/* command/config_stores.h - the keys that choose the backends of the four stores, and what must hold between them.
 *
 * One key alone is checked when it is set; that Kafka has brokers, or PostgreSQL a URL, only when all of them are there. */
#ifndef PENSTOCK_COMMAND_CONFIG_STORES_H
#define PENSTOCK_COMMAND_CONFIG_STORES_H

#include "command/config.h"

/* At the offsets of struct config. */
extern const struct option store_options[];

/* Each of these keys may stand in the environment, too: PENSTOCK_PEOPLE_URL is people.url. It goes over the file. */
int config_stores_environment(struct config *config, struct err *err) must_check;

/* ERR_INPUT: a backend without what it needs, or settings that contradict each other; names the keys. */
int config_stores_check(const struct config *config, struct err *err) must_check;

/* Whether a key of the stores: a change of one concerns every role. */
bool config_store_key(const struct config_value *value);
/* Whether a change of this key means another store, with other data in it. */
bool config_store_choice(const struct config_value *value);

/* The path in DIR/run/config; false: the server here was started without one, or never. */
bool config_file_of_server(const char *data, char *to, size_t room);

/* What the commands work with: the settings of the server of this data folder. --config FILE of the command when it has one;
 * else what the running server has (DIR/run/stores.yaml); else the file that the last one was started with (DIR/run/config names it), else
 * DIR/penstock.yaml, else the defaults. Read once a
 * process. */
/* Of command_main: the --config of the command, NULL without one. Borrowed. */
void command_stores_file(const char *path);
int command_stores(const char *data, const struct stores **out, struct err *err) must_check;

#endif
