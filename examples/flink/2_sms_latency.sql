-- How many seconds does the delivery of a text message take?
-- Percentiles of the nearest rank: the least value that so many percent do not exceed.
SELECT
    account,
    MAX(messages) AS delivered,
    MIN(seconds) FILTER (WHERE place * 100 >= messages * 50) AS p50,
    MIN(seconds) FILTER (WHERE place * 100 >= messages * 90) AS p90,
    MIN(seconds) FILTER (WHERE place * 100 >= messages * 99) AS p99
FROM (
    SELECT
        account, seconds,
        ROW_NUMBER() OVER (PARTITION BY account ORDER BY seconds) AS place,
        COUNT(*) OVER (PARTITION BY account) AS messages
    FROM (
        SELECT account, TIMESTAMPDIFF(SECOND, created, done) AS seconds
        FROM latest
        WHERE channel = 'sms' AND status = 'delivered' AND done IS NOT NULL
    )
)
GROUP BY account
ORDER BY account;
