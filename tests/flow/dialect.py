"""The tests' questions are in DuckDB's SQL. What ClickHouse writes otherwise, of what the tests use, is translated here; names of
tables and columns, epoch_us() and make_timestamp() are the same in both (docs/clickhouse.md)."""
import re

RULES = [
    # A member of JSON text, as text; a number's digits as they are.
    (re.compile(r"([\w.]+)->>'\$\.\"?([^'\"]+)\"?'"),
     r"multiIf(JSONType(\1, '\2') = 'String', JSONExtractString(\1, '\2'), JSONType(\1, '\2') = 'Null', NULL, JSONExtractRaw(\1, '\2'))"),
    (re.compile(r"\bmd5\(string_agg\((.*?), '' ORDER BY (\w+)\)\)"),
     r"lower(hex(MD5(arrayStringConcat(arrayMap(x -> x.2, arraySort(groupArray((\2, \1))))))))"),
    (re.compile(r"\bt::VARCHAR\b"), "toString(tuple(t.*))"),
    (re.compile(r"\bstrlen\("), "length("),
    (re.compile(r"\* EXCLUDE \("), "* EXCEPT ("),
    (re.compile(r"^FROM "), "SELECT * FROM "),
]


def clickhouse(query):
    for pattern, by in RULES:
        query = pattern.sub(by, query)
    return query
