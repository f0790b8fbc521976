-- Which share of the logged calls has failed, by node and hour?
SELECT
    formatDateTime(toStartOfHour(created), '%Y-%m-%dT%H:00Z') AS hour,
    coalesce(node, '-') AS node,
    count() AS calls,
    countIf(status = 'failed') AS failed,
    countIf(has_left) AS left, -- no longer in the provider's log: nobody can say what became of them
    round(100 * failed / calls, 1) AS failed_percent
FROM latest
WHERE channel = 'webhook'
GROUP BY hour, node
ORDER BY hour, node;
