import { html, useLive, useState, useApp, api, bytes, Empty, Failed, Tag, Text, Dialog, Field, count, at, go, link, plain } from '../lib.js';

export function Security({ place }) {
  const tab = place.path[1] || 'users';
  return html`<div><div class="head"><h1>Users, ACLs and quotas</h1></div>
    <div class="tabs">${[['users', 'Users'], ['acls', 'ACLs'], ['quotas', 'Quotas']].map(([key, name]) => html`<a href=${link(['security', key])} aria-current=${key === tab ? 'page' : undefined}>${name}</a>`)}</div>
    ${tab === 'quotas' ? html`<${Quotas} />` : tab === 'acls' ? html`<${Acls} />` : html`<${Users} />`}</div>`;
}

function Users() {
  const { mayChange, say } = useApp();
  const { data, error, reload } = useLive('/users');
  const [ask, setAsk] = useState(null);
  const close = () => setAsk(null);
  return html`<div class="stack"><div class="row"><span class="dim grow">${data && (data.hasLogins ? 'Clients have to log in. These users may do so by SCRAM.' : 'No listener of this broker has a login yet: --user, --user-file or listeners with SASL_PLAINTEXT give it one.')}</span><button class="primary" disabled=${!mayChange} onClick=${() => setAsk({ add: true })}>Add user</button></div>
    <${Failed} error=${error} />
    ${data && (data.users.length === 0 ? html`<div class="panel"><${Empty} title="No users"><//></div>` : html`<div class="panel scroll"><table><thead><tr><th>User</th><th>Logs in by</th><th></th></tr></thead><tbody>${data.users.map(one => html`<tr key=${one.user}><td class="name"><${Text} of=${one.user} max=${100} /></td><td>${one.credentials.map(way => html`<${Tag}>${way.mechanism}<//> `)}</td>
      <td class="right nowrap"><button class="plain" disabled=${!mayChange} onClick=${() => setAsk({ add: true, user: one.user })}>New password</button><button class="plain" disabled=${!mayChange} onClick=${() => setAsk({ remove: one.user })}>Remove</button></td></tr>`)}</tbody></table></div>`)}
    ${ask?.add && html`<${PutUser} user=${ask.user} onClose=${close} onDone=${() => { say('The user may log in'); reload(); }} />`}
    ${ask?.remove && html`<${Dialog} title=${'Remove ' + plain(ask.remove) + '?'} submit="Remove" kind="danger" onClose=${close} onDone=${async () => { await api(at`/users/${ask.remove}`, { method: 'DELETE' }); say('The user is gone'); reload(); }}><p>Who is logged in stays so until the connection ends.</p><//>`}</div>`;
}

function PutUser({ user, onClose, onDone }) {
  const [fields, set] = useState({ user: user ?? '', password: '' });
  return html`<${Dialog} title=${user ? 'New password' : 'Add user'} submit="Set" onClose=${onClose} onDone=${async () => { await api('/users', { method: 'POST', body: fields }); onDone(); }}>
    <${Field} label="Name"><input name="user" required value=${fields.user} readonly=${!!user} autofocus=${!user} autocomplete="off" onInput=${event => set({ ...fields, user: event.target.value })} /><//>
    <${Field} label="Password" hint="for SCRAM-SHA-256 and SCRAM-SHA-512"><input name="password" type="password" required autocomplete="new-password" value=${fields.password} onInput=${event => set({ ...fields, password: event.target.value })} /><//><//>`;
}

const TYPES = ['topic', 'group', 'cluster', 'transactional-id', 'delegation-token', 'user'];
const OPERATIONS = ['all', 'read', 'write', 'create', 'delete', 'alter', 'describe', 'describe-configs', 'alter-configs', 'cluster-action', 'idempotent-write', 'create-tokens', 'describe-tokens', 'two-phase-commit'];
function Acls() {
  const { mayChange, say } = useApp();
  const { data, error, reload } = useLive('/acls');
  const [ask, setAsk] = useState(null);
  const close = () => setAsk(null);
  if (data && !data.hasAuthorizer) return html`<div class="panel"><${Empty} title="Everybody may do everything">This broker has no authorizer. Start it with <span class="mono">-c authorizer.class.name=…StandardAuthorizer</span> and super.users, and ACLs decide.<//></div>`;
  const remove = one => api('/acls/delete', { method: 'POST', body: one });
  return html`<div class="stack"><div class="row"><span class="dim grow">${data && count(data.acls.length) + ' ACLs'}</span><button class="primary" disabled=${!mayChange || !data} onClick=${() => setAsk({ add: true })}>Add ACL</button></div><${Failed} error=${error} />
    ${data && (data.acls.length === 0 ? html`<div class="panel"><${Empty} title="No ACLs">Only super users may do anything.<//></div>` : html`<div class="panel scroll"><table><thead><tr><th>Who</th><th>May</th><th>On</th><th>From</th><th></th></tr></thead><tbody>${data.acls.map(one => html`<tr><td class="name"><${Text} of=${one.principal} max=${100} /></td>
      <td><${Tag} kind=${one.permission === 'deny' ? 'bad' : 'good'}>${one.permission}<//> ${one.operation}</td><td class="wrap">${one.type} <b><${Text} of=${one.name} max=${120} /></b>${one.pattern === 'prefixed' ? html`<span class="dim">… and all that begin so</span>` : ''}</td><td class="mono">${plain(one.host)}</td>
      <td class="right"><button class="plain" disabled=${!mayChange} onClick=${() => setAsk({ remove: one })}>Remove</button></td></tr>`)}</tbody></table></div>`)}
    ${ask?.add && html`<${AddAcl} onClose=${close} onDone=${() => { say('The ACL holds'); reload(); }} />`}
    ${ask?.remove && html`<${Dialog} title="Remove this ACL?" submit="Remove" kind="danger" onClose=${close} onDone=${async () => { await remove(ask.remove); reload(); }}><p>${ask.remove.permission} ${plain(ask.remove.principal)} to ${ask.remove.operation} ${ask.remove.type} ${plain(ask.remove.name)}</p><//>`}</div>`;
}

function AddAcl({ onClose, onDone }) {
  const [fields, set] = useState({ principal: 'User:', permission: 'allow', operation: 'read', type: 'topic', name: '', pattern: 'literal', host: '*' });
  const input = (name, more) => html`<input name=${name} required value=${fields[name]} onInput=${event => set({ ...fields, [name]: event.target.value })} ...${more} />`;
  const select = (name, all) => html`<select name=${name} value=${fields[name]} onChange=${event => set({ ...fields, [name]: event.target.value })}>${all.map(one => html`<option value=${one} key=${one}>${one}</option>`)}</select>`;
  const send = async () => { const body = { ...fields }; if (body.type === 'cluster') { delete body.name; body.pattern = 'literal'; } await api('/acls', { method: 'POST', body }); onDone(); };
  return html`<${Dialog} wide title="Add ACL" submit="Add" onClose=${onClose} onDone=${send}>
    <div class="cols"><${Field} label="Who" hint="User:* is everybody">${input('principal', { autofocus: true })}<//><${Field} label="From" hint="an address, or *">${input('host')}<//><${Field} label="Permission">${select('permission', ['allow', 'deny'])}<//><${Field} label="Operation">${select('operation', OPERATIONS)}<//></div>
    <div class="cols"><${Field} label="On">${select('type', TYPES)}<//>${fields.type !== 'cluster' && [html`<${Field} key="name" label="Name" hint="* is every name">${input('name')}<//>`, html`<${Field} label="Pattern" key="pattern">${select('pattern', ['literal', 'prefixed'])}<//>`]}</div><//>`;
}

const KEYS = { producer_byte_rate: 'bytes written a second', consumer_byte_rate: 'bytes read a second', request_percentage: '% of a thread', controller_mutation_rate: 'partitions changed a second', connection_creation_rate: 'connections a second' };
const ENTITIES = { user: 'user', 'client-id': 'client', ip: 'address' };
const entityName = entity => entity.map(one => `${ENTITIES[one.type] ?? one.type} ${one.name === null ? '(all others)' : plain(one.name)}`).join(', ');
const amount = (key, value) => key.endsWith('byte_rate') ? bytes(value) + '/s' : `${count(value)} ${KEYS[key] ?? ''}`;
function Quotas() {
  const { mayChange, say } = useApp();
  const { data, error, reload } = useLive('/quotas');
  const [ask, setAsk] = useState(false);
  const remove = async (one, key) => { try { await api('/quotas', { method: 'POST', body: { entity: one.entity, quotas: { [key]: null } } }); say('The quota is gone'); reload(); } catch (problem) { say(problem.message, 'bad'); } };
  return html`<div class="stack"><div class="row"><span class="dim grow">Who is over a quota is answered at once and then not read for a while.</span><button class="primary" disabled=${!mayChange} onClick=${() => setAsk(true)}>Set quota</button></div><${Failed} error=${error} />
    ${data && (data.quotas.length === 0 ? html`<div class="panel"><${Empty} title="No quotas">Nobody is slowed down.<//></div>` : html`<div class="panel scroll"><table><thead><tr><th>Whose</th><th>Quota</th><th></th></tr></thead><tbody>${data.quotas.flatMap(one => Object.entries(one.quotas).map(([key, value]) => html`<tr key=${JSON.stringify(one.entity) + key}><td class="name">${entityName(one.entity)}</td><td>${amount(key, value)} <span class="faint mono">${key}</span></td><td class="right"><button class="plain" disabled=${!mayChange} onClick=${() => remove(one, key)}>Remove</button></td></tr>`))}</tbody></table></div>`)}
    ${ask && html`<${SetQuota} onClose=${() => setAsk(false)} onDone=${() => { say('The quota holds'); reload(); }} />`}</div>`;
}

function SetQuota({ onClose, onDone }) {
  const [fields, set] = useState({ type: 'client-id', name: '', key: 'producer_byte_rate', value: '' });
  const change = name => event => set({ ...fields, [name]: event.target.value });
  const send = async () => { await api('/quotas', { method: 'POST', body: { entity: [{ type: fields.type, name: fields.name || null }], quotas: { [fields.key]: Number(fields.value) } } }); onDone(); };
  return html`<${Dialog} wide title="Set quota" submit="Set" onClose=${onClose} onDone=${send}><div class="cols">
    <${Field} label="Whose"><select name="type" value=${fields.type} onChange=${change('type')}>${Object.entries(ENTITIES).map(([key, name]) => html`<option value=${key} key=${key}>${name}</option>`)}</select><//>
    <${Field} label="Name" hint="empty: all that have no quota of their own"><input name="name" value=${fields.name} autofocus onInput=${change('name')} /><//>
    <${Field} label="Quota"><select name="key" value=${fields.key} onChange=${change('key')}>${Object.entries(KEYS).map(([key, name]) => html`<option value=${key} key=${key}>${name}</option>`)}</select><//>
    <${Field} label="Limit"><input name="value" type="number" min="0" step="any" required value=${fields.value} onInput=${change('value')} /><//></div><//>`;
}
