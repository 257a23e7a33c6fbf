import { html, useLive, useState, useApp, api, Th, Row, Search, Pager, Empty, Failed, Tag, Text, Dialog, count, short, bytes, span, clock, ago, at, query, link, go, plain } from '../lib.js';

const ROWS = 100;
export function Clients({ place }) {
  const { mayChange, say } = useApp();
  const q = place.query;
  const [ask, setAsk] = useState(null);
  const change = fields => go(['clients'], { ...q, from: undefined, ...fields }, true);
  const { data, error, reload } = useLive('/clients' + query({ search: q.search, sort: q.sort, order: q.order, from: q.from, limit: ROWS }));
  const sort = { sort: q.sort || 'since', order: q.order || 'down', onSort: (sort, order) => change({ sort, order }) };
  return html`<div class="stack"><div class="head"><h1 class="grow">Clients ${data && html`<span class="sub">${count(data.total)} connection${data.total === 1 ? '' : 's'}</span>`}</h1><${Search} value=${q.search} placeholder="Name, address, user, software" onInput=${search => change({ search })} /></div>
    <${Failed} error=${error} />
    ${data?.strays?.map(one => html`<div class="panel" key=${one.address + one.clientId}><p><${Tag}>never came<//> <b><${Text} of=${one.clientId || 'no name'} max=${80} /></b> at <span class="mono">${one.address}</span> was told to connect to <span class="mono">${one.told}</span>, and has not come for ${span(one.sinceMs)}.</p><p class="dim">If it cannot reach that address, ${one.advice}.</p></div>`)}
    ${data && (data.total === 0 ? html`<div class="panel"><${Empty} title=${q.search ? 'No connection fits' : 'Nobody is connected'}>${q.search ? '' : 'This page itself does not count.'}<//></div>` : html`<div class="panel scroll"><table><thead><tr>
      <${Th} by="client" ...${sort}>Client<//><th>Software</th><th class="wide-only">From, through, as</th><${Th} by="requests" cls="num" ...${sort}>Requests<//><${Th} by="largest" cls="num" ...${sort}>Largest<//><th>Last</th><${Th} by="idle" cls="num" ...${sort}>Quiet<//><${Th} by="since" cls="num wide-only" ...${sort}>Connected<//><th></th></tr></thead>
      <tbody>${data.clients.map(one => html`<${Row} key=${one.id} to=${link(['requests'], { connection: one.id })}><td class="name"><a href=${link(['requests'], { connection: one.id })} title="what it asked">${one.clientId ? html`<${Text} of=${one.clientId} max=${80} />` : html`<span class="faint">no name</span>`}</a></td>
        <td class="soft">${one.software ? html`<${Text} of=${one.software} max=${40} /><div class="dim"><${Text} of=${one.softwareVersion} max=${40} /></div>` : html`<span class="faint">not told</span>`}</td>
        <td class="wide-only soft"><span class="mono">${one.address}</span><div class="dim">${one.listener ?? 'not logged in'} · <${Text} of=${(one.principal ?? '').replace('User:', '')} max=${40} /></div></td>
        <td class="num">${count(one.requests)}</td><td class="num">${one.largestBytes ? bytes(one.largestBytes) : '–'}</td>
        <td>${one.lastApi ?? '–'} ${one.waits && html`<${Tag}>waits<//>`} ${one.lastError && html`<a href=${link(['requests', one.lastError.number])} title=${`${one.lastError.api}, ${ago(one.lastError.atMs)}`}><${Tag} kind="bad"><${Text} of=${one.lastError.error} max=${40} /><//></a>`}</td>
        <td class="num dim">${span(one.idleMs)}</td><td class="num dim wide-only">${span(one.connectedMs)}</td>
        <td class="right nowrap"><button class="plain" disabled=${!mayChange} onClick=${() => setAsk(one)}>Close</button></td><//>`)}</tbody></table>
      <${Pager} total=${data.total} from=${Number(q.from) || 0} limit=${ROWS} onFrom=${from => change({ from })} /></div>`)}
    ${data?.strays?.length > 0 && html`<section class="panel"><header><h2>Told where to connect, and never came</h2></header><div class="scroll"><table><thead><tr><th>Client</th><th>From</th><th>Told</th><th class="num wide-only">Since</th><th>What to do</th></tr></thead><tbody>${data.strays.map(one => html`<tr><td class="name"><${Text} of=${one.clientId || 'no name'} max=${80} />${one.software && html`<div class="dim"><${Text} of=${one.software} max=${40} /></div>`}</td><td class="mono nowrap">${one.address}</td><td class="mono nowrap"><${Text} of=${one.told} max=${120} /></td><td class="num dim wide-only">${span(one.sinceMs)}</td><td class="wrap"><${Text} of=${one.advice} max=${600} /></td></tr>`)}</tbody></table></div></section>`}
    ${data?.closed.length > 0 && html`<section class="panel"><header><h2>Closed by the broker of late</h2></header><div class="scroll"><table><tbody>${data.closed.slice(0, 20).map(one => html`<tr><td class="mono dim nowrap" title=${ago(one.atMs)}>${clock(one.atMs)}</td><td class="mono nowrap">${one.address}</td><td class="wrap"><${Text} of=${one.reason} max=${300} /></td></tr>`)}</tbody></table></div></section>`}
    ${ask && html`<${Dialog} title=${'Close the connection of ' + plain(ask.clientId || ask.address) + '?'} submit="Close it" kind="danger" onClose=${() => setAsk(null)} onDone=${async () => { await api(at`/clients/${ask.id}`, { method: 'DELETE' }); say('The connection is closed'); reload(); }}><p>Most clients connect again at once.</p><//>`}</div>`;
}
