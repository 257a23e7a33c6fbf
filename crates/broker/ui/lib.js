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

/** Asks every so often while the page is seen. What came last stays while the broker is away. */
export function usePoll(path, ms = 1000) {
  const [state, set] = useState({});
  const again = useRef(() => {});
  useEffect(() => {
    if (!path) { set({}); return; }
    let timer, control, over = false;
    const ask = async () => {
      clearTimeout(timer);
      if (document.hidden) return;
      control?.abort();
      const mine = control = new AbortController();
      try {
        const data = await api(path, { signal: mine.signal });
        if (!over) set({ data, path });
      } catch (error) {
        if (error.name === 'AbortError') return;
        if (!over) set(old => ({ data: old.path === path ? old.data : undefined, path, error }));
      }
      if (!over && ms && control === mine) timer = setTimeout(ask, ms);
    };
    again.current = ask;
    ask();
    document.addEventListener('visibilitychange', ask);
    return () => { over = true; clearTimeout(timer); control?.abort(); document.removeEventListener('visibilitychange', ask); };
  }, [path, ms]);
  const fresh = state.path === path || !state.path;
  return { data: fresh ? state.data : undefined, error: fresh ? state.error : undefined, reload: () => again.current() };
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
export const ago = ms => ms === null || ms === undefined ? '–' : span(Date.now() - Number(ms)) + ' ago';
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
