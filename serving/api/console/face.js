// One face: its box on the photo, and its card beside it.

import { h } from './dom.js';

export function percent(probability) {
  // Nothing is certain, however it is rounded.
  if (probability < 0.0001) return '< 0.01 %';
  if (probability > 0.9999) return '> 99.99 %';
  const digits = probability > 0.999 || probability < 0.1 ? 2 : 1;
  return `${(probability * 100).toFixed(digits)} %`;
}

/**
 * {box, card, update}: `update(threshold)` shows the name from that similarity on, null being the
 * service's own answer, and says whether the face is named.
 */
export function faceView(face, index, { photo, threshold, actions }) {
  const [nearest] = face.candidates;
  const poor = !face.quality.sufficient;
  const attack = isAttack(face);
  const doubt = face.ambiguous.length > 0;
  const number = index + 1;
  const name = h('span', { className: 'name' });
  const label = h('span', { className: 'label' }, `${number} `, name);
  const box = h('button', { type: 'button', className: 'box', onclick: () => show() }, label);
  if (photo.image) place(box, face.box, photo);

  const title = h('span', { className: 'who' });
  const line = h('span', { className: 'line' });
  const bar = meter(nearest?.similarity ?? 0);
  const card = h('details', {},
    h('summary', {}, h('span', { className: 'number', 'aria-hidden': 'true' }, number),
      h('span', { className: 'text' }, title, line, !photo.image && h('span', { className: 'line' }, placeOf(face)),
        bar.element)),
    h('div', { className: 'inside' },
      candidates(face),
      h('p', { className: 'hint' }, `Box ${face.box.join(', ')}; detection score ${face.detection_score.toFixed(3)}.`),
      actions));
  const item = h('li', { className: 'face' }, card);
  for (const part of [box, item]) {
    part.addEventListener('pointerenter', () => light(true));
    part.addEventListener('pointerleave', () => light(false));
    part.addEventListener('focusin', () => light(true));
    part.addEventListener('focusout', () => light(false));
  }

  function light(on) {
    for (const part of [box, item]) part.classList.toggle('lit', on);
  }

  function show() {
    card.open = true;
    const summary = card.querySelector('summary');
    summary.focus({ preventScroll: true });
    item.scrollIntoView({ block: 'nearest' });
  }

  function update(to) {
    const reached = to === null ? face.id !== null || doubt : nearest !== undefined && nearest.similarity >= to;
    // Whether the service names an ambiguous face is a setting of its own.
    const known = reached && (!doubt || face.id !== null);
    const who = reached ? (doubt ? eitherOf(face.ambiguous) : nearest.name ?? `id ${nearest.id}`)
      : attack ? 'Not live' : poor ? 'Too poor to say' : 'Unknown';
    for (const part of [box, item]) part.classList.toggle('known', known);
    bar.update(to ?? threshold);
    title.textContent = who;
    name.textContent = who;
    line.textContent = sentence(known, reached);
    box.setAttribute('aria-label', `Face ${number}: ${who}. ${line.textContent}`);
    return known;
  }

  function sentence(known, reached) {
    if (attack) return face.liveness.reason;
    if (poor) return reasonsOf(face);
    if (!nearest) return 'Nobody is enrolled yet';
    if (doubt && reached) return doubtOf(face);
    const numbers = `similarity ${nearest.similarity.toFixed(2)}, confidence ${percent(nearest.confidence)}`;
    if (known) return nearest.name ? `id ${nearest.id}, ${numbers}` : numbers;
    return `nearest is ${nearest.name ?? `id ${nearest.id}`}: ${numbers}`;
  }

  return { box, card: item, update };
}

/** The people between whom the model cannot decide, as one name. */
function eitherOf(people) {
  const names = people.map(({ id, name }) => name ?? `id ${id}`);
  const plain = new Set(names).size === names.length;
  const each = plain ? names : people.map(({ id, name }) => (name ? `${name} (id ${id})` : `id ${id}`));
  // This key may learn of one of them alone.
  return (each.length > 1 ? each : [...each, 'somebody else']).join(' or ');
}

/** Why an ambiguous face has two names, and what to do about it. */
function doubtOf({ ambiguous }) {
  const numbers = ambiguous.map(({ id, similarity }) => `id ${id} ${similarity.toFixed(2)}`).join(', ');
  return `Nearly as likely as each other: similarity of ${numbers}. If they are one person, merge them.`;
}

/** Why a face is too poor to say who it is; empty: it is not. */
export const reasonsOf = ({ quality }) => quality.reasons.map(({ reason }) => reason).join(' ');

/** Whether a face is taken for an attack; an older service does not say. */
export const isAttack = ({ liveness }) => liveness?.live === false;

/** Where there is no picture to draw the box on. */
const placeOf = ({ box: [x1, y1, x2, y2] }) => (
  `${x1} to ${x2} pixels from the left, ${y1} to ${y2} from the top`);

function place(box, [x1, y1, x2, y2], { width, height }) {
  box.style.left = `${(x1 / width) * 100}%`;
  box.style.top = `${(y1 / height) * 100}%`;
  box.style.width = `${((x2 - x1) / width) * 100}%`;
  box.style.height = `${((y2 - y1) / height) * 100}%`;
  // Written below the face, or above it where there is no room below.
  box.classList.toggle('low', y2 / height > 0.93);
  box.classList.toggle('right', x1 / width > 0.65);
}

/** How similar, with a mark at the threshold. What it shows is also said in words beside it. */
function meter(similarity) {
  const fill = h('span', { className: 'fill' });
  const mark = h('span', { className: 'mark' });
  fill.style.width = `${Math.max(0, Math.min(1, similarity)) * 100}%`;
  return {
    element: h('span', { className: 'meter', 'aria-hidden': 'true' }, fill, mark),
    update: (threshold) => { mark.style.left = `${Math.max(0, threshold) * 100}%`; },
  };
}

function candidates(face) {
  if (isAttack(face)) return h('p', {}, `No candidates. ${face.liveness.reason}`);
  if (!face.quality.sufficient) return h('p', {}, 'No candidates: whoever is nearest to such a face is so by chance. Take a better photo.');
  if (face.candidates.length === 0) return h('p', {}, 'No candidates: nobody is enrolled, or nobody is similar enough that this key may know it.');
  return h('table', { className: 'candidates' },
    h('caption', {}, 'The nearest people'),
    h('thead', {}, h('tr', {},
      ['Name', 'Id', 'Similarity', 'Confidence'].map((text) => h('th', { scope: 'col' }, text)))),
    h('tbody', {}, face.candidates.map((c) => h('tr', {},
      h('td', {}, c.name ?? '–'), h('td', {}, c.id),
      h('td', {}, c.similarity.toFixed(3)), h('td', {}, percent(c.confidence))))));
}
