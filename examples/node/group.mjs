// The lesson on consumer groups of the new protocol (KIP-848) with Platformatic's client: two members share a topic, one
// leaves, a third goes on where they stopped.

import { Admin, Consumer, Producer, stringDeserializers, stringSerializers } from "@platformatic/kafka";

const PARTITIONS = 4;
const DEADLINE_MS = 60_000;

async function main(bootstrap, topic) {
  const bootstrapBrokers = [bootstrap];
  const groupId = `group-of-${topic}`;
  const admin = new Admin({ clientId: "lesson", bootstrapBrokers });
  await admin.createTopics({ topics: [topic], partitions: PARTITIONS, replicas: 1 });

  const first = await join(bootstrapBrokers, groupId, topic);
  const second = await join(bootstrapBrokers, groupId, topic);
  await until("two partitions each", () => first.held() === 2 && second.held() === 2);

  await write(bootstrapBrokers, topic, 0, 400);
  await until("400 records", () => first.values.size + second.values.size === 400);

  // Who leaves has committed what it read, and hands its partitions over at once.
  await leave(second);
  await until("all partitions", () => first.held() === PARTITIONS);
  await leave(first);

  // A new member begins where the others stopped.
  await write(bootstrapBrokers, topic, 400, 40);
  const third = await join(bootstrapBrokers, groupId, topic);
  await until("40 records", () => third.values.size === 40);
  for (const value of third.values) check(Number(value) >= 400, `${value} was read twice`);
  await leave(third);

  await admin.deleteGroups({ groups: [groupId] });
  await admin.deleteTopics({ topics: [topic] });
  await admin.close();
  console.log("440 records shared by 3 members");
}

/** A member that remembers what it has read, and commits each record. */
async function join(bootstrapBrokers, groupId, topic) {
  const consumer = new Consumer({
    clientId: "lesson",
    bootstrapBrokers,
    groupId,
    groupProtocol: "consumer",
    deserializers: stringDeserializers,
  });
  const stream = await consumer.consume({ topics: [topic], mode: "committed", fallbackMode: "earliest", maxWaitTime: 100 });
  const values = new Set();
  const held = () => (consumer.assignments ?? []).reduce((sum, { partitions }) => sum + partitions.length, 0);
  const reading = (async () => {
    for await (const message of stream) {
      check(!values.has(message.value), `${message.value} only once`);
      values.add(message.value);
      await message.commit();
    }
  })();
  return { consumer, stream, values, held, reading };
}

async function leave(member) {
  await member.stream.close();
  await member.reading;
  await member.consumer.close();
}

async function write(bootstrapBrokers, topic, from, count) {
  const producer = new Producer({ clientId: "lesson", bootstrapBrokers, serializers: stringSerializers });
  const messages = Array.from({ length: count }, (_, at) => {
    const number = from + at;
    return { topic, partition: number % PARTITIONS, key: "", value: String(number) };
  });
  await producer.send({ messages });
  await producer.close();
}

async function until(what, holds) {
  const deadline = Date.now() + DEADLINE_MS;
  while (!holds()) {
    check(Date.now() < deadline, `expected ${what} before the deadline`);
    await new Promise((next) => setTimeout(next, 20));
  }
}

function check(holds, what) {
  if (!holds) throw new Error(what);
}

const [bootstrap, topic] = process.argv.slice(2);
main(bootstrap, topic).catch((error) => {
  console.error(error);
  process.exit(1);
});
