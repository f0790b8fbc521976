"""Runs the SQL files of this folder in ClickHouse, embedded as chDB, which needs no server.

    python run.py file events.ndjson events.ndjson.0*
    python run.py kafka 127.0.0.1:9092 delivery.events VERSIONS

chDB reads a Kafka table when it is asked to, but does not feed materialized views from it in the background, as a server
does. So with kafka the SELECT of that view is run from here, until the topic's VERSIONS row versions have arrived.
"""

import sys
import time
from pathlib import Path

from chdb import session

here = Path(__file__).parent


def statements(name):
    return [s for s in (here / name).read_text(encoding="utf-8").split(";\n") if s.strip()]


def from_files(db, *paths):
    for path in paths:
        db.query(
            f"""INSERT INTO arrivals
            SELECT JSONExtractString(line, 'id'), JSONExtractRaw(line, 'data') FROM file('{path}', 'LineAsString')
            WHERE NOT startsWith(JSONExtractString(line, 'type'), 'delivery.deadletter') -- which lie in the same file"""
        )


def from_kafka(db, brokers, topic, versions):
    table, view = statements("kafka.sql")
    try:
        db.query(table.replace("{brokers}", brokers).replace("{topic}", topic).replace("{group}", f"clickhouse-example-{time.time_ns()}"))
    except RuntimeError as error:  # the table is there, only nothing runs in the background
        if "Shutdown was called" not in str(error):
            raise
    select = view.partition(" AS\n")[2]
    deadline = time.monotonic() + 60
    while int(str(db.query("SELECT count() FROM versions FINAL", "TSV"))) < versions:
        if time.monotonic() > deadline:
            sys.exit(f"fewer than {versions} versions arrived within a minute")
        db.query(f"INSERT INTO arrivals {select} SETTINGS stream_like_engine_allow_direct_select = 1")


def main():
    source, *args = sys.argv[1:]
    db = session.Session()
    for statement in statements("tables.sql"):
        db.query(statement)
    if source == "file":
        from_files(db, *args)
    else:
        from_kafka(db, args[0], args[1], int(args[2]))
    print(db.query("SELECT 'ClickHouse ' || version()", "TSVRaw"), file=sys.stderr)
    for path in sorted(here.glob("[0-9]_*.sql")):
        query = path.read_text(encoding="utf-8")
        print("==", query.splitlines()[0].removeprefix("-- "))
        print(db.query(query.rstrip().rstrip(";"), "TSVWithNames"), end="")
    db.close()


main()
