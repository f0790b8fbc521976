-- What is the latest version of every row of the logs?

-- One row per event. ReplacingMergeTree drops events with the same id when it merges parts, and FINAL does when a query
-- asks for it: the same version of a row has the same id always, and so the same sorting key.
CREATE TABLE versions
(
    id String,
    system LowCardinality(String),
    account LowCardinality(String),
    stream LowCardinality(String),
    record String, -- unique within the stream of an account only
    revision UInt16, -- 65535: absent, see below
    terminal Bool,
    has_left Bool,
    channel LowCardinality(String),
    status LowCardinality(String),
    provider_status LowCardinality(String),
    created DateTime64(3, 'UTC'),
    observed DateTime64(9, 'UTC'),
    node Nullable(String),
    done Nullable(DateTime64(3, 'UTC')) -- when a text message was reported, or else sent
)
ENGINE = ReplacingMergeTree
ORDER BY (system, account, stream, record, id);

-- Events as they arrive. Whatever is inserted here is taken apart and put into the table above; nothing is kept here.
CREATE TABLE arrivals (id String, body String) ENGINE = Null;

-- Fields that are not named here, and those that later 1.x versions add, are not read. Only a replay of long past
-- versions lacks the revision, which shows the row as it is then: it counts as the latest.
CREATE MATERIALIZED VIEW take_apart TO versions AS
SELECT
    id,
    JSONExtractString(body, 'source', 'system') AS system,
    JSONExtractString(body, 'source', 'account') AS account,
    JSONExtractString(body, 'source', 'stream') AS stream,
    JSONExtractString(body, 'record', 'id') AS record,
    if(JSONHas(body, 'record', 'revision'), JSONExtractUInt(body, 'record', 'revision'), 65535) AS revision,
    JSONExtractBool(body, 'record', 'terminal') AS terminal,
    JSONExtractBool(body, 'record', 'left') AS has_left,
    JSONExtractString(body, 'channel') AS channel,
    JSONExtractString(body, 'status') AS status,
    JSONExtractString(body, 'providerStatus') AS provider_status,
    parseDateTime64BestEffort(JSONExtractString(body, 'createdAt'), 3, 'UTC') AS created,
    parseDateTime64BestEffort(JSONExtractString(body, 'observedAt'), 9, 'UTC') AS observed,
    JSONExtract(body, 'webhook', 'nodeName', 'Nullable(String)') AS node,
    coalesce(
        parseDateTime64BestEffortOrNull(JSONExtractString(body, 'sms', 'reportedAt'), 3, 'UTC'),
        parseDateTime64BestEffortOrNull(JSONExtractString(body, 'sms', 'sentAt'), 3, 'UTC')
    ) AS done
FROM arrivals;

-- The latest version of every row. A row that left says nothing of node and time: argMax passes over what is NULL, and so
-- takes the latest that is known.
CREATE VIEW latest AS
SELECT
    system, account, stream, record,
    argMax(terminal, (revision, observed)) AS terminal,
    argMax(has_left, (revision, observed)) AS has_left,
    any(channel) AS channel,
    argMax(status, (revision, observed)) AS status,
    argMax(provider_status, (revision, observed)) AS provider_status,
    any(created) AS created,
    argMax(node, (revision, observed)) AS node,
    argMax(done, (revision, observed)) AS done
FROM versions FINAL
GROUP BY system, account, stream, record;
