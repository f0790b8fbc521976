-- How many seconds does the delivery of a text message take?
-- Percentiles of the nearest rank: the least value that so many percent do not exceed.
WITH delivered AS (
    SELECT account, TIMESTAMPDIFF(SECOND, created, done) AS seconds, COUNT(*) AS messages
    FROM latest
    WHERE channel = 'sms' AND status = 'delivered' AND done IS NOT NULL
    GROUP BY account, TIMESTAMPDIFF(SECOND, created, done)
),
places AS (
    SELECT
        d.account, d.seconds,
        SUM(o.messages) FILTER (WHERE o.seconds <= d.seconds) AS place,
        SUM(o.messages) AS messages
    FROM delivered AS d
    JOIN delivered AS o ON o.account = d.account
    GROUP BY d.account, d.seconds
)
SELECT
    account,
    MAX(messages) AS delivered,
    MIN(seconds) FILTER (WHERE place * 100 >= messages * 50) AS p50,
    MIN(seconds) FILTER (WHERE place * 100 >= messages * 90) AS p90,
    MIN(seconds) FILTER (WHERE place * 100 >= messages * 99) AS p99
FROM places
GROUP BY account
ORDER BY account
LIMIT 10000;
