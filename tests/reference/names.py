"""The reference for names: what stored events, one after the other, tell about the names that a project uses (docs/ingest.md, Names).

    names = Names()
    names.event(name, properties_text, group_index)
    names.events, names.properties, names.pairs
"""
import json
import re

PASSED_OVER = {"$set", "$set_once", "$unset", "$groups"} | {"$group_%d" % i for i in range(5)}
HALF_YEAR_S = 15768000
TIME_WORDS = ("time", "date", "_at", "-at", "createdat", "updatedat")
MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
CLOCK = r"\d{2}:\d{2}:\d{2}(\.\d+)?"
DATES = [re.compile(pattern + r"\Z") for pattern in (
    r"\d{4}-\d{2}-\d{2}[Tt ]" + CLOCK + r"([Zz]|[+-]\d{2}:\d{2})",                                      # RFC 3339
    r"((Mon|Tue|Wed|Thu|Fri|Sat|Sun), )?\d{1,2} (" + MONTHS + r") \d{4} \d{2}:\d{2}(:\d{2})? ([+-]\d{4}|GMT|UT|UTC)",  # RFC 2822
    r"\d{4}[-/][0-2]\d[-/][0-3]\d([T ][0-2]\d:[0-6]\d:[0-6]\d.*)?",  # by the look of it: vector I02
    r"[0-2]\d[-/][0-3]\d[-/]\d{4}([T ][0-2]\d:[0-6]\d:[0-6]\d.*)?")]


def looks_like_a_date(text):
    return any(pattern.match(text.strip()) for pattern in DATES)


def type_of(name, value, now_s):
    """The type that a value tells, by the first rule that says something; None: none."""
    lower = name.lower()
    if lower.startswith(("utm_", "$initial_utm_", "$feature/", "$survey_response")) or lower == "$feature_flag_response":
        return "String"
    recent = isinstance(value, int) and not isinstance(value, bool) and value >= now_s - HALF_YEAR_S
    if any(word in lower for word in TIME_WORDS) and (recent or (isinstance(value, str) and looks_like_a_date(value))):
        return "DateTime"
    if isinstance(value, str):
        if value.strip() in ("true", "false", "TRUE", "FALSE"):
            return "Boolean"
        return "DateTime" if looks_like_a_date(value) else "String"
    if isinstance(value, bool):
        return "Boolean"
    return "Numeric" if isinstance(value, (int, float)) else None


class Names:
    def __init__(self, now_s):
        self.now_s, self.events, self.pairs = now_s, set(), set()
        self.properties = {}  # (name, parent: 1 event, 2 person, 3 group; index of its type, or -1) -> type; the first one stays

    def event(self, name, properties, group_index):
        """properties: of the stored event. group_index: of the group that a $groupidentify changes; None: none."""
        members = json.loads(properties)
        self.events.add(name)
        if name == "$groupidentify":
            if group_index is not None:
                self.tell(3, group_index, members.get("$group_set"))
            return
        own = {key: value for key, value in members.items() if key not in PASSED_OVER}
        self.pairs |= {(name, key) for key in own if not key.startswith(("$feature/", "$feature_enrollment/"))}
        self.tell(1, -1, own)
        self.tell(2, -1, members.get("$set"))
        self.tell(2, -1, members.get("$set_once"))

    def tell(self, parent, group, members):
        for name, value in (members if isinstance(members, dict) else {}).items():
            key = (name, parent, group)
            self.properties[key] = self.properties.get(key) or type_of(name, value, self.now_s)
