/* ingest/heatmap.h - where people point, click and how far they scroll: `$heatmap_data` as rows of their own.
 *
 * Browsers send it with other events and as `$$heatmap` events. Either way it leaves the event's properties and
 * becomes rows of `heatmaps`, places and sizes divided by HEATMAP_SCALE: what is asked is where on a page, not
 * who, and a row an item is what that question needs. A `$$heatmap` event has no other row. */
#ifndef PENSTOCK_INGEST_HEATMAP_H
#define PENSTOCK_INGEST_HEATMAP_H

#include "base/span.h"

enum { HEATMAP_SCALE = 16 };

struct heatmap_point {
    struct span url, type; /* text */
    int64_t     x, y;      /* divided by HEATMAP_SCALE */
    bool        fixed;     /* what was pointed at does not scroll with the page */
};

struct heatmap {
    int64_t               viewport_width, viewport_height; /* divided by HEATMAP_SCALE */
    struct span           session_id;                      /* text; "undefined": none */
    size_t                count, room;
    struct heatmap_point *points;
};

#endif
