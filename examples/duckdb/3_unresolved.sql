-- Which messages are unresolved?
SELECT
    strftime(created AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') AS created,
    account, stream, record, status, provider_status
FROM latest
WHERE NOT terminal AND NOT has_left
ORDER BY latest.created, account, record;
