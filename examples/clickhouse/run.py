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
    select = view.partition(" AS\n")[2]
    deadline = time.monotonic() + 180
    arrived = 0
    while arrived < versions:
        if time.monotonic() > deadline:
            sys.exit(f"{arrived} versions arrived within three minutes, not {versions}")
        # A SELECT ends when nothing comes for half a second, maybe before the end: then from the beginning, as a new group.
        group = f"clickhouse-example-{time.time_ns()}"
        try:
            db.query(table.replace("{brokers}", brokers).replace("{topic}", topic).replace("{group}", group))
        except RuntimeError as error:  # the table is there, only nothing runs in the background
            if "Shutdown was called" not in str(error):
                raise
        db.query(f"INSERT INTO arrivals {select} SETTINGS stream_like_engine_allow_direct_select = 1")
        db.query("DROP TABLE events_queue")
        arrived = int(str(db.query("SELECT count() FROM versions FINAL", "TSV")))


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
