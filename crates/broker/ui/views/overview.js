import { html, useLive, useState, useApp, Card, Meter, Row, Seg, Failed, Empty, Text, count, short, bytes, span, ago, now, link } from '../lib.js';
import { Charts } from '../chart.js';
import { State, Lag } from './groups.js';

export const rate = n => short(n) + '/s', flow = n => bytes(n) + '/s';
const ROWS = 5;
const CHARTS = [
  ['Records', rate, 1000, ['in', 'recordsIn', 1]],
  ['Bytes', flow, 1024, ['in', 'bytesIn', 1], ['out', 'bytesOut', 2]],
  ['Requests', rate, 1000, ['asked', 'requests', 4]],
  ['Connections', count, 1000, ['open', 'connections', 3]],
  ['Memory', bytes, 1024, ['in use', 'memory', 2]],
  ['Dropped at the memory limit', rate, 1000, ['chunks', 'chunksEvicted', 1]],
];

export function Overview() {
  const { overview: told } = useApp();
  const [range, setRange] = useState('15m');
  const { data: past, error } = useLive('/history?range=' + range);
  if (!told) return html`<${Failed} error=${error} />`;
  const last = key => past?.series[key]?.[past.times.length - 1] ?? 0;
  const memory = told.memory, part = Number(memory.inUse) / Number(memory.limit);
  return html`<div class="stack">
    <div class="head"><h1>Overview</h1><span class="sub grow">up ${span(now() - Number(told.startedMs))} · node ${told.nodeId} · ${told.listeners.map(one => one.advertised).join(', ')}</span>
      <${Seg} label="time shown" value=${range} onChange=${setRange} options=${[['15m', '15 min'], ['6h', '6 hours']]} /></div>
    ${told.failing.length > 0 && html`<div class="note bad">These tasks of the broker keep failing: ${told.failing.join(', ')}</div>`}
    <div class="cards">
      <${Card} label="Records in" value=${rate(last('recordsIn'))} more=${count(told.recordsIn) + ' in all'} />
      <${Card} label="Requests" value=${rate(last('requests'))} more=${count(told.requests) + ' in all'} />
      <${Card} label="Connections" value=${count(told.connections)} more=${count(told.connectionsTotal) + ' in all' + (told.connectionsRefused !== '0' ? `, ${count(told.connectionsRefused)} closed by us` : '')} />
      <${Card} label="Topics" value=${count(told.topics)} more=${count(told.partitions) + ' partitions'} />
      <${Card} label="Records held" value=${short(told.records)} more=${bytes(told.bytes)} />
      <${Card} label="Oldest record" value=${told.oldestMs ? ago(told.oldestMs).replace(/( min .*)? ago$/, (_, rest) => rest ? ' min' : '') : '–'} more=${told.oldestMs ? 'the oldest held' : 'nothing is held'} />
      <${Card} label="Memory" value=${bytes(memory.inUse)} more=${`${Math.round(part * 100)}% of ${bytes(memory.limit)}` + (memory.evictedChunks !== '0' ? ', oldest records are dropped' : '')}><${Meter} part=${part} /><//>
      ${told.disk && html`<${Disk} of=${told.disk} />`}
    </div>
    <${Failed} error=${error} />
    ${past && html`<${Charts} past=${past} windowMs=${range === '15m' ? 900000 : 21600000} of=${CHARTS} />`}
    ${told.topics === 0 ? html`<div class="panel"><${Empty} title="No topics yet">Point a client at <a class="mono" href=${link(['topics'])}>${told.listeners[0]?.advertised}</a>, or <a href=${link(['topics'], { new: 1 })}>create a topic here</a>.<//></div>`
      : html`<div class="cols half"><${Busiest} />${told.groups > 0 && html`<${Behind} />`}</div>`}
  </div>`;
}

function Disk({ of }) {
  const total = Number(of.totalBytes ?? 0), part = total > 0 ? 1 - Number(of.freeBytes) / total : 0;
  const more = of.isFull ? 'full: writes are refused' : of.failures !== '0' ? `${count(of.failures)} writes failed` : `${bytes(of.freeBytes ?? 0)} of ${bytes(total)} free`;
  const mean = of.syncs === '0' ? '' : ` · ${(Number(of.syncUs) / Number(of.syncs) / 1000).toFixed(1)} ms a sync`;
  return html`<${Card} label="Volume" value=${Math.round(part * 100) + '%'} more=${more + mean}><${Meter} part=${part} /><//>`;
}

function Busiest() {
  const { data } = useLive(`/topics?sort=byteRate&order=down&limit=${ROWS}`);
  return data && html`<section class="panel"><header><h2 class="grow"><a href=${link(['topics'], { sort: 'byteRate', order: 'down' })}>Busiest topics</a></h2></header><table><tbody>${data.topics.map(topic => html`<${Row} key=${topic.name} to=${link(['topics', topic.name])}>
    <td class="name"><a href=${link(['topics', topic.name])}><${Text} of=${topic.name} max=${60} /></a></td><td class="num">${topic.recordRate ? rate(topic.recordRate) : html`<span class="faint">–</span>`}</td><td class="num">${topic.byteRate ? flow(topic.byteRate) : html`<span class="faint">–</span>`}</td><td class="num dim wide-only">${bytes(topic.bytes)} held</td><//>`)}</tbody></table></section>`;
}

function Behind() {
  const { data } = useLive(`/groups?sort=lag&order=down&limit=${ROWS}`);
  return data && html`<section class="panel"><header><h2 class="grow"><a href=${link(['groups'], { sort: 'lag', order: 'down' })}>Furthest behind</a></h2></header><table><tbody>${data.groups.map(group => html`<${Row} key=${group.group} to=${link(['groups', group.group])}>
    <td class="name"><a href=${link(['groups', group.group])}><${Text} of=${group.group} max=${60} /></a></td><td><${State} of=${group.state} /></td><td class="num wide-only dim">${count(group.members)} member${group.members === 1 ? '' : 's'}</td><td class="num"><${Lag} of=${group.lag} /> <span class="dim">to read</span></td><//>`)}</tbody></table></section>`;
}
