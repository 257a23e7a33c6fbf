import { html, useLive, useState, useApp, api, Th, Row, Pager, Search, Empty, Failed, Tag, Text, Dialog, Field, Meter, count, short, bytes, span, ago, at, query, link, go, plain } from '../lib.js';
import { Charts } from '../chart.js';
import { Messages } from './messages.js';
import { Configs } from './configs.js';
import { GroupTable } from './groups.js';

const ROWS = 100;

export function Topics({ place }) {
  const { mayChange } = useApp();
  const q = place.query;
  const fields = { search: q.search, sort: q.sort || 'name', order: q.order, from: Number(q.from) || 0, limit: ROWS, internal: q.internal };
  const { data, error } = useLive('/topics' + query(fields));
  const change = fields => go(['topics'], { ...q, from: undefined, ...fields }, true);
  const sort = { sort: fields.sort, order: q.order || 'up', onSort: (sort, order) => change({ sort, order }) };
  const most = Math.max(1, ...(data?.topics ?? []).map(topic => Number(topic.bytes)));
  return html`<div class="stack">
    <div class="head"><h1 class="grow">Topics ${data && html`<span class="sub">${count(data.total)}</span>`}</h1>
      <${Search} value=${q.search} placeholder="Find a topic" onInput=${search => change({ search })} />
      <label><input type="checkbox" checked=${q.internal === 'yes'} onChange=${event => change({ internal: event.target.checked ? 'yes' : undefined })} />internal</label>
      <button class="primary" disabled=${!mayChange} onClick=${() => change({ new: 1 })}>New topic</button></div>
    <${Failed} error=${error} />
    ${data && (data.total === 0
      ? html`<div class="panel"><${Empty} title=${q.search ? 'No topic has this in its name' : 'No topics yet'}>${q.search ? '' : 'They come with the first client that writes to one, or with a click above.'}<//></div>`
      : html`<div class="panel scroll"><table><thead><tr>
        <${Th} by="name" ...${sort}>Topic<//><${Th} by="partitions" cls="num" ...${sort}>Partitions<//>
        <${Th} by="recordRate" cls="num" ...${sort}>Records/s<//><${Th} by="byteRate" cls="num" ...${sort}>Bytes/s<//>
        <${Th} by="records" cls="num" ...${sort}>Records<//><${Th} by="bytes" cls="num" ...${sort}>Held<//>
        <${Th} by="oldest" cls="num wide-only" ...${sort}>Oldest<//></tr></thead>
        <tbody>${data.topics.map(topic => html`<${Row} key=${topic.name} to=${link(['topics', topic.name])}>
          <td class="name"><a href=${link(['topics', topic.name])}><${Text} of=${topic.name} /></a> ${topic.internal && html`<${Tag}>internal<//>`} ${topic.cleanupPolicy?.includes('compact') && html`<${Tag} kind="accent">${topic.cleanupPolicy}<//>`}</td>
          <td class="num">${count(topic.partitions)}</td>
          <td class="num">${topic.recordRate ? short(topic.recordRate) : html`<span class="faint">–</span>`}</td>
          <td class="num">${topic.byteRate ? bytes(topic.byteRate) : html`<span class="faint">–</span>`}</td>
          <td class="num">${count(topic.records)}</td>
          <td class="num">${bytes(topic.bytes)}<span class="bar wide-only"><i style=${{ width: Number(topic.bytes) / most * 100 + '%' }}></i></span></td>
          <td class="num wide-only dim">${ago(topic.oldestMs)}</td><//>`)}</tbody></table>
        <${Pager} total=${data.total} from=${fields.from} limit=${ROWS} onFrom=${from => change({ from })} /></div>`)}
    ${q.new && html`<${NewTopic} onClose=${() => change({ new: undefined })} />`}
  </div>`;
}

function NewTopic({ onClose }) {
  const { say } = useApp();
  const [fields, set] = useState({ name: '', partitions: '', policy: '', retention: '', more: '' });
  const input = (name, rest = {}) => html`<input name=${name} value=${fields[name]} onInput=${event => set({ ...fields, [name]: event.target.value })} ...${rest} />`;
  const create = async () => {
    const configs = {};
    if (fields.policy) configs['cleanup.policy'] = fields.policy;
    if (fields.retention) configs['retention.ms'] = fields.retention;
    for (const line of fields.more.split('\n').map(line => line.trim()).filter(Boolean)) {
      const [, key, value] = line.match(/^([^=\s]+)\s*=\s*(.*)$/) || [];
      if (!key) throw new Error(`“${line}” is not of the form key=value`);
      configs[key] = value;
    }
    await api('/topics', { method: 'POST', body: { name: fields.name.trim(), partitions: fields.partitions ? Number(fields.partitions) : undefined, configs } });
    say(`Topic ${fields.name} is there`);
    setTimeout(() => go(['topics', fields.name.trim()]));
  };
  return html`<${Dialog} title="New topic" submit="Create" onClose=${onClose} onDone=${create}>
    <${Field} label="Name" hint="letters, digits, dots, underscores and dashes">${input('name', { required: true, autofocus: true, autocomplete: 'off' })}<//>
    <div class="cols"><${Field} label="Partitions" hint="the broker’s default if empty">${input('partitions', { type: 'number', min: 1 })}<//>
    <${Field} label="Cleanup"><select value=${fields.policy} onChange=${event => set({ ...fields, policy: event.target.value })}><option value="">default</option><option value="delete">delete</option><option value="compact">compact</option><option value="compact,delete">compact,delete</option></select><//>
    <${Field} label="Keep for"><select value=${fields.retention} onChange=${event => set({ ...fields, retention: event.target.value })}><option value="">default</option><option value="3600000">1 hour</option><option value="86400000">1 day</option><option value="604800000">7 days</option><option value="-1">forever</option></select><//></div>
    <${Field} label="More configs" hint="one in a line: max.message.bytes=2000000"><textarea rows="2" value=${fields.more} onInput=${event => set({ ...fields, more: event.target.value })}></textarea><//><//>`;
}

const CHARTS = [
  ['Records', n => short(n) + '/s', 1000, ['in', 'recordsIn', 1]],
  ['Bytes', n => bytes(n) + '/s', 1024, ['in', 'bytesIn', 1]],
  ['Records held', short, 1000, ['held', 'records', 3]],
  ['Bytes held', bytes, 1024, ['held', 'bytes', 2]],
];
const TABS = [['', 'Messages'], ['activity', 'Activity'], ['partitions', 'Partitions'], ['groups', 'Groups'], ['retention', 'Retention'], ['configs', 'Configs']];

export function Topic({ place }) {
  const { mayChange, say } = useApp();
  const [, name, tab = ''] = place.path;
  const [from, setFrom] = useState(0);
  const [ask, setAsk] = useState(null);
  const { data: topic, error, reload } = useLive(at`/topics/${name}` + query({ from, limit: ROWS }));
  const { data: past } = useLive(topic && at`/topics/${name}/history`);
  const close = () => setAsk(null);
  return html`<div>
    <div class="head"><h1><a class="crumb" href="#/topics">Topics</a> <span class="faint">/</span> <${Text} of=${name} /></h1>
      ${topic && html`<span class="sub grow">${count(topic.partitions)} partition${topic.partitions === 1 ? '' : 's'} · ${count(topic.records)} records · ${bytes(topic.bytes)}${topic.recordRate ? ` · ${short(topic.recordRate)}/s` : ''}</span>
      <button disabled=${!mayChange} onClick=${() => setAsk('more')}>Add partitions</button><button class="danger" disabled=${!mayChange} onClick=${() => setAsk('empty')}>Empty</button><button class="danger" disabled=${!mayChange} onClick=${() => setAsk('delete')}>Delete</button>`}</div>
    <div class="tabs">${TABS.map(([key, text]) => html`<a href=${link(['topics', name, ...(key ? [key] : [])])} aria-current=${key === tab ? 'page' : undefined}>${text}</a>`)}</div>
    ${error && (error.status === 404 ? html`<div class="panel"><${Empty} title="There is no such topic">It may have been deleted. <a href="#/topics"><u>All topics</u></a><//></div>` : html`<${Failed} error=${error} />`)}
    ${topic?.damaged.length > 0 && html`<div class="note warn row" style=${{ marginBottom: '12px' }}><span>Damaged and cannot be read: ${topic.damaged.map((one, n) => html`${n > 0 && ', '}partition ${one.partition} offsets ${count(one.first)} to ${count(one.last)}${one.skipped ? ' (passed over)' : ''}`)}.</span>
      ${topic.damaged.some(one => !one.skipped) && html`<button class="danger" disabled=${!mayChange} onClick=${() => setAsk('skip')}>Go on behind them</button>`}</div>`}
    ${topic && !(error?.status === 404) && (tab === 'partitions' ? html`<${Partitions} topic=${topic} from=${from} onFrom=${setFrom} />`
      : tab === 'activity' ? past && html`<${Charts} past=${past} of=${CHARTS} />`
      : tab === 'configs' ? html`<${Configs} path=${at`/topics/${name}/configs`} />`
      : tab === 'groups' ? html`<${GroupTable} fields=${place.query} change=${fields => go(['topics', name, 'groups'], { ...place.query, ...fields }, true)} path=${'/groups' + query({ topic: name, sort: place.query.sort, order: place.query.order, from: place.query.from })} empty=${html`<${Empty} title="No group has read this topic">Groups are shown here from their first commit on.<//>`} />`
      : tab === 'retention' ? html`<${Retention} name=${name} />`
      : html`<${Messages} topic=${topic} place=${place} />`)}
    ${ask === 'delete' && html`<${Dialog} title=${'Delete ' + plain(name) + '?'} submit="Delete the topic" kind="danger" onClose=${close} onDone=${async () => { await api(at`/topics/${name}`, { method: 'DELETE' }); say(`Topic ${name} is gone`); setTimeout(() => go(['topics'])); }}>
      <p>The topic and its <b>${count(topic?.records)}</b> records go for good.</p><//>`}
    ${ask === 'empty' && html`<${Dialog} title=${'Empty ' + plain(name) + '?'} submit="Delete the records" kind="danger" onClose=${close} onDone=${async () => { const { records } = await api(at`/topics/${name}/empty`, { method: 'POST', body: {} }); say(`${count(records)} records are gone`); reload(); }}>
      <p>All <b>${count(topic?.records)}</b> records go for good. The topic, its configs and its offsets stay.</p><//>`}
    ${ask === 'skip' && html`<${Dialog} title="Go on behind what is damaged?" submit="Pass over them" kind="danger" onClose=${close} onDone=${async () => { const { skipped } = await api(at`/topics/${name}/skip-damaged`, { method: 'POST', body: {} }); const records = skipped.reduce((sum, one) => sum + Number(one.records), 0); say(`Consumers pass over ${count(records)} record${records === 1 ? '' : 's'}`); reload(); }}>
      <p>Consumers no longer stop at the offsets that cannot be read, and go on with the first record behind them. Nothing is deleted; the topic’s config <b>rustka.damaged.skip</b> lists what is passed over.</p><//>`}
    ${ask === 'more' && html`<${MorePartitions} topic=${topic} onClose=${close} onDone=${reload} />`}
  </div>`;
}

function MorePartitions({ topic, onClose, onDone }) {
  const [n, set] = useState(topic.partitions + 1);
  return html`<${Dialog} title="Add partitions" submit="Add" onClose=${onClose} onDone=${async () => { await api(at`/topics/${topic.name}/partitions`, { method: 'POST', body: { count: Number(n) } }); onDone(); }}>
    <${Field} label="Partitions from now on" hint="Records with the same key may go to another partition than before."><input type="number" name="count" min=${topic.partitions + 1} value=${n} autofocus onInput=${event => set(event.target.value)} /><//><//>`;
}

const Partitions = ({ topic, from, onFrom }) => html`<div class="panel scroll"><table><thead><tr><th class="num">Partition</th><th class="num">First offset</th><th class="num">Next offset</th><th class="num">Records</th><th class="num">Held</th><th class="num">Oldest</th><th class="num">Leader</th></tr></thead>
  <tbody>${topic.rows.map(row => html`<${Row} key=${row.partition} to=${link(['topics', topic.name], { partition: row.partition })}>
    <td class="num">${row.partition}</td><td class="num">${count(row.logStart)}</td><td class="num">${count(row.logEnd)}</td>
    <td class="num">${count(BigInt(row.logEnd) - BigInt(row.logStart))}</td><td class="num">${bytes(row.bytes)}</td><td class="num dim">${ago(row.oldestMs)}</td><td class="num dim">${row.leader} <span class="faint">epoch ${row.leaderEpoch}</span></td><//>`)}</tbody></table>
  <${Pager} total=${topic.partitions} from=${from} limit=${ROWS} onFrom=${onFrom} /></div>`;

const RULES = { 'retention.ms': 'when they are older than retention.ms', 'retention.bytes': 'when their partition is larger than retention.bytes, at the pace of now' };
function Retention({ name }) {
  const { data, error } = useLive(at`/topics/${name}/retention`);
  if (!data) return html`<${Failed} error=${error} />`;
  const { next, memory } = data, unlimited = n => Number(n) < 0;
  const part = Number(memory.inUse) / Number(memory.limit);
  return html`<div class="stack"><div class="cards">
    <div class="panel card"><div class="label">Next to go</div><div class="value">${!data.deletes ? 'nothing' : next ? (next.inMs === '0' ? 'at the next look' : 'in ' + span(next.inMs)) : 'nothing yet'}</div>
      <div class="more">${next ? `${count(next.records)} records, ${bytes(next.bytes)}, of partition ${next.partition}` : ''}</div></div>
    <div class="panel card"><div class="label">By which rule</div><div class="value rule">${next ? next.rule : data.deletes ? '–' : 'cleanup.policy'}</div></div>
    <div class="panel card"><div class="label">Kept for</div><div class="value">${unlimited(data.retentionMs) ? 'ever' : span(data.retentionMs)}</div><div class="more">retention.ms</div></div>
    <div class="panel card"><div class="label">Kept of a partition</div><div class="value">${unlimited(data.retentionBytes) ? 'all' : bytes(data.retentionBytes)}</div><div class="more">retention.bytes</div></div>
    <div class="panel card"><div class="label">Memory of the broker</div><div class="value">${bytes(memory.inUse)}</div><div class="more">${memory.fullInMs ? `full in ${span(memory.fullInMs)} at ${bytes(memory.byteRate)}/s` : 'not growing now'}</div><${Meter} part=${part} /></div></div>
    <div class="note">${!data.deletes ? 'This topic keeps every key’s newest record: only compaction drops records here, never time, size or the memory limit.'
      : next ? `The oldest records go ${RULES[next.rule]}. ${next.inMs === '0' ? `They are due; the broker looks every ${span(data.checkEveryMs)}.` : ''}` : 'There is nothing to go, or nothing by which it would.'}
      ${data.deletes && !data.inFiles ? ' At the memory limit the oldest records of all topics that delete go first, whatever their retention.' : ''}
      ${data.deletes && !unlimited(data.totalBytes) ? ` All records of this broker together are kept below ${bytes(data.totalBytes)}: beyond that the oldest of all topics that delete go first.` : ''}
      ${data.compacts && data.deletes ? ' Compaction drops older records of the same key besides.' : ''}</div>
    ${data.consumers !== 'none' && html`<${Holders} of=${data} />`}</div>`;
}

const Holders = ({ of }) => html`<div class="note">${of.consumers === 'hold' ? 'Neither time nor size drops what a group has not read. ' : 'What every group has read goes early. '}
  ${of.holders.length === 0 ? 'No group has anything left to read.' : html`Left to read: ${of.holders.map((holder, n) => html`${n > 0 && ', '}<a href=${link(['groups', holder.group])}><${Text} of=${holder.group} max=${60} /></a> ${count(holder.records)} records`)}.`}</div>`;
