import { html, useLive, useState, useApp, api, Search, Failed, Empty, Tag, Dialog, Field, plain } from '../lib.js';

/** Configs with where each value comes from; `path` is where they are asked for and changed. */
export function Configs({ path, title }) {
  const { mayChange, say } = useApp();
  const { data, error, reload } = useLive(path);
  const [search, setSearch] = useState('');
  const [only, setOnly] = useState(false);
  const [edit, setEdit] = useState(null);
  const rows = (data?.configs ?? []).filter(one => one.name.includes(search) && (!only || one.source !== 'default'))
    // What somebody has set comes first.
    .sort((one, other) => (one.source === 'default') - (other.source === 'default'));
  return html`<div class="stack tight">
    <div class="row">${title && html`<h1>${title}</h1>`}<${Search} wide value=${search} placeholder="Find a config" onInput=${setSearch} /><label><input type="checkbox" checked=${only} onChange=${event => setOnly(event.target.checked)} />only what was set</label></div>
    <${Failed} error=${error} />
    ${data && (rows.length === 0 ? html`<div class="panel"><${Empty} title="No config here">${only ? 'Nothing was set: all of them have their defaults.' : ''}<//></div>` : html`<div class="panel scroll"><table><thead><tr><th>Config</th><th>Value</th><th>Set by</th><th class="wide-only">Default</th><th></th></tr></thead><tbody>
      ${rows.map(one => html`<tr key=${one.name}><td class="mono wrap">${one.name} ${one.hasEffect ? '' : html`<${Tag}>no effect here<//>`}</td><td class="mono wrap">${one.sensitive ? html`<span class="faint">hidden</span>` : plain(one.value ?? '') || html`<span class="faint">empty</span>`}</td>
        <td>${one.source === 'default' ? html`<span class="faint">default</span>` : html`<${Tag} kind="accent">${one.source}<//>`}</td><td class="mono dim wrap wide-only">${one.default ?? ''}</td>
        <td class="right">${!one.readOnly && html`<button class="plain" aria-label=${'change ' + one.name} disabled=${!mayChange} onClick=${() => setEdit(one)}>Change</button>`}</td></tr>`)}</tbody></table></div>`)}
    ${edit && html`<${Edit} one=${edit} path=${path} onClose=${() => setEdit(null)} onDone=${text => { say(text); reload(); }} />`}</div>`;
}

function Edit({ one, path, onClose, onDone }) {
  const [value, set] = useState(one.value ?? '');
  const send = async to => { await api(path, { method: 'PATCH', body: { configs: { [one.name]: to } } }); onDone(to === null ? `${one.name} is back at its default` : `${one.name} is ${to}`); };
  const isSet = one.synonyms.some(synonym => synonym.source === one.source) && one.source !== 'default' && one.source !== 'start of the broker';
  const [error, setError] = useState();
  return html`<${Dialog} title=${one.name} submit="Set" onClose=${onClose} onDone=${() => send(value)}>
    <${Field} label="Value"><input name="value" class="mono" value=${value} autofocus onInput=${event => set(event.target.value)} /><//>
    ${one.synonyms.length > 0 && html`<dl>${one.synonyms.map(synonym => html`<dt>${synonym.source}</dt><dd class="mono">${plain(synonym.value ?? '')}${synonym.name !== one.name ? ` (${synonym.name})` : ''}</dd>`)}</dl>`}
    <${Failed} error=${error} />
    ${isSet && html`<div><button type="button" onClick=${async () => { try { await send(null); onClose(); } catch (problem) { setError(problem); } }}>Back to the default</button></div>`}<//>`;
}
