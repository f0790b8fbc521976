-- What is the latest version of every row of the logs?
-- Before this, set the variable "events" to the file of the file sink, or to a list that also has those it put away:
-- SET VARIABLE events = ['events.ndjson', 'events.ndjson.000001'];

-- One row per event. The same version of a row has the same id always: drop what is repeated.
CREATE OR REPLACE VIEW versions AS
SELECT DISTINCT ON (id)
    id,
    data.source.system AS system,
    data.source.account AS account,
    data.source.stream AS stream,
    data.record.id AS record,
    data.record.revision AS revision, -- absent in some replays
    data.record.terminal AS terminal,
    coalesce(data.record."left", false) AS has_left,
    data.channel AS channel,
    data.status AS status,
    data.providerStatus AS provider_status,
    data.createdAt AS created,
    data.observedAt AS observed,
    data.webhook.nodeName AS node,
    coalesce(data.sms.reportedAt, data.sms.sentAt) AS done
FROM read_ndjson(
    getvariable('events'),
    -- Name the fields you use. Others, and those that later 1.x versions add, are not read.
    columns = {
        id: 'VARCHAR',
        type: 'VARCHAR',
        data: 'STRUCT(
            source STRUCT(system VARCHAR, account VARCHAR, stream VARCHAR),
            record STRUCT(id VARCHAR, revision INTEGER, terminal BOOLEAN, "left" BOOLEAN),
            channel VARCHAR, status VARCHAR, providerStatus VARCHAR, createdAt TIMESTAMPTZ, observedAt TIMESTAMPTZ,
            webhook STRUCT(nodeName VARCHAR),
            sms STRUCT(sentAt TIMESTAMPTZ, reportedAt TIMESTAMPTZ)
        )'
    }
)
WHERE NOT starts_with(type, 'delivery.deadletter'); -- dead letters lie in the same file

-- The latest version of every row, by revision. Only a replay of long past versions lacks it, which shows the row as it is
-- then: it counts as the latest. An id is unique within the stream of an account only. A row that left says nothing of
-- node and time: take the latest that is known.
CREATE OR REPLACE VIEW latest AS
SELECT
    v.* REPLACE (
        last_value(node IGNORE NULLS) OVER history AS node,
        last_value(done IGNORE NULLS) OVER history AS done
    )
FROM versions AS v
WINDOW history AS (
    PARTITION BY system, account, stream, record
    ORDER BY revision NULLS LAST, observed
    ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
)
QUALIFY row_number() OVER (PARTITION BY system, account, stream, record ORDER BY revision DESC NULLS FIRST, observed DESC) = 1;
