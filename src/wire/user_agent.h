/* wire/user_agent.h - what a User-Agent header says of browser and system, under the names that the browser SDKs of
 * the events use ("Mobile Safari", "Mac OS X", "Desktop").
 *
 * A guess by design: browsers name each other in these texts, so the order in which they are looked for is what
 * counts, and a text that names none gives none. Spans point into static text or into the text given. */
#ifndef PENSTOCK_WIRE_USER_AGENT_H
#define PENSTOCK_WIRE_USER_AGENT_H

#include "base/span.h"

struct user_agent {
    struct span browser;         /* bytes 0: not known; so for all */
    struct span browser_version; /* a number: `150`, `17.4` */
    struct span os;
    struct span os_version;      /* `10.15.7` (also when written `10_15_7`: then os_version_marked) */
    bool        os_version_marked; /* its parts are separated by `_` */
    struct span device_type;     /* Desktop, Mobile, Tablet */
};

void user_agent_read(struct span text, struct user_agent *out);

#endif
