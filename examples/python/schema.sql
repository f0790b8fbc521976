-- The state of consumer.py: the latest version of every row, the ids of the events seen, and where to go on reading.
CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS positions (place TEXT PRIMARY KEY, next INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS latest (
    system TEXT, account TEXT, stream TEXT, record TEXT, -- which row; an id is unique within its stream only
    revision INTEGER, terminal INTEGER, has_left INTEGER,
    channel TEXT, status TEXT, word TEXT, created TEXT, observed TEXT,
    node TEXT, -- of webhook calls
    done TEXT, -- when a text message was reported, or else sent
    PRIMARY KEY (system, account, stream, record)
);
