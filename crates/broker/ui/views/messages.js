import { html, useState, useEffect, useRef, useApp, api, at, query, go, Search, Failed, Empty, Tag, Text, Dialog, Field, count, bytes, time, ago } from '../lib.js';
import { Data, line, kindOf } from '../data.js';

const NAMES = { json: 'JSON', msgpack: 'MessagePack', hex: 'binary', text: 'text', null: 'null' };

const KEPT = 200;

export function Messages({ topic, place }) {
  const { mayChange, say } = useApp();
  const [ask, setAsk] = useState(null);
  const q = place.query;
  const start = q.start || 'newest';
  const live = start === 'live';
  const mode = live || start === 'newest' || start === 'oldest' ? start : start[0] === '@' ? 'time' : 'offset';
  const [state, set] = useState({ rows: [] });
  const [open, setOpen] = useState(null);
  const run = useRef();
  const change = fields => go(['topics', topic.name], { ...q, ...fields }, true);
  const fields = { partition: q.partition, start, filter: q.filter, limit: 50 };
  const key = JSON.stringify([topic.name, fields]);

  const read = async (cursor, rows) => {
    run.current?.abort();
    const control = run.current = new AbortController();
    let scanned = cursor ? state.scanned : { records: 0, bytes: 0 };
    set(old => ({ ...old, rows, busy: true, error: undefined }));
    try {
      const wanted = rows.length + 50;
      // A filter may find little in what one call reads: it goes on until there is a page full, the end, or enough.
      for (;;) {
        const answer = await api(at`/topics/${topic.name}/records` + query({ ...fields, cursor }), { signal: control.signal });
        rows = [...rows, ...answer.records];
        cursor = answer.cursor;
        scanned = { records: scanned.records + answer.scanned.records, bytes: scanned.bytes + answer.scanned.bytes };
        const more = cursor && rows.length < wanted;
        set({ rows, cursor, scanned, busy: more });
        if (!more) break;
      }
    } catch (error) { if (error.name !== 'AbortError') set(old => ({ ...old, error, busy: false })); }
  };
  const tail = () => {
    const source = new EventSource('/api/v1' + at`/topics/${topic.name}/tail` + query({ partition: q.partition, filter: q.filter }));
    let skipped = 0;
    // From here on nothing is missed: where the tail begins is settled before it answers.
    source.onopen = () => set(old => ({ ...old, listening: true }));
    source.addEventListener('records', event => {
      const told = JSON.parse(event.data);
      skipped += Number(told.skipped);
      set(old => ({ ...old, error: undefined, skipped, rows: [...told.records.reverse(), ...old.rows].slice(0, KEPT) }));
    });
    source.addEventListener('problem', event => { set(old => ({ ...old, error: new Error(JSON.parse(event.data).detail) })); source.close(); });
    return () => source.close();
  };
  useEffect(() => {
    setOpen(null); set({ rows: [] });
    if (live) return tail();
    read(undefined, []);
    return () => run.current?.abort();
  }, [key]);
  const resend = async row => {
    try {
      const to = await api(at`/topics/${topic.name}/records`, { method: 'POST', body: { from: { topic: row.topic, partition: row.partition, offset: row.offset }, partition: row.partition } });
      say(`Sent again: partition ${to.partition}, offset ${to.offset}`);
    } catch (error) { say(error.message, 'bad'); }
  };
  const actions = row => html`<button disabled=${!mayChange} onClick=${() => resend(row)}>Send again</button><button disabled=${!mayChange} onClick=${() => setAsk({ key: row.key, value: row.value, headers: row.headers, partition: row.partition })}>Edit and send</button>`;

  const { rows, cursor, scanned, busy, error } = state;
  const local = ms => { const d = new Date(ms - new Date(ms).getTimezoneOffset() * 60000); return d.toISOString().slice(0, 19); };
  return html`<div class="stack tight">
    <div class="row">
      <select aria-label="from where" value=${mode} onChange=${event => change({ start: { newest: undefined, live: 'live', oldest: 'oldest', offset: '0', time: '@' + (Date.now() - 3600000) }[event.target.value] })}>
        <option value="newest">Newest first</option><option value="live">Live</option><option value="oldest">From the oldest</option><option value="offset">From offset</option><option value="time">From a time</option></select>
      ${mode === 'offset' && html`<input class="mono" size="12" inputmode="numeric" aria-label="offset" value=${start} onChange=${event => change({ start: event.target.value.trim() || '0' })} />`}
      ${mode === 'time' && html`<input type="datetime-local" step="1" aria-label="time" value=${local(Number(start.slice(1)))} onChange=${event => { const ms = new Date(event.target.value).getTime(); if (ms >= 0) change({ start: '@' + ms }); }} />`}
      <select aria-label="partition" value=${q.partition ?? ''} onChange=${event => change({ partition: event.target.value })}>
        <option value="">All partitions</option>${Array.from({ length: Math.min(topic.partitions, 1000) }, (_, at) => html`<option value=${at}>Partition ${at}</option>`)}</select>
      <${Search} wide id="filter" value=${q.filter} placeholder='Filter: text, key=42, .user.id=7, header.trace:ab, -not' onInput=${filter => change({ filter })} />
      ${!live && html`<button title="read again" onClick=${() => read(undefined, [])}>Refresh</button>`}
      <details class="menu"><summary class="button">Export</summary><div class="panel">${[['jsonl', 'JSON lines'], ['csv', 'CSV']].map(([format, name]) => html`<a href=${'/api/v1' + at`/topics/${topic.name}/export` + query({ format, partition: q.partition, filter: q.filter, start: start === 'newest' || live ? 'oldest' : start })} download>${name}</a>`)}</div></details>
      <button class="primary" disabled=${!mayChange} onClick=${() => setAsk({})}>Write</button>
      ${busy && html`<button onClick=${() => { run.current?.abort(); set(old => ({ ...old, busy: false })); }}>Stop</button>`}
    </div>
    <${Failed} error=${error} />
    ${rows.length > 0 ? html`<div class="panel scroll"><table><thead><tr><th>Time</th><th class="num">Partition</th><th class="num">Offset</th><th>Key</th><th>Value</th><th class="num wide-only">Size</th></tr></thead>
      <tbody>${rows.map(row => html`<${Message} key=${row.partition + ':' + row.offset} row=${row} open=${open === row.partition + ':' + row.offset} actions=${actions} onOpen=${() => setOpen(open === row.partition + ':' + row.offset ? null : row.partition + ':' + row.offset)} />`)}</tbody></table></div>`
      : live && !error ? html`<div class="panel">${state.listening ? html`<${Empty} title="Waiting for records"><span class="live"></span> What is written from now on comes up here.<//>` : html`<${Empty} title="Beginning to listen" />`}</div>`
      : !busy && !error && html`<div class="panel"><${Empty} title=${q.filter ? 'No record fits the filter' : 'No records here'}>${q.filter ? 'Looked at ' + count(scanned?.records) + ' records.' : topic.records === '0' ? 'Nothing was written to this topic, or all of it has gone.' : 'There are some before this place.'}<//></div>`}
    <div class="row dim">${busy ? html`<span class="grow">Reading … ${count(scanned?.records ?? 0)} records, ${bytes(scanned?.bytes ?? 0)} looked at</span>` : live ? html`<span class="grow"><span class="live"></span> live, the newest first · ${count(rows.length)} shown${state.skipped ? `, ${count(state.skipped)} more came too fast to be shown` : ''}</span>` : html`<span class="grow">${count(rows.length)} shown${scanned ? `, ${count(scanned.records)} looked at` : ''}</span>`}
      ${cursor && !busy && html`<button onClick=${() => read(cursor, rows)}>${q.filter ? 'Look further' : start === 'newest' ? 'Older' : 'Next'}</button>`}</div>
    ${ask && html`<${Write} topic=${topic} from=${ask} onClose=${() => setAsk(null)} onDone=${() => !live && start === 'newest' && read(undefined, [])} />`}
  </div>`;
}

/** Writes one record; bytes that are no text go through as base64. */
function Write({ topic, from, onClose, onDone }) {
  const { say } = useApp();
  const text = data => data ? data.data : '';
  const [fields, set] = useState({ key: text(from.key), value: text(from.value), keyKind: from.key?.encoding || 'utf-8', valueKind: from.value?.encoding || 'utf-8', noKey: from.key === null || !from.key, noValue: from.value === null, partition: from.partition ?? '',
    headers: (from.headers || []).map(header => header.name + ': ' + text(header.value)).join('\n') });
  const input = name => event => set({ ...fields, [name]: event.target.value, ...(name === 'key' ? { noKey: event.target.value === '' } : name === 'value' ? { noValue: false } : {}) });
  const part = (name, none) => fields[none] ? null : { encoding: fields[name + 'Kind'], data: fields[name] };
  const cut = from.key?.cut || from.value?.cut;
  const send = async () => {
    const headers = fields.headers.split('\n').filter(line => line.trim()).map(line => { const at = line.indexOf(':'); if (at < 1) throw new Error(`“${line}” is not of the form name: value`); return { name: line.slice(0, at).trim(), value: line.slice(at + 1).trim() }; });
    const to = await api(at`/topics/${topic.name}/records`, { method: 'POST', body: { key: part('key', 'noKey'), value: part('value', 'noValue'), headers, partition: fields.partition === '' ? null : Number(fields.partition) } });
    say(`Written: partition ${to.partition}, offset ${to.offset}`); onDone();
  };
  const kind = name => html`<select aria-label=${name + ' is given as'} value=${fields[name + 'Kind']} onChange=${event => set({ ...fields, [name + 'Kind']: event.target.value })}><option value="utf-8">text</option><option value="base64">base64</option></select>`;
  return html`<${Dialog} wide title="Write a record" submit="Write" onClose=${onClose} onDone=${send} disabled=${cut}>
    ${cut && html`<div class="note warn">This record is longer than what is shown. It can be sent again as it is, but not changed here.</div>`}
    <div class="row"><${Field} label="Key"><input name="key" class="mono" value=${fields.key} placeholder="null" onInput=${input('key')} /><//>${kind('key')}
      <${Field} label="Partition"><select name="partition" value=${fields.partition} onChange=${input('partition')}><option value="">by the key</option>${Array.from({ length: Math.min(topic.partitions, 1000) }, (_, at) => html`<option value=${at}>${at}</option>`)}</select><//></div>
    <${Field} label="Value"><textarea name="value" rows="8" value=${fields.value} autofocus placeholder=${fields.noValue ? 'null' : ''} disabled=${fields.noValue} onInput=${input('value')}></textarea><//>
    <div class="row">${kind('value')}<label><input type="checkbox" checked=${fields.noValue} onChange=${event => set({ ...fields, noValue: event.target.checked })} />null (a tombstone)</label></div>
    <${Field} label="Headers" hint="one in a line: name: value"><textarea name="headers" rows="2" class="low" value=${fields.headers} onInput=${input('headers')}></textarea><//><//>`;
}

/** A record. What a live tail has cut is asked for once it is opened. */
export function Message({ row: brief, open, onOpen, actions }) {
  const [whole, set] = useState(null);
  const isCut = brief.key?.cut || brief.value?.cut || brief.headers.some(header => header.value?.cut);
  useEffect(() => { if (open && isCut && !whole) api(at`/topics/${brief.topic}/records/${brief.partition}/${brief.offset}`).then(set, () => {}); }, [open]);
  const row = whole ?? brief;
  const size = (row.key?.bytes ?? 0) + (row.value?.bytes ?? 0);
  const kind = kindOf(row.value);
  const part = (data, cls) => html`<td class=${'cell mono ' + cls}>${data ? html`<${Text} of=${line(data)} max=${300} />` : html`<span class="faint">null</span>`}</td>`;
  const href = part => '/api/v1' + at`/topics/${row.topic}/records/${row.partition}/${row.offset}` + '?part=' + part;
  return html`<tr class=${'link' + (open ? ' open' : '')} tabindex="0" aria-expanded=${open} onClick=${onOpen} onKeyDown=${event => { if (event.key === 'Enter') onOpen(); }}>
      <td class="nowrap mono" title=${ago(row.timestamp)}>${time(row.timestamp)}</td><td class="num">${row.partition}</td><td class="num mono">${row.offset}</td>
      ${row.unreadable ? html`<td colspan="2" class="bad"><${Text} of=${row.unreadable} /></td>` : [part(row.key, 'key'), part(row.value, '')]}
      <td class="num dim wide-only">${bytes(size)}</td></tr>
    ${open && !row.unreadable && html`<tr class="detail"><td colspan="6"><div class="stack">
      <div class="row"><${Tag}>${NAMES[kind]}<//>${row.codec !== 'uncompressed' && html`<${Tag}>${row.codec}<//>`}${row.transactional && html`<${Tag} kind="accent">transactional<//>`}<span class="dim grow">${row.timestampType === 'append' ? 'time set by the broker' : 'time set by the producer'} · ${ago(row.timestamp)}</span>${actions?.(row)}</div>
      <${Data} title="Key" of=${row.key} href=${href('key')} /><${Data} title="Value" of=${row.value} href=${href('value')} />
      ${row.headers.length > 0 && html`<div class="stack tight"><b>Headers</b><dl>${row.headers.map(header => html`<dt class="mono"><${Text} of=${header.name} /></dt><dd class="mono">${header.value ? html`<${Text} of=${line(header.value)} />` : html`<span class="faint">null</span>`}</dd>`)}</dl>
        ${row.headerCount > row.headers.length && html`<div class="note">${count(row.headerCount - row.headers.length)} more headers are not shown.</div>`}</div>`}
    </div></td></tr>`}`;
}
