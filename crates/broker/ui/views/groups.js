import { Charts } from '../chart.js';
import { html, useLive, useState, useEffect, useApp, api, Th, Row, Search, Pager, Empty, Failed, Tag, Text, Dialog, Field, count, short, span, ago, clock, at, query, link, go, plain } from '../lib.js';

const ROWS = 100;
const KIND = { Stable: 'good', Empty: '', PreparingRebalance: 'warn', CompletingRebalance: 'warn', Dead: 'bad' };
const WORD = { PreparingRebalance: 'rebalancing', CompletingRebalance: 'rebalancing', Stable: 'stable', Empty: 'no members', Dead: 'dead' };
export const State = ({ of }) => html`<${Tag} kind=${KIND[of] ?? ''}>${WORD[of] ?? of}<//>`;
export const Lag = ({ of }) => of === null || of === undefined ? html`<span class="faint">–</span>` : of === '0' ? html`<span class="good">0</span>` : html`<b>${count(of)}</b>`;

export function GroupTable({ path, fields, change, empty }) {
  const { data, error } = useLive(path);
  const sort = { sort: fields.sort || 'name', order: fields.order || 'up', onSort: (sort, order) => change({ sort, order }) };
  return html`<${Failed} error=${error} />${data && (data.total === 0 ? html`<div class="panel">${empty}</div>` : html`<div class="panel scroll"><table><thead><tr>
    <${Th} by="name" ...${sort}>Group<//><${Th} by="state" ...${sort}>State<//><th class="num">Members</th><${Th} by="lag" cls="num" ...${sort}>Left to read<//><th class="num wide-only">Partitions</th><th class="wide-only">Topics</th></tr></thead>
    <tbody>${data.groups.map(group => html`<${Row} key=${group.group} to=${link(['groups', group.group])}>
      <td class="name"><a href=${link(['groups', group.group])}><${Text} of=${group.group} max=${120} /></a></td><td><${State} of=${group.state} /></td><td class="num">${count(group.members)}</td>
      <td class="num"><${Lag} of=${group.lag} />${group.lost !== '0' && html` <${Tag} kind="bad">${short(group.lost)} lost<//>`}</td><td class="num wide-only">${count(group.partitions)}</td>
      <td class="dim wrap wide-only"><${Text} of=${group.topics.join(', ')} max=${80} /></td><//>`)}</tbody></table>
    <${Pager} total=${data.total} from=${Number(fields.from) || 0} limit=${ROWS} onFrom=${from => change({ from })} /></div>`)}`;
}

export function Groups({ place }) {
  const q = place.query;
  const change = fields => go(['groups'], { ...q, from: undefined, ...fields }, true);
  return html`<div class="stack"><div class="head"><h1 class="grow">Groups</h1><${Search} value=${q.search} placeholder="Find a group" onInput=${search => change({ search })} /></div>
    <${GroupTable} fields=${q} change=${change} path=${'/groups' + query({ search: q.search, sort: q.sort, order: q.order, from: q.from, limit: ROWS })}
      empty=${html`<${Empty} title=${q.search ? 'No group has this in its name' : 'No groups yet'}>${q.search ? '' : 'A group comes with its first consumer.'}<//>`} /></div>`;
}

const TABS = [['', 'Lag'], ['members', 'Members'], ['timeline', 'Rebalances']];
export function Group({ place }) {
  const { mayChange, say } = useApp();
  const [, name, tab = ''] = place.path;
  const [ask, setAsk] = useState(null);
  const { data: group, error, reload } = useLive(at`/groups/${name}`);
  const { data: past } = useLive(group && at`/groups/${name}/history`);
  const close = () => setAsk(null);
  return html`<div><div class="head"><h1><a class="crumb" href="#/groups">Groups</a> <span class="faint">/</span> <${Text} of=${name} max=${200} /></h1>
    ${group && html`<${State} of=${group.state} /><span class="sub grow">${count(group.members.length)} member${group.members.length === 1 ? '' : 's'} · ${count(group.lag)} left to read${group.lost !== '0' ? ` · ${count(group.lost)} went before they were read` : ''}</span>
    <button disabled=${!mayChange} onClick=${() => setAsk('reset')}>Reset offsets</button><button class="danger" disabled=${!mayChange} onClick=${() => setAsk('delete')}>Delete</button>`}</div>
    <div class="tabs">${TABS.map(([key, text]) => html`<a href=${link(['groups', name, ...(key ? [key] : [])])} aria-current=${key === tab ? 'page' : undefined}>${text}</a>`)}</div>
    ${error && (error.status === 404 ? html`<div class="panel"><${Empty} title="There is no such group">It may have been deleted, or its offsets have expired. <a href="#/groups"><u>All groups</u></a><//></div>` : html`<${Failed} error=${error} />`)}
    ${group && error?.status !== 404 && (tab === 'members' ? html`<${Members} group=${group} />` : tab === 'timeline' ? html`<${Timeline} name=${name} />` : html`<div class="stack">${why(group, past) && html`<div class="note">${why(group, past)}</div>`}${past && html`<${Charts} past=${past} of=${CHARTS} />`}<${Partitions} group=${group} /></div>`)}
    ${ask === 'reset' && html`<${Reset} group=${group} onClose=${close} onDone=${reload} />`}
    ${ask === 'delete' && html`<${Dialog} title=${'Delete group ' + plain(name).slice(0, 100) + '?'} submit="Delete the group" kind="danger" onClose=${close} onDone=${async () => { await api(at`/groups/${name}`, { method: 'DELETE' }); say('The group is gone'); setTimeout(() => go(['groups'])); }}>
      <p>Its offsets in <b>${count(group?.partitionCount)}</b> partitions go with it. When its consumers come back, they begin where their auto.offset.reset says.</p>${group?.members.length > 0 && html`<div class="note warn">It has members: stop its consumers first.</div>`}<//>`}</div>`;
}

const perSecond = n => short(n) + '/s';
const CHARTS = [
  ['Left to read', short, 1000, ['records', 'lag', 1]],
  ['Pace', perSecond, 1000, ['written', 'written', 2], ['read', 'committed', 3]],
];

/** The mean of the last seconds: consumers commit every few seconds. */
function mean(past, key, points = 15) {
  const values = past?.series[key].slice(-points) ?? [];
  return values.length ? values.reduce((sum, one) => sum + one, 0) / values.length : 0;
}

/** Why it is behind, in a sentence; nothing if it is not. */
function why(group, past) {
  if (group.lag === '0' || !group.partitions.length) return '';
  if (!group.members.length) return 'Nobody reads: the group has no members.';
  if (group.state !== 'Stable') return 'Nobody reads until the rebalance is over.';
  const behind = group.partitions.filter(one => Number(one.lag) > 0), alone = behind.filter(one => !one.member);
  if (alone.length) return `${count(alone.reduce((sum, one) => sum + Number(one.lag), 0))} records are in ${count(alone.length)} partition${alone.length === 1 ? '' : 's'} that no member holds.`;
  if (!past || past.times.length < 3) return '';
  const read = mean(past, 'committed'), written = mean(past, 'written'), most = behind.reduce((one, other) => Number(one.lag) > Number(other.lag) ? one : other);
  const client = group.members.find(member => member.member === most.member);
  const where = Number(most.lag) > .6 * Number(group.lag) && group.partitions.length > 2 ? ` Most of it is in partition ${most.partition} of ${plain(most.topic)}, held by ${plain(client?.clientId || most.member)}.` : '';
  if (read === 0) return `Its members commit nothing${written > 0 ? `, while ${perSecond(written)} are written` : ''}.` + where;
  if (read > written * 1.02) return `It reads ${perSecond(read)} while ${perSecond(written)} are written: done in about ${span(Number(group.lag) / (read - written) * 1000)}.` + where;
  if (read < written * .98) return `It reads ${perSecond(read)} while ${perSecond(written)} are written, and falls further behind.` + where;
  return `It reads as fast as is written, ${perSecond(read)}.` + where;
}

const Partitions = ({ group }) => {
  const most = Math.max(1, ...group.partitions.map(one => Number(one.lag ?? 0)));
  const client = Object.fromEntries(group.members.map(member => [member.member, member]));
  if (!group.partitions.length) return html`<div class="panel"><${Empty} title="Nothing was read yet">The group has committed no offset.<//></div>`;
  return html`<div class="panel scroll"><table><thead><tr><th>Topic</th><th class="num">Partition</th><th class="num">Goes on at</th><th class="num">Log ends at</th><th class="num">Left to read</th><th class="wide-only">Held by</th></tr></thead>
    <tbody>${group.partitions.map(one => html`<tr key=${one.topic + one.partition}><td class="name"><a href=${link(['topics', one.topic], { partition: one.partition, start: one.committed ?? 'oldest' })}><${Text} of=${one.topic} /></a></td><td class="num">${one.partition}</td>
      <td class="num mono">${one.committed ?? html`<span class="faint">not committed</span>`}</td><td class="num mono">${one.logEnd ?? html`<span class="faint">gone</span>`}</td>
      <td class="num"><${Lag} of=${one.lag} />${one.lost !== '0' && html` <${Tag} kind="bad">${short(one.lost)} lost<//>`}<span class="bar wide-only"><i style=${{ width: Number(one.lag ?? 0) / most * 100 + '%' }}></i></span></td>
      <td class="dim wide-only">${one.member ? html`<${Text} of=${client[one.member]?.clientId || one.member} max=${60} /> <span class="faint">${plain(client[one.member]?.host ?? '')}</span>` : html`<span class="faint">nobody</span>`}</td></tr>`)}</tbody></table>
    ${group.partitionCount > group.partitions.length && html`<div class="pad dim">${count(group.partitionCount - group.partitions.length)} more partitions are not shown.</div>`}</div>`;
};

/** What a member of the new protocol still has to do. */
const still = (epochs, id) => {
  const one = epochs?.members.find(other => other.member === id);
  if (!one) return '';
  const told = places => places.slice(0, 20).map(place => `${plain(place.topic)} ${place.partition}`).join(', ');
  return html`${one.epoch < 0 ? html` <${Tag} kind="warn">away<//>` : html` <${Tag}>epoch ${one.epoch}<//>`}${one.isClassic && html` <${Tag}>classic<//>`}
    ${one.givesUp.length > 0 && html`<div class="warn">gives up ${told(one.givesUp)}</div>`}${one.waitsFor.length > 0 && html`<div class="dim">waits for ${told(one.waitsFor)}</div>`}`;
};

const Members = ({ group }) => group.members.length === 0 ? html`<div class="panel"><${Empty} title="No members">Nobody consumes in this group now.<//></div>` : html`<div class="panel scroll"><table><thead><tr><th>Client</th><th>From</th><th>Holds</th><th class="wide-only">Member id</th></tr></thead>
  <tbody>${group.members.map(member => html`<tr key=${member.member}><td class="name"><${Text} of=${member.clientId} max=${80} /> ${member.instance && html`<${Tag} kind="accent">static: <${Text} of=${member.instance} max=${60} /><//>`}${still(group.epochs, member.member)}</td><td class="mono">${plain(member.host)}</td>
    <td>${member.share.length ? member.share.map(share => html`<div><${Text} of=${share.topic} /> <span class="dim mono">${share.partitions.slice(0, 40).join(', ')}${share.partitions.length > 40 ? ` … ${share.partitions.length}` : ''}</span></div>`) : html`<span class="faint">nothing</span>`}</td>
    <td class="mono dim wrap wide-only"><${Text} of=${member.member} max=${120} /></td></tr>`)}</tbody></table></div>`;

const who = client => client ? html`<b><${Text} of=${client.clientId || client.member} max=${80} /></b>${client.host ? html` <span class="faint">${plain(client.host)}</span>` : ''}` : '';
function Timeline({ name }) {
  const { data, error } = useLive(at`/groups/${name}/timeline`);
  if (!data) return html`<${Failed} error=${error} />`;
  if (!data.rebalances.length) return html`<div class="panel"><${Empty} title="No rebalance is remembered">The broker keeps the last few thousand things that happened in groups.<//></div>`;
  return html`<div class="stack tight">${data.rebalances.map((one, nth) => {
    const total = Math.max(1, Number(one.tookMs ?? one.joinedMs ?? 0)), last = one.joins[one.joins.length - 1];
    const waited = last && one.joins.length > 1 && Number(last.afterMs) > 20 ? last : null, under = one.tookMs === null;
    return html`<section class="panel pad stack tight" key=${one.atMs + nth}><div class="row"><span class="mono dim" title=${ago(one.atMs)}>${clock(one.atMs)}</span>
      <span class="grow">${one.cause}${one.by ? html`: ${who(one.by)}` : ''}</span>
      ${one.generation !== null && html`<span class="dim">generation ${one.generation}</span>`}<${Tag} kind=${under ? 'warn' : total > 5000 ? 'bad' : total > 1000 ? 'warn' : 'good'}>${under ? 'under way' : 'took ' + span(one.tookMs)}<//></div>
      ${one.joins.length > 0 && one.joinedMs !== null && total > 1 && html`<div class="stack tight">${one.joins.slice(0, 12).map(join => html`<div class="row tight lanes"><span class="who dim"><${Text} of=${join.clientId || join.member} max=${40} /></span><span class="lane grow" title=${`joined after ${span(join.afterMs)}`}><i style=${{ width: Math.max(.5, Number(join.afterMs) / total * 100) + '%' }}></i></span><span class="num dim took">${span(join.afterMs)}</span></div>`)}</div>`}
      ${waited && html`<div class="dim">Waited longest for ${who(waited)}: ${span(waited.afterMs)}.</div>`}
      ${one.gone.map(gone => html`<div class="bad">${who(gone)} is out: ${gone.cause}.</div>`)}</section>`;
  })}</div>`;
}

function Reset({ group, onClose, onDone }) {
  const { say } = useApp();
  const [fields, set] = useState({ to: 'earliest', topic: '', offset: '0', time: '', shift: '-100' });
  const [preview, setPreview] = useState();
  const [error, setError] = useState();
  const topics = [...new Set(group.partitions.map(one => one.topic))];
  const change = more => { set({ ...fields, ...more }); setPreview(); };
  // What would come of it is shown by itself, once nobody has typed for a moment.
  useEffect(() => {
    if (fields.to === 'time' && !fields.time) return;
    let over = false;
    const timer = setTimeout(() => {
      setError();
      api(at`/groups/${group.group}/offsets`, { method: 'POST', body: body(false) }).then(told => over || setPreview(told), problem => over || setError(problem));
    }, 150);
    return () => { over = true; clearTimeout(timer); };
  }, [JSON.stringify(fields)]);
  const body = execute => ({ execute, topic: fields.topic || null, to: fields.to === 'offset' ? fields.offset : fields.to === 'time' ? '@' + new Date(fields.time).getTime() : fields.to === 'shift' ? (/^[+-]/.test(fields.shift) ? fields.shift : '+' + fields.shift) : fields.to });
  const moved = preview?.partitions.reduce((all, one) => all + Number(one.to) - Number(one.committed ?? one.logStart), 0);
  return html`<${Dialog} wide title="Reset offsets" submit="Reset" disabled=${!preview} onClose=${onClose} onDone=${async () => { await api(at`/groups/${group.group}/offsets`, { method: 'POST', body: body(true) }); say('The group goes on from there'); onDone(); }}>
    ${group.members.length > 0 && html`<div class="note warn">The group has ${count(group.members.length)} members: stop its consumers first, else the broker refuses.</div>`}
    <div class="cols"><${Field} label="Go on from"><select name="to" value=${fields.to} onChange=${event => change({ to: event.target.value })}><option value="earliest">the oldest record</option><option value="latest">the end</option><option value="time">a time</option><option value="offset">an offset</option><option value="shift">so many records on or back</option></select><//>
      ${fields.to === 'offset' && html`<${Field} label="Offset"><input inputmode="numeric" value=${fields.offset} onInput=${event => change({ offset: event.target.value })} /><//>`}
      ${fields.to === 'time' && html`<${Field} label="Time"><input type="datetime-local" step="1" value=${fields.time} onInput=${event => change({ time: event.target.value })} /><//>`}
      ${fields.to === 'shift' && html`<${Field} label="Records"><input value=${fields.shift} onInput=${event => change({ shift: event.target.value })} /><//>`}
      <${Field} label="Topic"><select value=${fields.topic} onChange=${event => change({ topic: event.target.value })}><option value="">all that it reads</option>${topics.map(topic => html`<option value=${topic}>${plain(topic)}</option>`)}</select><//></div>
    <${Failed} error=${error} />
    ${preview ? html`<div class="note">${moved < 0 ? html`<b>${count(-moved)}</b> records are read again.` : moved > 0 ? html`<b>${count(moved)}</b> records are skipped.` : 'Nothing changes.'}</div>
      <div class="scroll"><table><thead><tr><th>Topic</th><th class="num">Partition</th><th class="num">Now</th><th class="num">Then</th><th class="num">Left to read</th></tr></thead><tbody>${preview.partitions.slice(0, 200).map(one => html`<tr><td class="wrap"><${Text} of=${one.topic} /></td><td class="num">${one.partition}</td><td class="num mono">${one.committed ?? '–'}</td><td class="num mono"><b>${one.to}</b></td><td class="num">${count(Number(one.logEnd) - Number(one.to))}</td></tr>`)}</tbody></table></div>`
      : !error && html`<div class="dim">${fields.to === 'time' && !fields.time ? 'Choose a time to see what would change.' : 'Looking what would change …'}</div>`}<//>`;
}
