// One login with KafkaJS: BOOTSTRAP MECHANISM USER SECRET CA, the last one empty where there is no TLS. Prints OK, or ERR
// and what the library says.
const { Kafka, logLevel } = require('kafkajs');
const fs = require('node:fs');

const [bootstrap, mechanism, user, secret, ca] = process.argv.slice(2);
const byToken = { mechanism: 'oauthbearer', oauthBearerProvider: async () => ({ value: secret }) };
const byPassword = { mechanism: mechanism.toLowerCase(), username: user, password: secret };

async function main() {
  const kafka = new Kafka({
    brokers: [bootstrap],
    sasl: mechanism === 'OAUTHBEARER' ? byToken : byPassword,
    ssl: ca ? { ca: [fs.readFileSync(ca)] } : undefined,
    retry: { retries: 0 },
    connectionTimeout: 4000,
    logLevel: logLevel.NOTHING,
  });
  const admin = kafka.admin();
  try {
    await admin.connect();
    await admin.listTopics();
    console.log('OK');
  } catch (e) {
    console.log('ERR', `${e.name}: ${e.message}`);
  }
  await admin.disconnect().catch(() => {});
  process.exit(0);
}

main();
