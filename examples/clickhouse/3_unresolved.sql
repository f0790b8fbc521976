-- Which messages are unresolved?
SELECT
    formatDateTime(created, '%Y-%m-%dT%H:%i:%SZ') AS created,
    account, stream, record, status, provider_status
FROM latest
WHERE NOT terminal AND NOT has_left
ORDER BY latest.created, account, record;
