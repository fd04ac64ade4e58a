"""The reference: what a careful reader of the accepted events would have written down.

Small, slow, one event after the other, everything in dictionaries. It is written from docs/ingest.md's rules and
shares nothing with the C code; random histories and whole runs are compared with it (tests/flow, tests/soak).
Values are raw JSON text all the way, as in Penstock: {key: text}.

    fold = Fold(team=1)
    fold.event(distinct_id, name, properties_text, uuid, timestamp, top_set=..., top_set_once=...)
    fold.persons, fold.links, fold.groups, fold.rows, fold.points, fold.warnings
"""
import datetime
import json
import math
import os
import sys
import uuid as uuids

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "flow"))
import rawjson

PERSON_NAMESPACE = uuids.UUID("932979b4-65c3-4424-8467-0b66ec27bc22")

MOBILE = "$app_build $app_name $app_namespace $app_version".split()
WEB = ("$browser $browser_version $device_type $current_url $pathname $os $os_name $os_version $referring_domain "
       "$referrer $screen_height $screen_width $viewport_height $viewport_width $raw_user_agent").split()
CAMPAIGN = ("utm_source utm_medium utm_campaign utm_content utm_name utm_term gclid gad_source gclsrc dclid gbraid "
            "wbraid fbclid msclkid twclid li_fat_id mc_cid igshid ttclid rdt_cid irclid _kx epik qclid sccid").split()
COPIED = MOBILE + WEB + CAMPAIGN

FILTERED = set(
    "$current_url $pathname $referring_domain $referrer $screen_height $screen_width $viewport_height $viewport_width "
    "$browser $browser_version $device_type $raw_user_agent $os $os_name $os_version".split()
    + ["$geoip_" + name for name in (
        "postal_code time_zone latitude longitude accuracy_radius subdivision_1_code subdivision_1_name "
        "subdivision_2_code subdivision_2_name subdivision_3_code subdivision_3_name city_confidence country_confidence "
        "postal_code_confidence subdivision_1_confidence subdivision_2_confidence").split()])

ANY_CASE = {"anonymous", "guest", "distinctid", "distinct_id", "id", "not_authenticated", "email", "undefined", "true", "false"}
EXACT_CASE = {"[object Object]", "NaN", "None", "none", "null", "0", "undefined"}

MERGES = ("$identify", "$create_alias", "$merge_dangerously")
PERSON_EVENTS = MERGES + ("$set",)
NO_UPDATE = ("$exception",)


def is_illegal(distinct_id):
    if distinct_id.strip() == "" or "\0" in distinct_id or len(distinct_id) > 400:
        return True
    for quote in ("", "'", '"'):
        inner = distinct_id
        if quote:
            if len(inner) < 2 or inner[0] != quote or inner[-1] != quote:
                continue
            inner = inner[1:-1]
        if inner.lower() in ANY_CASE or inner in EXACT_CASE:
            return True
    return False


def truthy(raw):
    """JavaScript's idea of it, for a value given as JSON text; None: absent."""
    if raw is None or raw in ("null", "false", '""'):
        return False
    return json.loads(raw) != 0 if raw[0] in "-0123456789" else True


def text_of(raw):
    """A JSON value as text: strings decoded, everything else as JSON."""
    value = json.loads(raw)
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def identical(a, b):
    """JavaScript's ===: never true for objects and arrays."""
    if a[0] in "{[" or b[0] in "{[":
        return False
    a, b = json.loads(a), json.loads(b)
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def as_object(raw):
    return rawjson.members(raw) if raw is not None and raw.startswith("{") else {}


def is_group_type(raw):
    return truthy(raw) and raw[0] not in "{["


def scaled(raw):
    """A sixteenth, half rounded up, as browsers round; None: it is no number."""
    value = json.loads(raw) if raw is not None else None
    return None if isinstance(value, bool) or not isinstance(value, (int, float)) else math.floor(value / 16 + 0.5)


def with_path(url, path):
    origin = url.split("://", 1)[1].split("/", 1)[0].split("?", 1)[0].split("#", 1)[0]
    behind = next((url[i:] for i in range(url.index("://") + 3, len(url)) if url[i] in "?#"), "")
    return url.split("://", 1)[0] + "://" + origin + ("" if path.startswith("/") else "/") + path + behind


def points_of(props, warnings, uuid):
    """The points of an event's pages, as (type, x, y, fixed, url); None: they are of no use."""
    data = as_object(props.get("$heatmap_data"))
    scrolled = truthy(props.get("$prev_pageview_pathname")) and truthy(props.get("$current_url"))
    if not data and not scrolled:
        return []
    if scaled(props.get("$viewport_height")) is None or scaled(props.get("$viewport_width")) is None:
        return None
    points = []
    for url, items in data.items():
        if url.strip() == "" or not items.startswith("["):
            warnings.append(("rejecting_heatmap_data_with_invalid_" + ("url" if url.strip() == "" else "items"), uuid))
            continue
        for item in map(as_object, rawjson.elements(items)):
            x, y, type_ = scaled(item.get("x")), scaled(item.get("y")), item.get("type", "null")
            if x is not None and y is not None and type_.startswith('"'):
                points.append((json.loads(type_), x, y, item.get("target_fixed") == "true", url))
    if scrolled:
        url, path, y = props["$current_url"], props["$prev_pageview_pathname"], scaled(props.get("$prev_pageview_max_scroll"))
        if not url.startswith('"') or not path.startswith('"') or "://" not in json.loads(url):
            warnings.append(("invalid_heatmap_data", uuid))
        elif y is not None:
            points.append(("scrolldepth", 0, y, False, with_path(json.loads(url), json.loads(path))))
    return points


class Person:
    def __init__(self, team, distinct_id, created):
        self.uuid = str(uuids.uuid5(PERSON_NAMESPACE, "%d:%s" % (team, distinct_id)))
        self.created, self.identified, self.properties = created, False, {}


class Fold:
    def __init__(self, team=1):
        self.team = team
        self.links = {}       # distinct id -> Person
        self.group_types = [] # by index
        self.groups = {}      # (index, key) -> {"properties": {...}, "created": t}
        self.rows = {}        # uuid -> row, first wins
        self.points = []      # of heatmaps: (type, x, y, fixed, url, viewport's height, width, session, distinct id, uuid or None)
        self.pages = set()    # uuids of $$heatmap events: first wins
        self.warnings = []    # (type, uuid)

    @property
    def persons(self):
        return {id(p): p for p in self.links.values()}.values()

    def ids_of(self, person):
        return {d for d, p in self.links.items() if p is person}

    # --- one event -----------------------------------------------------------------------------

    def event(self, distinct_id, name, properties, uuid, timestamp, top_set=None, top_set_once=None):
        if uuid in self.rows or uuid in self.pages:
            return
        props = rawjson.members(properties) if properties else {}
        points = points_of(props, self.warnings, uuid)
        if points is None or is_illegal(distinct_id) and points:
            if name == "$$heatmap":
                return
            points = []  # the event itself has done nothing wrong
            self.warnings.append(("invalid_heatmap_data", uuid))
        session = text_of(props["$session_id"]) if props.get("$session_id", "null") != "null" else "undefined"
        screen = (scaled(props.get("$viewport_height")), scaled(props.get("$viewport_width")), session, distinct_id)
        self.points += [point + screen + (None,) for point in points]
        if name == "$$heatmap":  # which is points of pages, and nobody's event; the last one carries its id
            if points:
                self.pages.add(uuid)
                self.points[-1] = self.points[-1][:-1] + (uuid,)
            return
        personless = props.get("$process_person_profile") == "false"
        asks_for_flag = name == "$feature_flag_called" and props.get("$process_person_profile") != "true"
        if asks_for_flag and not as_object(props.get("$groups")) and distinct_id not in self.links:
            personless = True  # a question for a flag makes nobody
        if name in MERGES:
            for key, type_ in (("$anon_distinct_id", "invalid_anon_distinct_id"), ("alias", "invalid_alias")):
                if props.get(key, "null")[0] not in 'n"':
                    self.warnings.append((type_, uuid))
                    return
        if personless and name in MERGES:
            self.warnings.append(("invalid_event_when_process_person_profile_is_false", uuid))
            return
        sets, set_once, unset = self.person_changes(name, props, top_set, top_set_once, personless)
        if name == "survey shown" and not personless:
            at = datetime.datetime.fromtimestamp(timestamp, datetime.timezone.utc)
            sets.setdefault("$survey_last_seen_date", '"%s"' % at.strftime("%Y-%m-%dT%H:%M:%SZ"))
        numbered = {}  # `$group_N` of the row
        if personless:
            row = self.personless(distinct_id, timestamp)
            if name == "$groupidentify" and is_group_type(props.get("$group_type")) and props.get("$group_set", "null") != "null":
                self.group_index(text_of(props["$group_type"])) # its type is known from now on, and no more
        else:
            person = self.decide(distinct_id, name, props, uuid, timestamp, sets, set_once)
            after = self.update(person, name, sets, set_once, unset, uuid)
            row = {"person_id": person.uuid, "person_properties": after, "mode": "full", "identified": person.identified}
            numbered = self.groups_named(props)
            row["group"] = self.group_changes(name, props, timestamp)
        row.update(distinct_id=distinct_id, event=name[:200], numbered=numbered)
        self.rows[uuid] = row

    def person_changes(self, name, props, top_set, top_set_once, personless):
        if personless or name == "$groupidentify":
            return {}, {}, []
        sets, once = as_object(props.get("$set")), as_object(props.get("$set_once"))
        sets.update(as_object(top_set))
        once.update(as_object(top_set_once))
        copied = COPIED if name != "$snapshot" else []
        server = props.get("$is_server") == "true"
        alias = copied and props.get("$os_name", "null") != "null" and not server # of $os, where that is absent or null
        if alias and props.get("$os", "null") == "null":
            props = dict(props, **{"$os": props["$os_name"]})
        for key in copied:
            if key not in props or (server and key in ("$os", "$os_version")) or (key == "$os_name" and alias):
                continue
            sets.setdefault(key, props[key])
            once.setdefault("$initial_" + (key[1:] if key.startswith("$") else key), props[key])
        if alias:
            sets.pop("$os_name", None)
            once.pop("$initial_os_name", None)
        raw = props.get("$unset", "[]")
        if raw.startswith("{"):
            unset = list(rawjson.members(raw))
        else:
            unset = [json.loads(x) for x in rawjson.elements(raw) if x.startswith('"')] if raw.startswith("[") else []
        return sets, once, unset

    def personless(self, distinct_id, timestamp):
        person = self.links.get(distinct_id)
        if person is None:
            fresh = Person(self.team, distinct_id, None)
            return {"person_id": fresh.uuid, "person_properties": {}, "mode": "propertyless"}
        upgraded = timestamp > person.created + 60
        return {"person_id": person.uuid, "person_properties": {}, "mode": "force_upgrade" if upgraded else "propertyless"}

    # --- who it was ----------------------------------------------------------------------------

    def create(self, ids, timestamp):
        person = Person(self.team, ids[0], timestamp)
        for distinct_id in ids:
            self.links[distinct_id] = person
        person.fresh = True
        return person

    def decide(self, distinct_id, name, props, uuid, timestamp, sets, set_once):
        other = None
        if name == "$identify" and "$anon_distinct_id" in props:
            other = text_of(props["$anon_distinct_id"])
        elif name in ("$create_alias", "$merge_dangerously") and truthy(props.get("alias")):
            other = text_of(props["alias"])
        if other is None or other == distinct_id:
            return self.links.get(distinct_id) or self.create([distinct_id], timestamp)
        if is_illegal(distinct_id) or is_illegal(other):
            self.warnings.append(("cannot_merge_with_illegal_distinct_id", uuid))
            return self.links.get(distinct_id) or self.create([distinct_id], timestamp)
        person = self.merge(distinct_id, other, name, uuid, timestamp)
        person.identified = True
        return person

    def merge(self, target_id, source_id, name, uuid, timestamp):
        target, source = self.links.get(target_id), self.links.get(source_id)
        if target is None and source is None:
            return self.create([target_id, source_id], timestamp)
        if target is None:
            self.links[target_id] = source
            return source
        if source is None:
            self.links[source_id] = target
            return target
        if source is target:
            return target
        if source.identified and name != "$merge_dangerously":
            self.warnings.append(("cannot_merge_already_identified", uuid))
            return target
        for key, value in source.properties.items():
            target.properties.setdefault(key, value)
        target.created = min(target.created, source.created)
        for distinct_id, person in list(self.links.items()):
            if person is source:
                self.links[distinct_id] = target
        return target

    def update(self, person, name, sets, set_once, unset, uuid):
        """Applies an event's property changes; gives what the event's row shows."""
        fresh, person.fresh = getattr(person, "fresh", False), False
        if fresh:
            person.properties = dict(set_once, **sets)
            person.properties["$creator_event_uuid"] = json.dumps(uuid)
            return dict(person.properties, **sets) # $unset takes only what was there before
        if name in NO_UPDATE:
            return dict(person.properties, **sets)
        after, changed, filled = dict(person.properties), set(), set()
        for key, value in set_once.items():
            if key not in person.properties or (person.properties[key] == "null" and value != "null"):
                after[key] = value
                filled.add(key) # absent, or null, which counts as absent
        for key, value in sets.items():
            if key not in person.properties or not identical(person.properties[key], value):
                after[key] = value
                changed.add(key)
                filled.discard(key) # $set decides about it
        removed = [key for key in unset if key in person.properties]
        for key in removed:
            after.pop(key, None)
        new = filled or any(key not in person.properties for key in changed)
        if name in PERSON_EVENTS or new or removed or any(key not in FILTERED for key in changed):
            person.properties = after
        # Otherwise only page-by-page facts changed: the event's row shows them, the person is not written.
        return dict(person.properties, **sets)

    # --- groups --------------------------------------------------------------------------------

    def group_index(self, group_type):
        if group_type in self.group_types:
            return self.group_types.index(group_type)
        if len(self.group_types) == 5:
            return None
        self.group_types.append(group_type)
        return len(self.group_types) - 1

    def groups_named(self, props):
        """Each type that is named has an index, whatever its key; five have."""
        named = {self.group_index(group_type): key for group_type, key in as_object(props.get("$groups")).items()}
        return {"$group_%d" % index: key for index, key in named.items() if index is not None}

    def group_changes(self, name, props, timestamp):
        """The index of the group that was changed; None: none was."""
        if name != "$groupidentify" or not is_group_type(props.get("$group_type")) or not truthy(props.get("$group_key")):
            return None
        given = props.get("$group_set", "null")
        if given != "null" and not given.startswith("{"):
            return None
        index = self.group_index(text_of(props["$group_type"]))
        if index is None:
            return None
        group = self.groups.setdefault((index, text_of(props["$group_key"])), {"properties": {}, "created": timestamp})
        group["properties"].update(as_object(given))
        return index
