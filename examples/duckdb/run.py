"""Runs the SQL files of this folder over the output of the file sink:

    python run.py events.ndjson events.ndjson.0*

The duckdb command line does the same:

    duckdb -cmd "SET VARIABLE events = 'events.ndjson'" -cmd ".read events.sql" -f 1_failure_rate.sql
"""

import sys
from pathlib import Path

import duckdb

here = Path(__file__).parent
db = duckdb.connect()
db.execute("SET VARIABLE events = ?", [sys.argv[1:]])
db.execute((here / "events.sql").read_text(encoding="utf-8"))
for path in sorted(here.glob("[0-9]_*.sql")):
    query = path.read_text(encoding="utf-8")
    result = db.execute(query)
    print("==", query.splitlines()[0].removeprefix("-- "))
    for row in [[column[0] for column in result.description], *result.fetchall()]:
        print("  ".join(str(cell) for cell in row))
