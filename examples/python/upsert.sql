-- Takes in one version of a row unless a later one is known. The revision decides; where it is absent, or the same, the
-- time at which the connector read the version does. A row that left says nothing of node and time: what is known stays.
INSERT INTO latest VALUES (
    :system, :account, :stream, :record, :revision, :terminal, :has_left,
    :channel, :status, :word, :created, :observed, :node, :done
)
ON CONFLICT DO UPDATE SET
    revision = coalesce(excluded.revision, revision), terminal = excluded.terminal, has_left = excluded.has_left,
    status = excluded.status, word = excluded.word, created = excluded.created, observed = excluded.observed,
    node = CASE WHEN excluded.has_left THEN node ELSE excluded.node END,
    done = CASE WHEN excluded.has_left THEN done ELSE excluded.done END
WHERE CASE
    WHEN excluded.revision <> revision THEN excluded.revision > revision
    ELSE julianday(excluded.observed) > julianday(observed)
END;
