import { html, useLive, useState, useApp, api, Failed, Text, Dialog, Field, count, bytes } from '../lib.js';

export function Cleanup() {
  const { mayChange, say } = useApp();
  const { data, error, reload } = useLive('/cleanup');
  const [ask, setAsk] = useState(null);
  const [typed, setTyped] = useState('');
  const close = () => { setAsk(null); setTyped(''); };
  const told = (did, failed) => { say(did + (failed.length ? `; ${failed.length} failed: ${failed[0].detail}` : ''), failed.length ? 'bad' : ''); reload(); };
  return html`<div class="stack"><div class="head"><h1>Cleanup</h1></div><${Failed} error=${error} />
    ${data && html`<section class="panel pad stack tight"><h2>Remove empty topics</h2><p class="dim">${data.emptyTopicCount ? html`<b>${count(data.emptyTopicCount)}</b> topics hold no record: <${Text} of=${data.emptyTopics.join(', ')} max=${600} />` : 'Every topic holds something.'}</p><div><button class="danger" disabled=${!mayChange || !data.emptyTopicCount} onClick=${() => setAsk('empty')}>Remove ${count(data.emptyTopicCount)} topics</button></div></section>
    <section class="panel pad stack tight"><h2>Delete all messages</h2><p class="dim">${data.records === '0' ? 'There are none that may be deleted.' : html`<b>${count(data.records)}</b> records, ${bytes(data.bytes)}, in ${count(data.topicCount)} topics. The topics, their configs and offsets stay; topics that only compact, the broker’s journals and internal topics are left alone.`}</p><div><button class="danger" disabled=${!mayChange || data.records === '0'} onClick=${() => setAsk({ records: data.records })}>Delete ${count(data.records)} messages</button></div></section>`}
    ${ask === 'empty' && html`<${Dialog} title=${`Remove ${count(data.emptyTopicCount)} topics?`} submit="Remove them" kind="danger" onClose=${close} onDone=${async () => { const { removedCount, failed } = await api('/cleanup/empty-topics', { method: 'POST', body: {} }); told(`${count(removedCount)} topics are gone`, failed); }}><p>Those to which somebody writes meanwhile stay.</p><//>`}
    ${ask?.records && html`<${Dialog} title=${`Delete ${count(ask.records)} messages?`} submit="Delete them" kind="danger" disabled=${typed.replace(/\D/g, '') !== ask.records} onClose=${close} onDone=${async () => { const { records, failed } = await api('/cleanup/all-messages', { method: 'POST', body: { records: ask.records } }); told(`${count(records)} messages are gone`, failed); }}>
      <p>They go for good, those that come until then as well.</p><${Field} label=${`Type ${count(ask.records)} to go on`}><input name="confirm" autofocus value=${typed} onInput=${event => setTyped(event.target.value)} /><//><//>`}</div>`;
}
