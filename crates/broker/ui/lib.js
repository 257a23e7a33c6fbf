// What all views use: asking the API, formats, small parts.
import { html, useState, useEffect, useRef, useCallback, useMemo, createContext, useContext } from './vendor/htm-preact.js';
export { html, useState, useEffect, useRef, useCallback, useMemo, createContext, useContext };

export class Problem extends Error {
  constructor(status, detail, code) { super(detail); this.status = status; this.code = code; }
}

/** Asks the API; a Problem when it says no, status 0 when it cannot be reached. */
export async function api(path, { method = 'GET', body, signal } = {}) {
  let answer;
  try {
    answer = await fetch('/api/v1' + path, {
      method, signal,
      headers: body === undefined ? {} : { 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem(0, 'the broker does not answer');
  }
  if (answer.status === 204) return null;
  const text = await answer.text();
  let said;
  try { said = JSON.parse(text); } catch { throw new Problem(answer.status, text.slice(0, 200) || answer.statusText); }
  if (answer.ok) return said;
  if (answer.status === 401) dispatchEvent(new Event('rustka-login'));
  throw new Problem(answer.status, said.detail || said.title, said.code);
}

/** A path with its parts encoded: at`/topics/${name}`. */
export const at = (texts, ...parts) => String.raw({ raw: texts }, ...parts.map(encodeURIComponent));

export const query = fields => {
  const all = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null && value !== '' && value !== false);
  return all.length ? '?' + new URLSearchParams(all) : '';
};

// Everything in view is told by one stream of events: at once, and then whenever it has changed.
const watched = new Map();
// A path longer than this finds no room in the stream's address: it is asked for instead.
const PATH_MAX = 1500;
let source, listening = '', timer, ahead = 0;

/** The broker’s time. */
export const now = () => Date.now() + ahead;

function tell(path, state) {
  const one = watched.get(path);
  if (!one) return;
  one.state = { ...state, path };
  for (const set of one.sets) set(one.state);
}
const failed = (path, error) => tell(path, { data: watched.get(path)?.state.data, error });

/** What is new behind what was known, where an answer tells only that. */
function joined(old, body) {
  if (body.since === undefined || body.since === null) return body;
  if (old?.next !== body.since) return old;
  const of = key => [...old.series[key], ...body.series[key]].slice(-body.pointsMax);
  return { ...body, times: [...old.times, ...body.times].slice(-body.pointsMax), series: Object.fromEntries(Object.keys(body.series).map(key => [key, of(key)])) };
}

function heard(event) {
  const told = JSON.parse(event.data);
  ahead = Number(told.atMs) - Date.now();
  if (told.status === 200) tell(told.of, { data: joined(watched.get(told.of)?.state.data, told.body) });
  else if (told.status === 401) dispatchEvent(new Event('rustka-login'));
  else failed(told.of, new Problem(told.status, told.body.detail || told.body.title, told.body.code));
}

function listen() {
  clearTimeout(timer);
  const paths = document.hidden ? [] : [...watched.keys()].filter(path => path.length <= PATH_MAX), wanted = paths.join(' ');
  if (wanted === listening) return;
  source?.close();
  listening = wanted; source = undefined;
  if (!wanted) return;
  const mine = source = new EventSource('/api/v1/events' + query({ watch: wanted }));
  mine.addEventListener('news', heard);
  // It ended, or never began: because the broker is away, or because one has to log in again.
  mine.onerror = async () => {
    mine.close();
    if (mine !== source) return;
    source = undefined; listening = '';
    try {
      const session = await api('/session');
      if (session.hasLogins && !session.principal) dispatchEvent(new Event('rustka-login'));
    } catch (error) { for (const path of watched.keys()) failed(path, error); }
    clearTimeout(timer);
    timer = setTimeout(listen, 1000);
  };
}
const soon = () => { clearTimeout(timer); timer = setTimeout(listen); };
document.addEventListener('visibilitychange', soon);

async function ask(path) {
  try { tell(path, { data: await api(path) }); } catch (error) { failed(path, error); }
}

function watch(path, set) {
  let one = watched.get(path);
  if (!one) watched.set(path, one = { sets: new Set(), state: { path } });
  one.sets.add(set);
  set(one.state);
  soon();
  if (path.length > PATH_MAX) { ask(path); one.asking ??= setInterval(() => document.hidden || ask(path), 1000); }
  return () => {
    one.sets.delete(set);
    if (one.sets.size) return;
    clearInterval(one.asking); watched.delete(path); soon();
  };
}

/** What the API says there, as it is now. What was known before stays while the broker is away, and until more is known. */
export function useLive(path) {
  const [state, set] = useState({});
  const last = useRef();
  useEffect(() => { if (path) return watch(path, set); }, [path]);
  const known = state.path === path && (state.data || state.error);
  if (known && state.data) last.current = state.data;
  return { data: !path ? undefined : known ? state.data : last.current, error: known ? state.error : undefined, reload: () => ask(path) };
}

// What is hidden in text from outside is shown: controls, and marks that turn the direction of writing.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
export const plain = text => String(text).replace(HIDDEN, c => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
/** Text from outside. */
export function Text({ of, max }) {
  let text = String(of ?? '');
  if (max && text.length > max) text = text.slice(0, max) + '…';
  if (!HIDDEN.test(text)) { HIDDEN.lastIndex = 0; return text; }
  HIDDEN.lastIndex = 0;
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(HIDDEN)) {
    parts.push(text.slice(from, found.index), html`<span class="esc">${plain(found[0])}</span>`);
    from = found.index + 1;
    if (parts.length > 4000) break;
  }
  parts.push(text.slice(from));
  return html`<span>${parts}</span>`;
}

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
export const count = n => n === undefined || n === null ? '–' : typeof n === 'string' && n.length > 15 ? BigInt(n).toLocaleString('en') : whole.format(Number(n));
export function short(n) {
  n = Number(n);
  if (!isFinite(n)) return '–';
  const size = Math.abs(n);
  if (size < 1000) return size && size < 10 ? String(Math.round(n * 10) / 10) : String(Math.round(n));
  for (const [unit, by] of [['k', 1e3], ['M', 1e6], ['G', 1e9], ['T', 1e12]])
    if (size < by * 1000) return (n / by).toFixed(size < by * 100 ? 1 : 0) + unit;
  return n.toExponential(1);
}
export function bytes(n) {
  n = Number(n);
  if (!isFinite(n)) return '–';
  if (n < 1024) return Math.round(n) + ' B';
  for (const unit of ['KiB', 'MiB', 'GiB', 'TiB', 'PiB']) {
    n /= 1024;
    if (n < 1000) return (n < 10 ? n.toFixed(1) : Math.round(n)) + ' ' + unit;
  }
  return Math.round(n) + ' PiB';
}
export function span(ms) {
  ms = Math.max(0, Number(ms));
  if (!isFinite(ms)) return '–';
  if (ms < 1000) return Math.round(ms) + ' ms';
  const s = Math.floor(ms / 1000);
  if (s < 60) return s + ' s';
  if (s < 3600) return Math.floor(s / 60) + ' min' + (s < 600 && s % 60 ? ' ' + s % 60 + ' s' : '');
  if (s < 86400) return Math.floor(s / 3600) + ' h' + (s % 3600 >= 60 ? ' ' + Math.floor(s % 3600 / 60) + ' min' : '');
  return Math.floor(s / 86400) + ' d' + (s % 86400 >= 3600 ? ' ' + Math.floor(s % 86400 / 3600) + ' h' : '');
}
export const ago = ms => ms === null || ms === undefined ? '–' : span(now() - Number(ms)) + ' ago';
const two = n => String(n).padStart(2, '0');
export function time(ms) {
  const n = Number(ms);
  if (!(n > -8.64e15 && n < 8.64e15) || n < 0) return '–';
  const d = new Date(n);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}.${String(d.getMilliseconds()).padStart(3, '0')}`;
}
export const clock = ms => time(ms).slice(11, 19);

// Places: #/topics/name/messages?start=oldest
export function place() {
  const [path, search] = location.hash.replace(/^#/, '').split('?');
  const decode = part => { try { return decodeURIComponent(part); } catch { return part; } };
  return { path: path.split('/').filter(Boolean).map(decode), query: Object.fromEntries(new URLSearchParams(search || '')) };
}
export const link = (parts, fields = {}) => '#/' + parts.map(encodeURIComponent).join('/') + query(fields);
export const go = (parts, fields, replace) => { const to = link(parts, fields); if (replace) { history.replaceState(null, '', to); dispatchEvent(new Event('hashchange')); } else location.hash = to; };

export const App = createContext({});
export const useApp = () => useContext(App);

export const Empty = ({ title, children }) => html`<div class="empty"><b>${title}</b>${children}</div>`;
// That the broker does not answer is said once, on top of the page.
export const Failed = ({ error, always }) => error && (always || error.status !== 0) ? html`<div class="note bad" role="alert">${plain(error.message)}</div>` : null;
export const Tag = ({ kind = '', children }) => html`<span class=${'tag ' + kind}>${children}</span>`;
export const Seg = ({ value, options, onChange, label }) => html`<div class="seg" role="group" aria-label=${label}>
  ${options.map(([key, text]) => html`<button type="button" aria-pressed=${key === value} onClick=${() => onChange(key)}>${text}</button>`)}</div>`;
export const Card = ({ label, value, more, children }) => html`<div class="panel card"><div class="label">${label}</div><div class="value" title=${value}>${value}</div><div class="more" title=${typeof more === 'string' ? more : ''}>${more}</div>${children}</div>`;
export const Meter = ({ part }) => html`<div class="meter"><i style=${{ width: Math.min(100, Math.max(0, part * 100)) + '%' }}></i></div>`;

/** A heading that sorts: turns round when it is asked again. */
export const Th = ({ by, sort, order, onSort, children, cls }) => html`<th class=${cls} aria-sort=${sort === by ? (order === 'down' ? 'descending' : 'ascending') : 'none'}>
  <button type="button" onClick=${() => onSort(by, sort === by && order !== 'up' ? 'up' : sort === by ? 'down' : by === 'name' ? 'up' : 'down')}>${children}${sort === by ? (order === 'down' ? ' ↓' : ' ↑') : ''}</button></th>`;

/** A row that leads somewhere, by mouse and by keyboard. */
export const Row = ({ to, children, cls = '' }) => html`<tr class=${'link ' + cls} tabindex="0"
  onClick=${event => { if (!event.target.closest('a,button,input')) location.hash = to; }}
  onKeyDown=${event => { if (event.key === 'Enter' && event.target === event.currentTarget) location.hash = to; }}>${children}</tr>`;

/** Pages of rows that the broker has more of than are in sight. */
export function Pager({ total, from, limit, onFrom }) {
  if (total <= limit && !from) return null;
  return html`<div class="row pad"><span class="dim grow">${count(from + 1)}–${count(Math.min(total, from + limit))} of ${count(total)}</span>
    <button disabled=${from <= 0} onClick=${() => onFrom(Math.max(0, from - limit))}>← before</button>
    <button disabled=${from + limit >= total} onClick=${() => onFrom(from + limit)}>next →</button></div>`;
}

/** A box that waits for a moment of silence before it tells what was typed. */
export function Search({ value, onInput, placeholder, id = 'search', wide }) {
  const [text, set] = useState(value || '');
  const timer = useRef();
  useEffect(() => set(value || ''), [value]);
  // Whoever has gone on to another page meanwhile is not brought back.
  useEffect(() => () => clearTimeout(timer.current), []);
  const tell = text => { set(text); clearTimeout(timer.current); timer.current = setTimeout(() => onInput(text), 180); };
  return html`<input id=${id} type="search" class=${wide ? 'grow' : ''} value=${text} placeholder=${placeholder} aria-label=${placeholder} autocomplete="off" spellcheck=${false}
    onInput=${event => tell(event.target.value)} />`;
}

/** Asks before something is done, says what went wrong, closes when it is done. */
export function Dialog({ title, onClose, onDone, submit, kind = 'primary', wide, children, disabled }) {
  const box = useRef();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState();
  useEffect(() => { box.current.showModal(); }, []);
  const done = async event => {
    event.preventDefault();
    setBusy(true); setError();
    try { await onDone(); onClose(); } catch (problem) { setError(problem); setBusy(false); }
  };
  return html`<dialog ref=${box} class=${wide ? 'wide' : ''} onCancel=${event => { event.preventDefault(); onClose(); }} onClick=${event => { if (event.target === box.current) onClose(); }}>
    <form onSubmit=${done}><h2>${title}</h2>${children}<${Failed} error=${error} always />
    <footer><button type="button" onClick=${onClose}>${submit ? 'Cancel' : 'Close'}</button>
    ${submit && html`<button class=${'primary ' + kind} disabled=${busy || disabled}>${busy ? '…' : submit}</button>`}</footer></form></dialog>`;
}
export const Field = ({ label, hint, children }) => html`<label class="field"><span>${label}</span>${children}${hint && html`<small>${hint}</small>`}</label>`;
