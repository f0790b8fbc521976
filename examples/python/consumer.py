"""A consumer of delivery events that keeps its state in a SQLite file.

    python consumer.py --state state.db kafka 127.0.0.1:9092 --topic delivery.events
    python consumer.py --state state.db nats nats://127.0.0.1:4222 --stream DELIVERY
    python consumer.py --state state.db print

Each run reads from where the last one ended to the present end of the topic or stream, then prints the answers to three
questions. What was read, and up to where, is one transaction: after a crash nothing is missing and nothing counts twice.
"""

import argparse
import asyncio
import json
import sqlite3
import sys
from pathlib import Path

BATCH = 500  # events of one transaction


class State:
    """The latest version of every row, the ids of the events seen, and where to go on reading."""

    def __init__(self, path):
        self.db = sqlite3.connect(path, isolation_level=None)  # transactions are written out below
        self.db.executescript(Path(__file__).with_name("schema.sql").read_text(encoding="utf-8"))
        self.upsert = Path(__file__).with_name("upsert.sql").read_text(encoding="utf-8")
        self.new = self.repeated = 0

    def positions(self):
        """Return the next position of each place that was read before: a Kafka partition, or a NATS stream."""
        return dict(self.db.execute("SELECT place, next FROM positions"))

    def commit(self, messages, positions):
        """Take in (id, body) messages and the positions after them, all or nothing."""
        new = repeated = 0
        self.db.execute("BEGIN IMMEDIATE")
        try:
            for event_id, body in messages:
                if self.db.execute("INSERT OR IGNORE INTO seen VALUES (?)", (event_id,)).rowcount == 0:
                    repeated += 1  # the same version of the row has the same id always
                    continue
                new += 1
                self._apply(json.loads(body))
            self.db.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?)", positions.items())
            self.db.execute("COMMIT")
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.new += new
        self.repeated += repeated

    def _apply(self, event):
        # Read only what is used. Fields that later 1.x versions add are ignored.
        source, record = event["source"], event["record"]
        webhook, sms = event.get("webhook", {}), event.get("sms", {})
        self.db.execute(
            self.upsert,
            {
                "system": source["system"],
                "account": source["account"],
                "stream": source["stream"],
                "record": record["id"],
                "revision": record.get("revision"),  # absent in some replays
                "terminal": record["terminal"],
                "has_left": record.get("left", False),
                "channel": event["channel"],
                "status": event["status"],
                "word": event["providerStatus"],
                "created": event["createdAt"],
                "observed": event["observedAt"],
                "node": webhook.get("nodeName"),
                "done": sms.get("reportedAt") or sms.get("sentAt"),
            },
        )


def read_kafka(state, brokers, topic):
    from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "unused",  # the client wants one; positions are kept in the state instead
            "enable.auto.commit": False,
            "isolation.level": "read_committed",  # else events of aborted transactions come, too
            "enable.partition.eof": True,  # tells when a partition was read to its end
            "auto.offset.reset": "earliest",
        }
    )
    try:
        known = state.positions()
        found = consumer.list_topics(topic, timeout=30).topics[topic]
        if found.error:
            raise KafkaException(found.error)
        unread = set(found.partitions)
        consumer.assign([TopicPartition(topic, p, known.get(f"{topic}/{p}", OFFSET_BEGINNING)) for p in unread])
        while unread:
            messages, positions = [], {}
            for m in consumer.consume(BATCH, timeout=1):
                if m.error() and m.error().code() == KafkaError._PARTITION_EOF:
                    unread.discard(m.partition())
                elif m.error():
                    raise KafkaException(m.error())
                else:
                    messages.append((dict(m.headers())["ce_id"].decode(), m.value()))
                    positions[f"{topic}/{m.partition()}"] = m.offset() + 1
            state.commit(messages, positions)
    finally:
        consumer.close()


async def read_nats(state, url, stream, subject):
    import nats
    from nats.js.api import ConsumerConfig, DeliverPolicy

    connection = await nats.connect(url)
    try:
        js = connection.jetstream()
        following = state.positions().get(stream, 1)
        subscription = await js.subscribe(
            subject,
            stream=stream,
            ordered_consumer=True,  # in order, without acknowledgements: the position is kept in the state
            config=ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=following),
        )
        info = await subscription.consumer_info()
        left = info.num_pending + info.delivered.consumer_seq  # not yet sent, and already on the way
        messages = []
        while left > 0:
            m = await subscription.next_msg(timeout=30)
            left -= 1
            messages.append((m.headers["ce-id"], m.data))
            if len(messages) == BATCH or left == 0:
                state.commit(messages, {stream: m.metadata.sequence.stream + 1})
                messages = []
    finally:
        await connection.close()


def answer(state):
    """Print what each file of queries/ asks, which its first line says."""
    for path in sorted(Path(__file__).with_name("queries").glob("*.sql")):
        query = path.read_text(encoding="utf-8")
        rows = state.db.execute(query)
        table = [[column[0] for column in rows.description], *([str(cell) for cell in row] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*table)]
        print("==", query.splitlines()[0].removeprefix("-- "))
        for row in table:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def main():
    parser = argparse.ArgumentParser(description="Reads delivery events and answers three questions.")
    parser.add_argument("--state", default="state.db", help="SQLite file of the state")
    commands = parser.add_subparsers(dest="command", required=True)
    kafka = commands.add_parser("kafka", help="read a Kafka topic, then print")
    kafka.add_argument("brokers")
    kafka.add_argument("--topic", default="delivery.events")
    nats = commands.add_parser("nats", help="read a JetStream stream, then print")
    nats.add_argument("url")
    nats.add_argument("--stream", default="DELIVERY")
    nats.add_argument("--subject", default="delivery.event.>", help="the stream also holds dead letters and the connector's checkpoint")
    commands.add_parser("print", help="only print")
    args = parser.parse_args()

    state = State(args.state)
    if args.command == "kafka":
        read_kafka(state, args.brokers, args.topic)
    elif args.command == "nats":
        asyncio.run(read_nats(state, args.url, args.stream, args.subject))
    print(f"{state.new} new events, {state.repeated} repeated", file=sys.stderr)
    answer(state)


if __name__ == "__main__":
    main()
