import { html, useLive, useState, useEffect, useApp, api, Search, Empty, Failed, Tag, Text, count, bytes, clock, ago, at, query, link, go } from '../lib.js';
import { Json } from '../data.js';

const took = us => us < 1000 ? us + ' µs' : us < 1e6 ? (us / 1000).toFixed(us < 1e4 ? 1 : 0) + ' ms' : (us / 1e6).toFixed(1) + ' s';
export function Requests({ place }) {
  const { mayChange, say } = useApp();
  const q = place.query, open = place.path[1];
  const [held, hold] = useState(null);
  const fields = { connection: q.connection, api: q.api, client: q.client, errors: q.errors };
  const { data, error, reload } = useLive('/requests' + query({ ...fields, limit: 300 }));
  const change = more => go(['requests'], { ...q, ...more }, true);
  const shown = held ?? data;
  const record = async on => { try { await api('/requests/recording', { method: 'POST', body: { on } }); reload(); } catch (problem) { say(problem.message, 'bad'); } };
  return html`<div class="stack"><div class="head"><h1>Request log</h1><span class="sub grow">${data?.recording ? 'recorded until it is switched off' : 'recorded while this page is open'}, the last ${bytes(data?.bytesMax ?? 0)}</span>
      <button aria-pressed=${!!held} onClick=${() => hold(held ? null : data)}>${held ? 'Go on' : 'Hold'}</button>
      <button disabled=${!mayChange} aria-pressed=${!!data?.recording} onClick=${() => record(!data?.recording)}>${data?.recording ? 'Stop recording' : 'Keep recording'}</button>
      <a class="button" href=${'/api/v1/requests/export' + query(fields)} download>Export</a></div>
    <div class="row"><${Search} wide id="filter" value=${q.api} placeholder="Request, such as Fetch" onInput=${api => change({ api })} /><${Search} wide id="client" value=${q.client} placeholder="Client or address" onInput=${client => change({ client })} />
      ${q.connection && html`<button onClick=${() => change({ connection: undefined })}>connection ${q.connection} ✕</button>`}
      <label><input type="checkbox" checked=${q.errors === 'yes'} onChange=${event => change({ errors: event.target.checked ? 'yes' : undefined })} />only with errors</label></div>
    <${Failed} error=${error} />
    ${open && html`<${One} number=${open} onClose=${() => go(['requests'], q)} />`}
    ${shown && (shown.requests.length === 0 ? html`<div class="panel"><${Empty} title="Nothing was recorded yet">${q.api || q.client || q.connection || q.errors ? 'Nothing that fits.' : 'What clients ask from now on comes up here. What this page asks does not count.'}<//></div>` : html`<div class="panel scroll"><table><thead><tr><th>Time</th><th>Request</th><th>Client</th><th class="num">Took</th><th class="num wide-only">Asked</th><th class="num wide-only">Answered</th><th>Outcome</th></tr></thead>
      <tbody>${shown.requests.map(one => html`<tr key=${one.number} class=${'link' + (open === one.number ? ' open' : '')} tabindex="0" onClick=${() => go(['requests', one.number], q)} onKeyDown=${event => { if (event.key === 'Enter') go(['requests', one.number], q); }}>
        <td class="mono nowrap">${clock(one.atMs)}</td><td class="nowrap"><b>${one.api}</b> <span class="faint">v${one.version}</span></td><td class="wrap"><${Text} of=${one.clientId || one.address} max=${60} /></td>
        <td class="num">${took(Number(one.tookUs))}</td><td class="num dim wide-only">${bytes(one.requestBytes)}</td><td class="num dim wide-only">${one.answerBytes === null ? '–' : bytes(one.answerBytes)}</td>
        <td>${one.error ? html`<${Tag} kind="bad"><${Text} of=${one.error} max=${80} /><//>` : html`<span class="faint">ok</span>`}</td></tr>`)}</tbody></table></div>`)}</div>`;
}

function One({ number, onClose }) {
  const [state, set] = useState({});
  useEffect(() => { let over = false; set({}); api(at`/requests/${number}`).then(data => over || set({ data }), error => over || set({ error })); return () => { over = true; }; }, [number]);
  const { data, error } = state;
  const part = (title, said, size) => html`<div class="stack tight grow"><b>${title}</b>${said === null ? html`<div class="note">${size > 16384 ? `${bytes(size)} are more than what is kept of one message.` : 'It could not be decoded.'}</div>` : said.none ? html`<div class="note"><${Text} of=${said.none} /></div>` : html`<pre><${Json} text=${JSON.stringify(said, null, 2)} /></pre>`}</div>`;
  return html`<section class="panel"><header><h2 class="grow">${data ? `${data.api} v${data.version}` : 'Request ' + number}</h2>${data && html`<span class="dim">${ago(data.atMs)} · connection ${data.connection} · ${data.address} · <${Text} of=${data.principal} max=${60} /></span>`}<button class="plain" onClick=${onClose}>Close</button></header>
    <div class="pad cols wide"><${Failed} error=${error} />${data && [part('Request', data.request, data.requestBytes), part('Answer', data.answer, data.answerBytes)]}</div></section>`;
}
