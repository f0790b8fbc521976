-- Which messages are unresolved?
SELECT strftime('%Y-%m-%dT%H:%M:%SZ', created) AS created, account, stream, record, status, word AS provider_status
FROM latest
WHERE NOT terminal AND NOT has_left
ORDER BY latest.created, account, record;
