// The minimal lesson with KafkaJS: create a topic, write to it, read it back as the only member of a group.

const { Kafka, logLevel } = require("kafkajs");

const COUNT = 1000;

async function main(bootstrap, topic) {
  const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR });
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: true });

  const producer = kafka.producer();
  await producer.connect();
  const messages = Array.from({ length: COUNT }, (_, number) => ({
    key: `key ${number}`,
    value: `value ${number}`,
    headers: { number: String(number) },
  }));
  await producer.send({ topic, messages });
  await producer.disconnect();

  const groupId = `group-of-${topic}`;
  await readAll(kafka, groupId, topic);
  const [committed] = await admin.fetchOffsets({ groupId, topics: [topic] });
  check(committed.partitions[0].offset === String(COUNT), `committed ${committed.partitions[0].offset}`);

  await admin.deleteGroups([groupId]);
  await admin.deleteTopics({ topics: [topic] });
  await admin.disconnect();
  console.log(`${COUNT} records written and read`);
}

async function readAll(kafka, groupId, topic) {
  const consumer = kafka.consumer({ groupId });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await new Promise((done, failed) => {
    let next = 0;
    const eachMessage = async ({ message }) => {
      try {
        check(message.offset === String(next), `offset ${message.offset} instead of ${next}`);
        check(message.value.toString() === `value ${next}`, `value of ${next}: ${message.value}`);
        check(message.headers.number.toString() === String(next), `header of ${next}`);
      } catch (error) {
        failed(error);
      }
      next += 1;
      if (next === COUNT) done();
    };
    consumer.run({ eachMessage }).catch(failed);
  });
  // Leaving commits what was read.
  await consumer.disconnect();
}

function check(holds, what) {
  if (!holds) throw new Error(what);
}

const [bootstrap, topic] = process.argv.slice(2);
main(bootstrap, topic).catch((error) => {
  console.error(error);
  process.exit(1);
});
