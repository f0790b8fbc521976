-- Which share of the logged calls has failed, by node and hour?
SELECT
    strftime(created AT TIME ZONE 'UTC', '%Y-%m-%dT%H:00Z') AS hour,
    coalesce(node, '-') AS node,
    count(*) AS calls,
    count(*) FILTER (status = 'failed') AS failed,
    count(*) FILTER (has_left) AS "left", -- no longer in the provider's log: nobody can say what became of them
    round(100.0 * count(*) FILTER (status = 'failed') / count(*), 1) AS failed_percent
FROM latest
WHERE channel = 'webhook'
GROUP BY ALL
ORDER BY ALL;
