-- How many seconds does the delivery of a text message take?
WITH delivered AS (
    SELECT account, CAST(strftime('%s', done) AS INTEGER) - CAST(strftime('%s', created) AS INTEGER) AS seconds
    FROM latest
    WHERE channel = 'sms' AND status = 'delivered' AND done IS NOT NULL
),
ranked AS (
    SELECT account, seconds,
        row_number() OVER (PARTITION BY account ORDER BY seconds) AS place,
        count(*) OVER (PARTITION BY account) AS messages
    FROM delivered
)
-- Percentiles of the nearest rank: the least value that so many percent do not exceed.
SELECT account, max(messages) AS delivered,
    min(CASE WHEN place * 100 >= messages * 50 THEN seconds END) AS p50,
    min(CASE WHEN place * 100 >= messages * 90 THEN seconds END) AS p90,
    min(CASE WHEN place * 100 >= messages * 99 THEN seconds END) AS p99
FROM ranked
GROUP BY account
ORDER BY account;
