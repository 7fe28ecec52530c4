// Whether two photos show one person. Does not use the gallery.

import { refusal } from './abilities.js';
import { call, check, events } from './api.js';
import { announce, byId, h, plural, trouble } from './dom.js';
import { isAttack, percent, reasonsOf } from './face.js';
import { ACCEPT, filesOf, load } from './photo.js';

const view = byId('view-compare');
const refused = h('p', { className: 'note', hidden: true });
const verdict = h('div', { className: 'verdict' });
const slots = [slot('First photo'), slot('Second photo')];
const content = h('div', { className: 'compare' },
  h('div', { className: 'pair' }, slots.map(({ element }) => element)), verdict);
let asked = 0;

export function start() {
  view.append(h('h2', {}, 'Are two photos of one person?'),
    h('p', { className: 'hint' }, 'The largest face of each counts. Both are looked at and not kept.'),
    refused, content);
  events.addEventListener('abilities', () => {
    const sentence = refusal('identify');
    refused.textContent = sentence ?? '';
    refused.hidden = sentence === null;
    content.hidden = sentence !== null;
  });
  events.addEventListener('changed', () => verdict.replaceChildren());
  // Before the listeners of Identify, which takes what comes to the other views.
  for (const [name, transfer] of [['drop', 'dataTransfer'], ['paste', 'clipboardData']]) {
    document.addEventListener(name, (event) => offered(event, event[transfer]), { capture: true });
  }
}

/** Two photos, or one for the first slot that is empty, or for the second. */
function offered(event, transfer) {
  const files = filesOf(transfer);
  if (!files.length || view.hidden || content.hidden || document.querySelector('dialog[open]')) return;
  if (event.target.closest?.('.slot')) return;
  event.preventDefault();
  event.stopPropagation();
  if (files.length > 1) slots.forEach((each, n) => each.see(files[n]));
  else (slots.find((each) => each.file === null) ?? slots[1]).see(files[0]);
}

function slot(title) {
  const shown = h('div', { className: 'picture' });
  const mine = { file: null, see };
  let url = null;
  const input = h('input', { type: 'file', accept: ACCEPT, hidden: true, onchange: () => {
    const [file] = input.files;
    input.value = '';
    if (file) see(file);
  } });
  const choose = h('button', { type: 'button', 'aria-label': `${title}: choose a file`,
    onclick: () => input.click() }, title);

  async function see(file) {
    let photo;
    try {
      photo = await load(file);
    } catch (error) {
      verdict.replaceChildren(trouble(error));
      return;
    }
    if (url) URL.revokeObjectURL(url);
    ({ url } = photo);
    mine.file = file;
    if (photo.image) photo.image.alt = title;
    shown.replaceChildren(photo.image
      ?? h('p', { className: 'hint' }, `${file.name}: this browser cannot show ${photo.kind}.`));
    await ask();
  }

  mine.element = h('section', { className: 'slot', 'aria-label': title, ondrop: (event) => {
    event.preventDefault();
    event.stopPropagation();
    const [file] = filesOf(event.dataTransfer);
    if (file) see(file);
  } }, shown, choose, input);
  return mine;
}

async function ask() {
  asked += 1;
  const mine = asked;
  if (slots.some(({ file }) => file === null)) return;
  verdict.replaceChildren(h('p', { className: 'busy', role: 'status' }, 'Looking …'));
  const form = new FormData();
  form.set('image_a', slots[0].file, 'photo');
  form.set('image_b', slots[1].file, 'photo');
  try {
    await Promise.all(slots.map(({ file }) => check(file)));
    const told = await call('POST', 'verify', { body: form });
    if (mine === asked) render(told);
  } catch (error) {
    error.message = inWords(error.message);
    if (mine === asked) verdict.replaceChildren(trouble(error, error.again && ask));
  }
}

/** The API names its fields, which nobody sees here. */
function inWords(sentence) {
  const told = sentence.replaceAll('image_a', 'the first photo').replaceAll('image_b', 'the second photo');
  return told[0].toUpperCase() + told.slice(1);
}

function render({ same, similarity, confidence, threshold, image_a: a, image_b: b, model }) {
  const attacks = [a, b].map((face, n) => isAttack(face) && h('p', {},
    `The ${n ? 'second' : 'first'} photo: ${face.liveness.reason}`)).filter(Boolean);
  const poor = [...attacks, ...[a, b].map((face, n) => !face.quality.sufficient && h('p', {},
    `The ${n ? 'second' : 'first'} photo: ${reasonsOf(face)}`)).filter(Boolean)];
  const sentence = attacks.length ? 'Not live' : poor.length ? 'Too poor to say' : same ? 'The same person' : 'Not the same person';
  const others = [a, b].map(({ faces }, n) => faces > 1 && h('p', { className: 'hint' },
    `The ${n ? 'second' : 'first'} photo shows ${plural(faces, 'face')}; the largest was taken.`));
  verdict.replaceChildren(
    h('p', { className: same ? 'summary known' : 'summary' }, sentence),
    ...poor.length ? poor : [h('p', {}, `Similarity ${similarity.toFixed(2)}, confidence ${percent(confidence)}. `
      + `From ${threshold.toFixed(2)} on two photos are taken for one person.`)],
    ...others.filter(Boolean),
    h('p', { className: 'hint' }, `Model ${model}.`));
  announce(poor.length ? sentence : `${sentence}, similarity ${similarity.toFixed(2)}`);
}
