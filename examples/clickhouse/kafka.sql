-- How do events get from Kafka into ClickHouse?
-- Replace {brokers}, {topic} and {group}. The consumer that ClickHouse is built with reads committed
-- events only, unless isolation_level is set in the server's <kafka> section. ClickHouse stores offsets after it stored the
-- events: after a crash events may arrive again, with the ids that they had.
CREATE TABLE events_queue (body String)
ENGINE = Kafka
SETTINGS
    kafka_broker_list = '{brokers}',
    kafka_topic_list = '{topic}',
    kafka_group_name = '{group}',
    kafka_format = 'RawBLOB';

CREATE MATERIALIZED VIEW take_from_kafka TO arrivals AS
SELECT _headers.value[indexOf(_headers.name, 'ce_id')] AS id, body
FROM events_queue;
