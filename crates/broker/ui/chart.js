// A small chart over time: lines with what is under them, and the values where the pointer is.
import { html, useEffect, useRef, useState, clock } from './lib.js';

const STEPS = [1, 2, 5];
function top(value, base) {
  if (!(value > 0)) return 1;
  const unit = Math.pow(base === 1024 ? 1024 : 1000, Math.floor(Math.log(value) / Math.log(base === 1024 ? 1024 : 1000)));
  for (let by = 1; by < 1e4; by *= 10) for (const step of STEPS) if (step * by * unit >= value) return step * by * unit;
  return value;
}

/** `series`: [{ name, values, color: 1..4 }], all as long as `times` (ms). */
export function Chart({ title, times, series, format, base = 1000, stepMs = 1000, windowMs = 900000 }) {
  const canvas = useRef();
  const [hover, setHover] = useState(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(entry.contentRect.width));
    watch.observe(canvas.current);
    return () => watch.disconnect();
  }, []);
  const end = times.length ? times[times.length - 1] : Date.now();
  // A broker that began a moment ago fills the chart with what there is.
  windowMs = Math.min(windowMs, Math.max(120000, times.length ? end - times[0] : 0));
  const begin = end - windowMs;
  useEffect(() => {
    const el = canvas.current, ratio = devicePixelRatio || 1, w = el.clientWidth, h = el.clientHeight;
    if (!w) return;
    el.width = w * ratio; el.height = h * ratio;
    const c = el.getContext('2d'), style = getComputedStyle(el), color = name => style.getPropertyValue(name).trim();
    c.scale(ratio, ratio);
    const max = top(Math.max(0, ...series.flatMap(one => one.values)), base);
    const low = h - 16, high = 8, x = t => (t - begin) / windowMs * w, y = v => low - v / max * (low - high);
    c.font = '10.5px system-ui, sans-serif'; c.fillStyle = color('--faint'); c.strokeStyle = color('--line'); c.lineWidth = 1;
    for (const part of [0, .5, 1]) { c.beginPath(); c.moveTo(0, Math.round(y(max * part)) + .5); c.lineTo(w, Math.round(y(max * part)) + .5); c.stroke(); }
    for (const part of [0, 1 / 3, 2 / 3]) c.fillText(clock(begin + windowMs * part).slice(0, windowMs > 3600000 ? 5 : 8), part * w, h - 3);
    for (const one of series) {
      const hue = color('--c' + one.color);
      const runs = [];
      one.values.forEach((v, at) => {
        if (times[at] < begin) return;
        if (!runs.length || times[at] - times[at - 1] > stepMs * 5) runs.push([]);
        runs[runs.length - 1].push([x(times[at]), y(v)]);
      });
      for (const run of runs) {
        c.beginPath();
        run.forEach(([px, py], at) => at ? c.lineTo(px, py) : c.moveTo(px, py));
        c.strokeStyle = hue; c.lineWidth = 1.6; c.lineJoin = 'round'; c.stroke();
        c.lineTo(run[run.length - 1][0], low); c.lineTo(run[0][0], low); c.closePath();
        c.globalAlpha = .1; c.fillStyle = hue; c.fill(); c.globalAlpha = 1;
      }
    }
    c.fillStyle = color('--dim'); c.fillText(format(max), 0, high + 11);
    if (hover !== null && times[hover] !== undefined) {
      c.strokeStyle = color('--faint'); c.beginPath(); c.moveTo(x(times[hover]), high); c.lineTo(x(times[hover]), low); c.stroke();
      for (const one of series) { c.fillStyle = color('--c' + one.color); c.beginPath(); c.arc(x(times[hover]), y(one.values[hover]), 3, 0, 7); c.fill(); }
    }
  });
  const move = event => {
    const box = canvas.current.getBoundingClientRect();
    const t = begin + (event.clientX - box.left) / box.width * windowMs;
    let best = null;
    times.forEach((one, at) => { if (best === null || Math.abs(one - t) < Math.abs(times[best] - t)) best = at; });
    setHover(best);
  };
  const shown = hover ?? times.length - 1;
  return html`<div class="panel chart" data-width=${width}><div class="top"><b>${title}</b>
    ${hover !== null && times[hover] ? html`<span>${clock(times[hover])}</span>` : ''}
    ${series.map(one => html`<span class=${'key k' + one.color}>${one.name} <b class="num">${times.length ? format(one.values[shown] ?? 0) : '–'}</b></span>`)}</div>
    <canvas ref=${canvas} role="img" aria-label=${title + ' over time'} onPointerMove=${move} onPointerLeave=${() => setHover(null)}></canvas></div>`;
}

const MINUTES_15 = 900000;
/** Charts of what `past` tells; each is [title, format, base, …[name, key, color]]. */
export const Charts = ({ past, windowMs = MINUTES_15, of }) => html`<div class="charts">${of.map(([title, format, base, ...series]) => html`<${Chart} key=${title} title=${title} format=${format} base=${base} windowMs=${windowMs} stepMs=${past.stepMs} times=${past.times} series=${series.map(([name, key, color]) => ({ name, color, values: past.series[key] }))} />`)}</div>`;
