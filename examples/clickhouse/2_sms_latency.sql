-- How many seconds does the delivery of a text message take?
WITH arraySort(groupArray(dateDiff('second', created, assumeNotNull(done)))) AS seconds
SELECT
    account,
    count() AS delivered,
    -- Percentiles of the nearest rank: the least value that so many percent do not exceed.
    seconds[intDiv(50 * delivered + 99, 100)] AS p50,
    seconds[intDiv(90 * delivered + 99, 100)] AS p90,
    seconds[intDiv(99 * delivered + 99, 100)] AS p99
FROM latest
WHERE channel = 'sms' AND status = 'delivered' AND done IS NOT NULL
GROUP BY account
ORDER BY account;
