-- What is the latest version of every row of the logs?
-- Replace {brokers} and {topic}. The questions want UTC as table.local-time-zone. In streaming mode they are sorted up to a LIMIT only.

CREATE TABLE events (
    headers MAP<STRING, BYTES> METADATA VIRTUAL,
    -- Name the fields you use. Others, and those that later 1.x versions add, are not read.
    `source` ROW<`system` STRING, account STRING, `stream` STRING>,
    `record` ROW<id STRING, revision INT, terminal BOOLEAN, `left` BOOLEAN>,
    channel STRING,
    `status` STRING,
    providerStatus STRING,
    createdAt TIMESTAMP_LTZ(3),
    observedAt TIMESTAMP_LTZ(9),
    webhook ROW<nodeName STRING>,
    sms ROW<sentAt TIMESTAMP_LTZ(3), reportedAt TIMESTAMP_LTZ(3)>
) WITH (
    'connector' = 'kafka',
    'properties.bootstrap.servers' = '{brokers}',
    'properties.isolation.level' = 'read_committed', -- else events of aborted transactions come, too
    'topic' = '{topic}',
    'scan.startup.mode' = 'earliest-offset',
    'scan.bounded.mode' = 'latest-offset', -- leave this out, in streaming mode, for answers that follow the topic
    'format' = 'json',
    'json.timestamp-format.standard' = 'ISO-8601'
);

-- One row per event: the same version of a row has the same id always.
CREATE TEMPORARY VIEW versions AS
SELECT *
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY observed DESC) AS copy
    FROM (
        SELECT
            CAST(headers['ce_id'] AS STRING) AS id,
            `source`.`system` AS `system`,
            `source`.account AS account,
            `source`.`stream` AS `stream`,
            record.id AS record,
            COALESCE(record.revision, 2147483647) AS revision, -- absent in a replay of long past versions: the latest
            record.terminal AS terminal,
            COALESCE(record.`left`, FALSE) AS has_left,
            channel,
            status,
            providerStatus AS provider_status,
            createdAt AS created,
            observedAt AS observed,
            webhook.nodeName AS node,
            COALESCE(sms.reportedAt, sms.sentAt) AS done
        FROM events
    )
)
WHERE copy = 1;

-- The latest version of every row. An id is unique within the stream of an account only. A row that left says nothing of
-- node and time: take what was shown last.
CREATE TEMPORARY VIEW latest AS
SELECT
    l.account, l.`stream`, l.record, l.terminal, l.has_left, l.channel, l.status, l.provider_status, l.created, s.node, s.done
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY `system`, account, `stream`, record ORDER BY revision DESC, observed DESC) AS age
    FROM versions
) AS l
LEFT JOIN (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY `system`, account, `stream`, record ORDER BY revision DESC, observed DESC) AS age
    FROM versions
    WHERE NOT has_left
) AS s ON l.`system` = s.`system` AND l.account = s.account AND l.`stream` = s.`stream` AND l.record = s.record AND s.age = 1
WHERE l.age = 1;
