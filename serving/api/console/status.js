// The state of the service: /readyz, polled, and the requests of this tab.

import { ask, events, isAway } from './api.js';
import { announce, byId, h, svg } from './dom.js';

const SHOWN_MS = 3000;
const ASIDE_MS = 10000;
const AWAY_MS = 2000;
const MINUTES = 3;

const view = byId('view-status');
const dot = byId('health');
const banner = byId('banner');
const cards = h('div', { className: 'cards' });
const rate = plot('Requests a second of this tab', 'a second');
const latency = plot('Latency of this tab’s requests', 'ms');
const samples = [];
let timer = 0;
let last = null;

export function start() {
  view.append(h('h2', {}, 'Status'), cards,
    h('div', { className: 'plots' }, rate.figure, latency.figure),
    h('p', { className: 'hint' }, `Requests of this tab in the last ${MINUTES} minutes, those of this page included. `
      + 'Prometheus and Grafana have the metrics of the whole service; see docs/observability.md.'));
  events.addEventListener('asked', ({ detail }) => {
    samples.push(detail);
    if (!view.hidden) draw();
  });
  events.addEventListener('away', () => {
    banner.textContent = 'The service does not answer. This page tries again until it does.';
    banner.hidden = false;
    last = null;
    render();
    schedule(AWAY_MS);
  });
  events.addEventListener('back', () => {
    banner.hidden = true;
    announce('The service answers again.');
  });
  document.addEventListener('visibilitychange', () => { if (!document.hidden) look(); });
  look();
}

/** The view was opened. */
export const show = () => look();

function schedule(ms) {
  clearTimeout(timer);
  timer = setTimeout(look, ms);
}

async function look() {
  clearTimeout(timer);
  if (document.hidden) return; // visibilitychange goes on
  try {
    last = (await ask('GET', 'readyz', { expected: [503] })).body;
  } catch (error) {
    last = isAway() ? null : { ready: false, checks: { service: error.message } };
  }
  render();
  if (!view.hidden) draw();
  if (isAway()) schedule(AWAY_MS);
  else schedule(view.hidden ? ASIDE_MS : SHOWN_MS);
}

function render() {
  const state = last === null ? (isAway() ? 'away' : '') : last.ready ? 'ready' : 'unready';
  const told = { ready: 'Ready', unready: 'Not ready', away: 'No answer', '': '…' }[state];
  if (dot.dataset.state === 'ready' && state === 'unready') announce('The service is not ready.');
  if (dot.dataset.state === 'unready' && state === 'ready') announce('The service is ready.');
  dot.dataset.state = state;
  dot.textContent = told;
  const { stages, triton, gallery, keys, service } = last?.checks ?? {};
  if (last === null) {
    cards.replaceChildren(card('Service', isAway() ? 'It does not answer.' : 'Asking …', !isAway()));
    return;
  }
  cards.replaceChildren(...[
    service !== undefined && card('Service', service, false),
    stages !== undefined && card('Stages', stages === 'ok' ? 'Decode and detect are up.' : stages, stages === 'ok'),
    triton !== undefined && card('Triton', triton === 'ok' ? 'Serves the model.' : triton, triton === 'ok'),
    gallery !== undefined && galleryCard(gallery),
    keys !== undefined && card('API keys', keys === 'ok' ? 'All entries of the key file count.' : keys, keys === 'ok'),
  ].filter(Boolean));
}

function card(title, sentence, good, more = null) {
  return h('section', { className: `card ${good ? 'good' : 'bad'}` },
    h('h3', {}, title), h('p', { className: 'state' }, good ? 'OK' : 'Trouble'), h('p', {}, sentence), more);
}

function galleryCard(gallery) {
  if (gallery === 'ok') return card('Gallery in S3', 'Loaded. With a key it says what it holds.', true);
  if (typeof gallery === 'string') return card('Gallery in S3', gallery, false);
  const { loaded, version, people, photos, problem } = gallery;
  const sentence = problem ?? (loaded ? 'Loaded from S3.' : 'It is not loaded yet.');
  const fact = (name, value) => [h('dt', {}, name), h('dd', {}, value.toLocaleString())];
  return card('Gallery in S3', sentence, loaded && !problem, [
    h('dl', { className: 'facts' }, fact('People', people), fact('Photos', photos), fact('Version', version)),
    h('p', { className: 'hint' }, 'Of the default collection.')]);
}

function draw() {
  const now = Date.now();
  const from = now - MINUTES * 60_000;
  while (samples.length && samples[0].at < from) samples.shift();
  const width = 5000;
  const bins = new Map();
  for (const { at } of samples) {
    const bin = Math.floor(at / width);
    bins.set(bin, (bins.get(bin) ?? 0) + 1000 / width);
  }
  rate.draw([...bins].map(([bin, value]) => ({ at: bin * width, value, ok: true })), from, now, width);
  latency.draw(samples.filter(({ ms }) => ms !== null).map(({ at, ms, ok }) => ({ at, value: ms, ok })), from, now);
}

/** A small plot over time: bars of `width` ms each, or dots. The figures are also given as text. */
function plot(title, unit) {
  const [w, height] = [300, 80];
  const drawing = svg('svg', { viewBox: `0 0 ${w} ${height}`, role: 'img', 'aria-label': title,
    preserveAspectRatio: 'none' });
  const numbers = h('p', { className: 'hint' });
  const show = (value) => (value >= 10 ? Math.round(value).toLocaleString() : value.toFixed(1));

  function update(points, from, to, width = 0) {
    const values = points.map(({ value }) => value).sort((a, b) => a - b);
    const highest = values.at(-1) ?? 0;
    const x = (at) => ((at - from) / (to - from)) * w;
    const y = (value) => height - (value / (highest * 1.1 || 1)) * height;
    drawing.replaceChildren(
      svg('line', { x1: 0, x2: w, y1: height - 0.5, y2: height - 0.5, class: 'axis' }),
      ...points.map(({ at, value, ok }) => (width
        ? svg('rect', { class: 'column', x: x(at) + 0.5, y: y(value),
          width: Math.max(1, x(from + width) - 1.5), height: height - y(value) })
        : svg('ellipse', { cx: x(at), cy: y(value), rx: 1.6, ry: 2.4, class: ok ? 'dot' : 'dot failed' }))));
    numbers.textContent = values.length === 0 ? 'Nothing yet'
      : `latest ${show(points.at(-1).value)}, median ${show(values[values.length >> 1])}, `
        + `highest ${show(highest)} ${unit}`;
    drawing.setAttribute('aria-label', `${title}: ${numbers.textContent}`);
  }

  return { figure: h('figure', { className: 'plot' }, h('figcaption', {}, title), drawing, numbers), draw: update };
}
