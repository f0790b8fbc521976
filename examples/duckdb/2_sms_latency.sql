-- How many seconds does the delivery of a text message take?
SELECT
    account,
    count(*) AS delivered,
    quantile_disc(date_diff('second', created, done), 0.5) AS p50,
    quantile_disc(date_diff('second', created, done), 0.9) AS p90,
    quantile_disc(date_diff('second', created, done), 0.99) AS p99
FROM latest
WHERE channel = 'sms' AND status = 'delivered' AND done IS NOT NULL
GROUP BY account
ORDER BY account;
