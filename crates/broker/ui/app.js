import { html, useState, useEffect, App, api, useLive, place, go, plain, Dialog, Field, Empty, count } from './lib.js';
import { render } from './vendor/htm-preact.js';
import { Overview } from './views/overview.js';
import { Topics, Topic } from './views/topics.js';
import { Groups, Group } from './views/groups.js';
import { Transactions } from './views/transactions.js';
import { Clients } from './views/clients.js';
import { Requests } from './views/requests.js';
import { Security } from './views/security.js';
import { Cleanup } from './views/cleanup.js';
import { Configs } from './views/configs.js';

const icon = d => html`<svg viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d=${d} /></svg>`;
const PAGES = [
  ['overview', 'Overview', 'M2 13V8m4 5V3m4 10V6m4 7v-3', 'o'],
  ['topics', 'Topics', 'M2 4h12M2 8h12M2 12h8', 't'],
  ['groups', 'Groups', 'M5.5 7a2 2 0 1 0 0-4 2 2 0 0 0 0 4m-4 6c0-2.5 1.8-4 4-4s4 1.5 4 4m0-6a2 2 0 1 0 0-4m1.5 6c2 .2 3.5 1.7 3.5 4', 'r'],
  ['transactions', 'Transactions', 'M2 5h9l-2-2M14 11H5l2 2', 'k'],
  ['clients', 'Clients', 'M2 4h12v7H2zM6 14h4M8 11v3', 'c'],
  ['requests', 'Request log', 'M3 3h10M3 6.5h6M3 10h10M3 13.5h6', 'l'],
  ['security', 'Users, ACLs', 'M8 2l5 2v4c0 3-2 5-5 6-3-1-5-3-5-6V4z', 'u'],
  ['configs', 'Configuration', 'M3 5h10M3 11h10M6 3v4M10 9v4', 'n'],
  ['cleanup', 'Cleanup', 'M3 5h10M6 5V3h4v2M4.5 5l.5 8h6l.5-8', 'x'],
];
const views = { overview: Overview, topics: ({ place }) => place.path[1] ? html`<${Topic} place=${place} key=${place.path[1]} />` : html`<${Topics} place=${place} />`, groups: ({ place }) => place.path[1] ? html`<${Group} place=${place} key=${place.path[1]} />` : html`<${Groups} place=${place} />`, configs: () => html`<${Configs} path="/configs" title="Configuration" />`, transactions: Transactions, clients: Clients, requests: Requests, security: Security, cleanup: Cleanup };

const theme = {
  get: () => localStorage.getItem('theme') || 'auto',
  set: value => { localStorage.setItem('theme', value); theme.apply(); },
  apply: () => { const value = theme.get(); document.documentElement.dataset.theme = value === 'auto' ? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light') : value; dispatchEvent(new Event('resize')); },
};
theme.apply();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', theme.apply);

function Login({ session, onDone, onClose }) {
  const [fields, set] = useState({ user: '', password: '', token: '' });
  const input = (name, type) => html`<input name=${name} type=${type} value=${fields[name]} autocomplete=${name === 'user' ? 'username' : 'current-password'} autofocus=${name !== 'password'} onInput=${event => set({ ...fields, [name]: event.target.value })} />`;
  const body = session?.hasLogins ? { user: fields.user, password: fields.password } : { token: fields.token };
  return html`<${Dialog} title=${session?.hasLogins ? 'Log in' : 'Unlock changes'} submit=${session?.hasLogins ? 'Log in' : 'Unlock'} onClose=${onClose} onDone=${async () => { await api('/session', { method: 'POST', body }); onDone(); }}>
    ${session?.hasLogins ? html`<p class="dim">With a user of this broker, as Kafka clients do. You have the rights that this user has.</p><${Field} label="User">${input('user', 'text')}<//><${Field} label="Password">${input('password', 'password')}<//>`
      : html`<p class="dim">The token that the broker was started with (--http-token).</p><${Field} label="Token">${input('token', 'password')}<//>`}<//>`;
}

function Help({ onClose }) {
  return html`<${Dialog} title="Keys" onClose=${onClose} onDone=${async () => {}}><dl>
    <dt><kbd>/</kbd></dt><dd>search or filter on this page</dd>
    ${PAGES.map(([, name, , key]) => html`<dt><kbd>g</kbd> <kbd>${key}</kbd></dt><dd>${name}</dd>`)}
    <dt><kbd>j</kbd> <kbd>k</kbd></dt><dd>next row, row before; <kbd>Enter</kbd> opens it</dd>
    <dt><kbd>Esc</kbd></dt><dd>closes what is open</dd><dt><kbd>?</kbd></dt><dd>this list</dd></dl><//>`;
}

function keys(setHelp) {
  let g = 0;
  const press = event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest('input,textarea,select,dialog');
    if (event.key === 'Escape' && typing?.blur && !typing.closest('dialog')) typing.blur();
    if (typing) return;
    if (event.key === '/') { const box = document.querySelector('#filter,#search'); if (box) { box.focus(); box.select(); event.preventDefault(); } }
    else if (event.key === '?') setHelp(true);
    else if (event.key === 'g') g = Date.now();
    else if (Date.now() - g < 1200 && PAGES.some(([, , , key]) => key === event.key)) { go([PAGES.find(([, , , key]) => key === event.key)[0]]); g = 0; }
    else if (event.key === 'j' || event.key === 'k') {
      const rows = [...document.querySelectorAll('tbody tr.link')], now = rows.indexOf(document.activeElement);
      rows[Math.min(rows.length - 1, Math.max(0, now + (event.key === 'j' ? 1 : -1)))]?.focus();
    }
  };
  addEventListener('keydown', press);
  return () => removeEventListener('keydown', press);
}

function Shell() {
  const [where, setWhere] = useState(place());
  const [session, setSession] = useState();
  const [login, setLogin] = useState(false);
  const [help, setHelp] = useState(false);
  const [look, setLook] = useState(theme.get());
  const [toasts, setToasts] = useState([]);
  const locked = session?.hasLogins && !session.principal;
  const { data: overview, error } = useLive(session && !locked ? '/overview' : null);
  const load = () => api('/session').then(setSession, () => setTimeout(load, 1000));
  useEffect(() => {
    load();
    const moved = () => { setWhere(place()); };
    const wanted = () => { setSession(old => old && { ...old, principal: null }); };
    addEventListener('hashchange', moved); addEventListener('rustka-login', wanted);
    const off = keys(setHelp);
    return () => { removeEventListener('hashchange', moved); removeEventListener('rustka-login', wanted); off(); };
  }, []);
  const page = where.path[0] || 'overview', View = views[page];
  useEffect(() => { document.title = [where.path[1] && plain(where.path[1]), PAGES.find(([key]) => key === page)?.[1], 'Rustka'].filter(Boolean).join(' · '); }, [where]);
  const say = (text, kind = '') => { const toast = { text, kind, id: Math.random() }; setToasts(all => [...all, toast]); setTimeout(() => setToasts(all => all.filter(one => one !== toast)), 5000); };
  // So that “12 s ago” stays true while nothing else happens.
  const [, tick] = useState(0);
  useEffect(() => { const timer = setInterval(() => document.hidden || tick(Date.now()), 1000); return () => clearInterval(timer); }, []);
  const away = error && error.status === 0;
  const counts = { topics: overview?.topics, groups: overview?.groups, clients: overview?.connections };
  const looks = { auto: 'light', light: 'dark', dark: 'auto' };
  return html`<${App.Provider} value=${{ overview, session, say, mayChange: session && !session.readOnly, login: () => setLogin(true) }}>
    <div class="shell"><nav aria-label="pages">
      <a class="brand" href="#/overview"><img src="icon.svg" alt="" /><span>Rustka</span></a>
      ${PAGES.map(([key, name, path, letter]) => html`<a href=${'#/' + key} aria-current=${key === page ? 'page' : undefined} title=${'g ' + letter}>${icon(path)}<span>${name}</span>${counts[key] !== undefined && html`<span class="count">${count(counts[key])}</span>`}</a>`)}
      <div class="foot">
        <div class="row tight"><span class=${'live' + (away || !overview ? ' off' : '')}></span>${overview ? `Rustka ${overview.version}` : 'no answer'}</div>
        ${session?.readOnly && html`<button onClick=${() => setLogin(true)} disabled=${!session.hasToken} title=${session.readOnly}>Read only</button>`}
        ${session?.hasLogins && session.principal && html`<button title="log out" onClick=${() => api('/session', { method: 'DELETE' }).then(load)}>${plain(session.principal.replace('User:', ''))} · log out</button>`}
        <div class="row tight"><button class="plain" title="light or dark" onClick=${() => { theme.set(looks[look]); setLook(looks[look]); }}>${{ auto: 'Auto', light: 'Light', dark: 'Dark' }[look]}</button><button class="plain" title="keys" onClick=${() => setHelp(true)}>?</button></div>
      </div></nav>
      <main>
        ${away && html`<div class="banner" role="alert">The broker does not answer. This page goes on as soon as it does.</div>`}
        ${session?.readOnly && !away && html`<div class="banner warn">Read only: ${session.readOnly}. ${session.hasToken && html`<a href="#" onClick=${event => { event.preventDefault(); setLogin(true); }}><u>Give the token</u></a>`}</div>`}
        ${locked ? html`<${Login} session=${session} onClose=${() => {}} onDone=${load} />`
          : !View ? html`<${Empty} title="There is no such page"><a href="#/overview"><u>Overview</u></a><//>`
          : session && html`<${View} place=${where} />`}
      </main></div>
    ${login && !locked && html`<${Login} session=${session} onClose=${() => setLogin(false)} onDone=${() => { load(); setLogin(false); }} />`}
    ${help && html`<${Help} onClose=${() => setHelp(false)} />`}
    <div class="toasts" aria-live="polite">${toasts.map(one => html`<div key=${one.id} class=${'toast ' + one.kind}>${plain(one.text)}</div>`)}</div>
  <//>`;
}

render(html`<${Shell} />`, document.getElementById('app'));
