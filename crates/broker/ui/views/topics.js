import { html, usePoll, useState, useApp, Th, Row, Pager, Search, Empty, Failed, Tag, Text, count, short, bytes, ago, at, query, link, go } from '../lib.js';
import { Messages } from './messages.js';

const ROWS = 100;

export function Topics({ place }) {
  const { session } = useApp();
  const q = place.query;
  const fields = { search: q.search, sort: q.sort || 'name', order: q.order, from: Number(q.from) || 0, limit: ROWS, internal: q.internal };
  const { data, error } = usePoll('/topics' + query(fields));
  const change = fields => go(['topics'], { ...q, from: undefined, ...fields }, true);
  const sort = { sort: fields.sort, order: q.order || 'up', onSort: (sort, order) => change({ sort, order }) };
  const most = Math.max(1, ...(data?.topics ?? []).map(topic => Number(topic.bytes)));
  return html`<div class="stack">
    <div class="head"><h1 class="grow">Topics ${data && html`<span class="sub">${count(data.total)}</span>`}</h1>
      <${Search} value=${q.search} placeholder="Find a topic" onInput=${search => change({ search })} />
      <label><input type="checkbox" checked=${q.internal === 'yes'} onChange=${event => change({ internal: event.target.checked ? 'yes' : undefined })} />internal</label></div>
    <${Failed} error=${error} />
    ${data && (data.total === 0
      ? html`<div class="panel"><${Empty} title=${q.search ? 'No topic has this in its name' : 'No topics yet'}>${q.search ? '' : 'They come with the first client that writes to one.'}<//></div>`
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
  </div>`;
}

const TABS = [['', 'Messages'], ['partitions', 'Partitions']];

export function Topic({ place }) {
  const [, name, tab = ''] = place.path;
  const [from, setFrom] = useState(0);
  const { data: topic, error } = usePoll(at`/topics/${name}` + query({ from, limit: ROWS }));
  return html`<div>
    <div class="head"><h1 class="grow"><a class="crumb" href="#/topics">Topics</a> <span class="faint">/</span> <${Text} of=${name} /></h1>
      ${topic && html`<span class="sub">${count(topic.partitions)} partitions · ${count(topic.records)} records · ${bytes(topic.bytes)}${topic.recordRate ? ` · ${short(topic.recordRate)}/s` : ''}</span>`}</div>
    <div class="tabs">${TABS.map(([key, text]) => html`<a href=${link(['topics', name, ...(key ? [key] : [])])} aria-current=${key === tab ? 'page' : undefined}>${text}</a>`)}</div>
    <${Failed} error=${error} />
    ${topic && (tab === 'partitions' ? html`<${Partitions} topic=${topic} from=${from} onFrom=${setFrom} />` : html`<${Messages} topic=${topic} place=${place} />`)}
  </div>`;
}

const Partitions = ({ topic, from, onFrom }) => html`<div class="panel scroll"><table><thead><tr><th class="num">Partition</th><th class="num">First offset</th><th class="num">Next offset</th><th class="num">Records</th><th class="num">Held</th><th class="num">Oldest</th><th class="num">Leader</th></tr></thead>
  <tbody>${topic.rows.map(row => html`<${Row} key=${row.partition} to=${link(['topics', topic.name], { partition: row.partition })}>
    <td class="num">${row.partition}</td><td class="num">${count(row.logStart)}</td><td class="num">${count(row.logEnd)}</td>
    <td class="num">${count(BigInt(row.logEnd) - BigInt(row.logStart))}</td><td class="num">${bytes(row.bytes)}</td><td class="num dim">${ago(row.oldestMs)}</td><td class="num dim">${row.leader} <span class="faint">epoch ${row.leaderEpoch}</span></td><//>`)}</tbody></table>
  <${Pager} total=${topic.partitions} from=${from} limit=${ROWS} onFrom=${onFrom} /></div>`;
