import { html, useLive, useState, useApp, api, Search, Pager, Empty, Failed, Tag, Text, Dialog, count, span, at, query, link, go, plain } from '../lib.js';

const ROWS = 100;
export function Transactions({ place }) {
  const { mayChange, say } = useApp();
  const q = place.query;
  const [ask, setAsk] = useState(null);
  const change = fields => go(['transactions'], { ...q, from: undefined, ...fields }, true);
  const { data, error, reload } = useLive('/transactions' + query({ search: q.search, from: q.from, limit: ROWS }));
  const where = one => html`<a href=${link(['topics', one.topic])}><${Text} of=${one.topic} max=${60} /></a><span class="dim">-${one.partition}</span>`;
  const end = async () => {
    if (ask.id) await api(at`/transactions/${ask.id}/abort`, { method: 'POST' });
    else await api('/transactions/hanging/abort', { method: 'POST', body: { topic: ask.topic, partition: ask.partition, startOffset: Number(ask.startOffset) } });
    say('The transaction is aborted'); reload();
  };
  return html`<div class="stack"><div class="head"><h1 class="grow">Transactions ${data && html`<span class="sub">${count(data.open)} open</span>`}</h1><${Search} value=${q.search} placeholder="Transactional id" onInput=${search => change({ search })} /></div>
    <${Failed} error=${error} />
    ${data?.held.length > 0 && html`<section class="panel"><header><h2>Held back from readers of committed records</h2></header><div class="scroll"><table><thead><tr><th>Partition</th><th class="num">From offset</th><th class="num">Records</th><th>By</th><th></th></tr></thead>
      <tbody>${data.held.map(one => html`<tr key=${one.topic + one.partition}><td class="name">${where(one)}</td><td class="num mono">${one.since}</td><td class="num">${count(one.records)}</td>
        <td>${one.id ? html`<${Text} of=${one.id} max=${60} />` : html`<${Tag} kind="bad">hangs<//> <span class="dim">no coordinator knows of producer ${one.producerId}</span>`}</td>
        <td class="right"><button class="plain" disabled=${!mayChange} onClick=${() => setAsk(one)}>Abort</button></td></tr>`)}</tbody></table></div></section>`}
    ${data && (data.total === 0 ? html`<div class="panel"><${Empty} title=${q.search ? 'No transactional id fits' : 'Nobody has written in transactions'}><//></div>` : html`<div class="panel scroll"><table><thead><tr><th>Transactional id</th><th>State</th><th class="num">Open for</th><th class="num">of</th><th class="wide-only">Partitions</th><th class="num wide-only">Producer, epoch</th><th></th></tr></thead>
      <tbody>${data.transactions.map(one => html`<tr key=${one.id}><td class="name"><${Text} of=${one.id} max=${80} /></td><td><${Tag} kind=${one.isOpen ? 'warn' : ''}>${one.state}<//></td>
        <td class="num">${one.openMs ? span(one.openMs) : '–'}</td><td class="num dim">${one.timeoutMs ? span(one.timeoutMs) : '–'}</td>
        <td class="wide-only">${one.partitions?.slice(0, 6).map(where)}${one.partitionCount > 6 && html` <span class="dim">and ${count(one.partitionCount - 6)} more</span>`}</td>
        <td class="num mono dim wide-only">${one.producerId}${one.epoch !== undefined && `, ${one.epoch}`}</td>
        <td class="right"><button class="plain" disabled=${!mayChange || !one.isOpen} onClick=${() => setAsk(one)}>Abort</button></td></tr>`)}</tbody></table>
      <${Pager} total=${data.total} from=${Number(q.from) || 0} limit=${ROWS} onFrom=${from => change({ from })} /></div>`)}
    ${ask && html`<${Dialog} title=${'Abort the transaction of ' + plain(ask.id || 'producer ' + ask.producerId) + '?'} submit="Abort it" kind="danger" onClose=${() => setAsk(null)} onDone=${end}><p>${ask.id ? 'Nothing of it will be read as committed, and its producer has to begin anew.' : 'What it wrote here will not be read as committed.'}</p><//>`}</div>`;
}
