// What the bytes of keys and values mean: text, JSON, MessagePack, or nothing that is known.
import { html, useState, useMemo, Text, bytes as size } from './lib.js';

export function toBytes(data) {
  if (!data) return new Uint8Array();
  if (data.encoding === 'base64') return Uint8Array.from(atob(data.data), c => c.charCodeAt(0));
  return new TextEncoder().encode(data.data);
}
const fromBase64 = data => data.encoding === 'base64';

/** Decodes MessagePack; throws where it is none, or not all of it. */
export function msgpack(b) {
  let at = 0;
  const view = new DataView(b.buffer, b.byteOffset, b.byteLength);
  const need = n => { if (at + n > b.length) throw new Error('ends early'); const from = at; at += n; return from; };
  const text = n => new TextDecoder('utf-8', { fatal: true }).decode(b.subarray(need(n), at));
  const raw = n => ({ $bytes: hexOf(b.subarray(need(n), at)) });
  const many = (n, each) => { if (n > b.length - at) throw new Error('too many'); return Array.from({ length: n }, each); };
  const map = (n, depth) => { const out = {}; many(n, () => { const k = value(depth), key = typeof k === 'object' ? JSON.stringify(k) : String(k); Object.defineProperty(out, key, { value: value(depth), enumerable: true, configurable: true, writable: true }); }); return out; };
  const big = n => n >= -9007199254740991n && n <= 9007199254740991n ? Number(n) : n.toString();
  const ext = n => { const kind = view.getInt8(need(1)); if (kind === -1 && n === 4) return new Date(view.getUint32(need(4)) * 1000).toISOString(); return { $ext: kind, ...raw(n) }; };
  function value(depth) {
    if (depth > 64) throw new Error('too deep');
    const c = b[need(1)];
    if (c < 0x80) return c;
    if (c < 0x90) return map(c & 15, depth + 1);
    if (c < 0xa0) return many(c & 15, () => value(depth + 1));
    if (c < 0xc0) return text(c & 31);
    if (c >= 0xe0) return c - 256;
    switch (c) {
      case 0xc0: return null; case 0xc2: return false; case 0xc3: return true;
      case 0xc4: return raw(b[need(1)]); case 0xc5: return raw(view.getUint16(need(2))); case 0xc6: return raw(view.getUint32(need(4)));
      case 0xc7: return ext(b[need(1)]); case 0xc8: return ext(view.getUint16(need(2))); case 0xc9: return ext(view.getUint32(need(4)));
      case 0xca: return view.getFloat32(need(4)); case 0xcb: return view.getFloat64(need(8));
      case 0xcc: return b[need(1)]; case 0xcd: return view.getUint16(need(2)); case 0xce: return view.getUint32(need(4)); case 0xcf: return big(view.getBigUint64(need(8)));
      case 0xd0: return view.getInt8(need(1)); case 0xd1: return view.getInt16(need(2)); case 0xd2: return view.getInt32(need(4)); case 0xd3: return big(view.getBigInt64(need(8)));
      case 0xd4: return ext(1); case 0xd5: return ext(2); case 0xd6: return ext(4); case 0xd7: return ext(8); case 0xd8: return ext(16);
      case 0xd9: return text(b[need(1)]); case 0xda: return text(view.getUint16(need(2))); case 0xdb: return text(view.getUint32(need(4)));
      case 0xdc: return many(view.getUint16(need(2)), () => value(depth + 1)); case 0xdd: return many(view.getUint32(need(4)), () => value(depth + 1));
      case 0xde: return map(view.getUint16(need(2)), depth + 1); case 0xdf: return map(view.getUint32(need(4)), depth + 1);
    }
    throw new Error('unknown byte');
  }
  const out = value(0);
  if (at !== b.length) throw new Error('bytes are left');
  return out;
}

export const hexOf = b => Array.from(b, c => c.toString(16).padStart(2, '0')).join(' ');
export function hexDump(b, max = 16384) {
  const lines = [];
  for (let at = 0; at < Math.min(b.length, max); at += 16) {
    const part = b.subarray(at, at + 16);
    const printable = Array.from(part, c => c >= 32 && c < 127 ? String.fromCharCode(c) : '.').join('');
    lines.push(at.toString(16).padStart(8, '0') + '  ' + hexOf(part.subarray(0, 8)).padEnd(24) + ' ' + hexOf(part.subarray(8)).padEnd(24) + ' ' + printable);
  }
  if (b.length > max) lines.push('… ' + (b.length - max) + ' more bytes');
  return lines.join('\n');
}

// Rows are drawn again and again, and their data never changes.
const remember = what => { const known = new WeakMap(); return data => { if (!known.has(data)) known.set(data, what(data)); return known.get(data); }; };
/** What the bytes are, as far as can be told. */
export const kindOf = data => data ? kindOfData(data) : 'null';
const kindOfData = remember(data => {
  if (fromBase64(data)) {
    if (!data.cut && data.bytes > 1) try { const v = msgpack(toBytes(data)); if (typeof v === 'object' && v) return 'msgpack'; } catch { /* none */ }
    return 'hex';
  }
  const text = data.data.trimStart();
  if (!data.cut && (text[0] === '{' || text[0] === '[')) try { JSON.parse(text); return 'json'; } catch { /* none */ }
  return 'text';
});

/** One line of it. */
export const line = data => data ? lineOfData(data) : null;
const lineOfData = remember(data => {
  if (kindOf(data) === 'msgpack') return JSON.stringify(msgpack(toBytes(data)));
  if (fromBase64(data)) return hexOf(toBytes(data).subarray(0, 120));
  return data.data.slice(0, 400).replace(/\s+/g, ' ');
});

const TOKENS = /("(?:\\.|[^"\\])*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
export function Json({ text }) {
  const out = [];
  let from = 0, n = 0;
  for (const found of text.matchAll(TOKENS)) {
    if (n++ > 5000) break;
    const [all, string, colon] = found;
    out.push(text.slice(from, found.index));
    const cls = string ? (colon ? 'jk' : 'js') : /^[tfn]/.test(all) ? 'jx' : 'jn';
    out.push(html`<span class=${cls}><${Text} of=${string || all} /></span>`, colon || '');
    from = found.index + all.length;
  }
  out.push(text.slice(from));
  return out;
}

// JSON is laid out by its own text, so that numbers beyond what a browser can hold stay as they were sent.
function layOut(text) {
  let out = '', depth = 0, within = false, escaped = false;
  const pad = () => '\n' + '  '.repeat(Math.min(depth, 60));
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (within) { out += c; if (escaped) escaped = false; else if (c === '\\') escaped = true; else if (c === '"') within = false; continue; }
    if (c === '"') { within = true; out += c; }
    else if (c === '{' || c === '[') { let j = i + 1; while (/\s/.test(text[j])) j++; if (text[j] === '}' || text[j] === ']') { out += c + text[j]; i = j; } else { depth++; out += c + pad(); } }
    else if (c === '}' || c === ']') { depth--; out += pad() + c; }
    else if (c === ',') out += c + pad();
    else if (c === ':') out += ': ';
    else if (!/\s/.test(c)) out += c;
  }
  return out;
}

const NAMES = { text: 'Text', json: 'JSON', msgpack: 'MessagePack', hex: 'Hex' };
function shownAs(of, kind) {
  try {
    return kind === 'json' ? html`<pre><${Json} text=${layOut(of.data)} /></pre>`
      : kind === 'msgpack' ? html`<pre><${Json} text=${JSON.stringify(msgpack(toBytes(of)), null, 2)} /></pre>`
      : kind === 'hex' ? html`<pre class="hex">${hexDump(toBytes(of))}</pre>`
      : html`<pre><${Text} of=${fromBase64(of) ? new TextDecoder().decode(toBytes(of)) : of.data} /></pre>`;
  } catch (error) { return html`<div class="note warn">This is no ${NAMES[kind]}: ${error.message}</div>`; }
}

/** Key or value in full, in the form that fits or was chosen. */
export function Data({ title, of, href }) {
  const [chosen, set] = useState(null);
  const kind = chosen || kindOf(of);
  const body = useMemo(() => of && shownAs(of, kind), [of, kind]);
  if (!of) return html`<div><div class="row tight"><b>${title}</b> <span class="faint">null</span></div></div>`;
  const text = fromBase64(of) ? null : of.data;
  return html`<div class="stack tight"><div class="row tight"><b>${title}</b><span class="dim grow">${size(of.bytes)}</span>
    <div class="seg" role="group" aria-label=${title + ' shown as'}>${Object.entries(NAMES).map(([key, name]) => html`<button type="button" aria-pressed=${key === kind} onClick=${() => set(key)}>${name}</button>`)}</div>
    ${text !== null && html`<button class="plain" onClick=${() => navigator.clipboard?.writeText(text)}>copy</button>`}</div>${body}
    ${of.cut && html`<div class="note">The first ${size(of.data.length)} are shown. <a href=${href}><u>All ${size(of.bytes)}</u></a></div>`}</div>`;
}
