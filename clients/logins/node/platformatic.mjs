// One login with @platformatic/kafka: BOOTSTRAP MECHANISM USER SECRET CA, the last one empty where there is no TLS. Prints
// OK, or ERR and what the library says, the causes behind it too.
import { Admin } from '@platformatic/kafka';
import fs from 'node:fs';

const [bootstrap, mechanism, user, secret, ca] = process.argv.slice(2);
const byToken = { mechanism, token: secret };
const byPassword = { mechanism, username: user, password: secret };

function messages(error) {
  const causes = [...(error.errors ?? []), ...(error.cause ? [error.cause] : [])];
  return [error.message, ...causes.flatMap(messages)];
}

const admin = new Admin({
  clientId: 'logins',
  bootstrapBrokers: [bootstrap],
  sasl: mechanism === 'OAUTHBEARER' ? byToken : byPassword,
  tls: ca ? { ca: fs.readFileSync(ca) } : undefined,
  retries: 0,
  connectTimeout: 4000,
});
try {
  await admin.listTopics();
  console.log('OK');
} catch (e) {
  console.log('ERR', [...new Set(messages(e))].join(' <- '));
}
await admin.close().catch(() => {});
process.exit(0);
