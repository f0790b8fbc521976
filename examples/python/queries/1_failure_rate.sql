-- Which share of the logged calls has failed, by node and hour?
SELECT
    strftime('%Y-%m-%dT%H:00Z', created) AS hour,
    coalesce(node, '-') AS node,
    count(*) AS calls,
    sum(status = 'failed') AS failed,
    sum(has_left) AS "left", -- no longer in the provider's log: nobody can say what became of them
    round(100.0 * sum(status = 'failed') / count(*), 1) AS failed_percent
FROM latest
WHERE channel = 'webhook'
GROUP BY 1, 2
ORDER BY 1, 2;
