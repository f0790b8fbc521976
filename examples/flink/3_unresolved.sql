-- Which messages are unresolved?
SELECT
    DATE_FORMAT(created, 'yyyy-MM-dd''T''HH:mm:ss''Z''') AS created_at,
    account, `stream`, record, status, provider_status
FROM latest
WHERE NOT terminal AND NOT has_left
ORDER BY created_at, account, record
LIMIT 10000;
