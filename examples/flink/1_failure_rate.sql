-- Which share of the logged calls has failed, by node and hour?
SELECT
    DATE_FORMAT(created, 'yyyy-MM-dd''T''HH:00''Z''') AS `hour`,
    COALESCE(node, '-') AS node,
    COUNT(*) AS calls,
    COUNT(*) FILTER (WHERE status = 'failed') AS failed,
    COUNT(*) FILTER (WHERE has_left) AS `left`, -- no longer in the provider's log: nobody can say what became of them
    ROUND(100.0 * COUNT(*) FILTER (WHERE status = 'failed') / COUNT(*), 1) AS failed_percent
FROM latest
WHERE channel = 'webhook'
GROUP BY DATE_FORMAT(created, 'yyyy-MM-dd''T''HH:00''Z'''), COALESCE(node, '-')
ORDER BY `hour`, node
LIMIT 10000;
