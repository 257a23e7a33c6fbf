import { html, usePoll, useState, useApp, Card, Meter, Seg, Failed, Empty, count, short, bytes, span, ago, link } from '../lib.js';
import { Chart } from '../chart.js';

const rate = n => short(n) + '/s', flow = n => bytes(n) + '/s';

export function Overview() {
  const { overview: now } = useApp();
  const [range, setRange] = useState('15m');
  const { data: past, error } = usePoll('/history?range=' + range, range === '15m' ? 1000 : 10000);
  if (!now) return html`<${Failed} error=${error} />`;
  const windowMs = range === '15m' ? 900000 : 21600000;
  const chart = (title, format, base, ...series) => past && html`<${Chart} title=${title} format=${format} base=${base} windowMs=${windowMs} stepMs=${past.stepMs}
    times=${past.times} series=${series.map(([name, key, color]) => ({ name, color, values: past.series[key] }))} />`;
  const last = key => past?.series[key]?.[past.times.length - 1] ?? 0;
  const memory = now.memory, part = Number(memory.inUse) / Number(memory.limit);
  return html`<div class="stack">
    <div class="head"><h1>Overview</h1><span class="sub grow">up ${span(now.uptimeMs)} · node ${now.nodeId} · ${now.listeners.map(one => one.advertised).join(', ')}</span>
      <${Seg} label="time shown" value=${range} onChange=${setRange} options=${[['15m', '15 min'], ['6h', '6 hours']]} /></div>
    ${now.failing.length > 0 && html`<div class="note bad">These tasks of the broker keep failing: ${now.failing.join(', ')}</div>`}
    <div class="cards">
      <${Card} label="Records in" value=${rate(last('recordsIn'))} more=${count(now.recordsIn) + ' in all'} />
      <${Card} label="Requests" value=${rate(last('requests'))} more=${count(now.requests) + ' in all'} />
      <${Card} label="Connections" value=${count(now.connections)} more=${count(now.connectionsTotal) + ' in all' + (now.connectionsRefused !== '0' ? `, ${count(now.connectionsRefused)} closed by us` : '')} />
      <${Card} label="Topics" value=${count(now.topics)} more=${count(now.partitions) + ' partitions, ' + count(now.groups) + ' groups'} />
      <${Card} label="Records held" value=${short(now.records)} more=${bytes(now.bytes)} />
      <${Card} label="Oldest record" value=${now.oldestMs ? span(Number(now.nowMs) - Number(now.oldestMs)) : '–'} more=${now.oldestMs ? 'came ' + ago(now.oldestMs) : 'nothing is held'} />
      <${Card} label="Memory" value=${bytes(memory.inUse)} more=${`${Math.round(part * 100)}% of ${bytes(memory.limit)}` + (memory.evictedChunks !== '0' ? ', oldest records are dropped' : '')}><${Meter} part=${part} /><//>
    </div>
    <${Failed} error=${error} />
    <div class="charts">
      ${chart('Records', rate, 1000, ['in', 'recordsIn', 1])}
      ${chart('Bytes', flow, 1024, ['in', 'bytesIn', 1], ['out', 'bytesOut', 2])}
      ${chart('Requests', rate, 1000, ['asked', 'requests', 4])}
      ${chart('Connections', count, 1000, ['open', 'connections', 3])}
      ${chart('Memory', bytes, 1024, ['in use', 'memory', 2])}
      ${chart('Dropped at the memory limit', rate, 1000, ['chunks', 'chunksEvicted', 1])}
    </div>
    ${now.topics === 0 && html`<div class="panel"><${Empty} title="No topics yet">Point a client at <a class="mono" href=${link(['topics'])}>${now.listeners[0]?.advertised}</a>, or <a href=${link(['topics'], { new: 1 })}>create a topic here</a>.<//></div>`}
  </div>`;
}
