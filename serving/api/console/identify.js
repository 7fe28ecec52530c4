// Identify the faces in a photo.

import { refusal } from './abilities.js';
import { events, identify, person as personById, Problem } from './api.js';
import { announce, byId, called, h, plural, trouble } from './dom.js';
import { noteDistinct, notThisPerson } from './corrections.js';
import { enrolFace } from './enrol.js';
import { faceView } from './face.js';
import { merge } from './merge.js';
import { ACCEPT, filesOf, load, photograph } from './photo.js';

const view = byId('view-identify');
const chooser = h('input', { type: 'file', accept: ACCEPT, hidden: true, onchange: () => take(chooser) });
// On a phone the camera is an application of its own.
const camera = h('input', { type: 'file', accept: ACCEPT, hidden: true, onchange: () => take(camera) });
camera.setAttribute('capture', 'environment');
const intake = h('div', { className: 'intake' });
const work = h('div', { className: 'work' });

let photo = null;
let answer = null;
let asked = 0;

export function start() {
  view.append(intake, chooser, camera, work);
  renderIntake();
  events.addEventListener('abilities', () => {
    renderIntake();
    if (answer) render();
  });
  events.addEventListener('changed', clear);
  events.addEventListener('back', () => { if (photo && !answer) ask(); });
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    intake.classList.add('over');
  });
  document.addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) intake.classList.remove('over');
  });
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    intake.classList.remove('over');
    offered(event.dataTransfer);
  });
  document.addEventListener('paste', (event) => {
    // Text goes into a field as ever.
    if (filesOf(event.clipboardData).length || !event.target.closest?.('input, textarea')) offered(event.clipboardData);
  });
}

function offered(transfer) {
  if (document.querySelector('dialog[open]') || refusal('identify')) return;
  const [file, ...others] = filesOf(transfer);
  if (file) {
    location.hash = '#identify';
    see(file, others.length);
  } else if (!view.hidden) {
    renderIntake();
    intake.append(trouble(new Problem(
      'There is no photo in what was dropped or pasted. Save the photo as a file, and choose that.')));
  }
}

function take(input) {
  const [file] = input.files;
  input.value = ''; // so that the same file can be chosen again
  if (file) see(file);
}

function clear() {
  if (photo) URL.revokeObjectURL(photo.url);
  photo = null;
  answer = null;
  asked += 1;
  work.replaceChildren();
  renderIntake();
}

async function see(file, others = 0) {
  clear();
  const mine = asked;
  let loaded;
  try {
    loaded = await load(file);
  } catch (error) {
    if (mine === asked) work.replaceChildren(trouble(error));
    return;
  }
  if (mine !== asked) return;
  photo = { ...loaded, others };
  renderIntake();
  await ask();
}

async function ask() {
  asked += 1;
  const mine = asked;
  answer = null;
  renderStage([]);
  work.append(h('p', { className: 'busy', role: 'status' }, 'Looking …'));
  try {
    const told = await identify(photo.file);
    if (mine !== asked) return;
    answer = told;
    render();
  } catch (error) {
    if (mine !== asked) return;
    if (!photo.image) work.replaceChildren();
    else renderStage([]);
    work.append(trouble(error, error.again && ask));
  }
}

function renderIntake() {
  const refused = refusal('identify');
  intake.classList.toggle('small', photo !== null);
  if (refused) {
    intake.replaceChildren(h('p', { className: 'note' }, refused));
    return;
  }
  const coarse = matchMedia('(pointer: coarse)').matches;
  const heading = h('h2', { className: photo ? 'away' : '' }, photo ? 'Identify' : 'Who is in a photo?');
  intake.replaceChildren(heading,
    h('div', { className: 'actions' },
      h('button', { type: 'button', className: photo ? '' : 'primary', onclick: () => chooser.click() },
        photo ? 'Another photo' : 'Choose a photo'),
      h('button', { type: 'button', onclick: async () => {
        if (coarse) return camera.click();
        const file = await photograph();
        if (file) see(file);
      } }, 'Take a photo')),
    h('p', { className: 'hint' }, 'Or drop one here, or paste one. It is looked at and not kept.'));
}

function renderStage(boxes) {
  const { image, kind, others } = photo;
  const only = others > 0 && h('p', { className: 'hint' }, `Only the first of ${others + 1} files is looked at.`);
  if (image) image.alt = 'The photo';
  work.replaceChildren(image
    ? h('div', { className: 'stage' }, h('div', { className: 'frame' }, image, boxes), only)
    : h('div', { className: 'note' }, h('p', {}, `This browser cannot show ${kind}, so there is no picture here. ${answer
      ? 'The service can read it: each face has its place in numbers.'
      : 'The service is asked all the same.'}`), only));
}

function render() {
  const { faces } = answer;
  // The service compares before it rounds; only another threshold is compared here.
  let threshold = null;
  const views = faces.map((face, index) => faceView(face, index, {
    photo, threshold: answer.threshold, actions: actionsOf(face, index),
  }));
  const summary = h('p', { className: 'summary', role: 'status' });
  const output = h('output', {}, answer.threshold.toFixed(2));
  // Down to where every face is named.
  const nearest = faces.flatMap(({ candidates }) => candidates.slice(0, 1)).map(({ similarity }) => similarity);
  const least = Math.floor(Math.min(0, answer.threshold, ...nearest) * 100) / 100;
  const slider = h('input', { type: 'range', min: least, max: 1, step: 0.01,
    value: answer.threshold, id: 'threshold', 'aria-describedby': 'threshold-hint' });
  const reset = h('button', { type: 'button', className: 'plain', hidden: true, onclick: () => {
    slider.value = answer.threshold;
    update(null);
    slider.focus();
  } }, `Back to ${answer.threshold.toFixed(2)}`);
  slider.addEventListener('input', () => update(Number(slider.value)));

  function update(to) {
    threshold = to;
    const shown = to ?? answer.threshold;
    output.textContent = shown.toFixed(2);
    slider.setAttribute('aria-valuetext', shown.toFixed(2));
    reset.hidden = to === null;
    const named = views.filter((v) => v.update(to)).length;
    summary.textContent = faces.length === 0 ? 'No face was found in this photo.'
      : `${plural(faces.length, 'face')}, ${named} ${to === null ? 'named' : 'would be named'}`;
  }

  renderStage(views.map((v) => v.box));
  work.append(h('div', { className: 'results' },
    summary,
    faces.length > 0 && h('div', { className: 'threshold' },
      h('label', { htmlFor: 'threshold' }, 'Named from a similarity of ', output), slider,
      h('p', { className: 'hint', id: 'threshold-hint' },
        'Try another one here; the service keeps its own.', ' ', reset)),
    h('ol', { className: 'faces' }, views.map((v) => v.card)),
    h('p', { className: 'hint' }, told(answer))));
  update(threshold);
  announce(summary.textContent);
}

function told({ ms, stages, model, gallery_version: version }) {
  const parts = stages.map(([stage, spent]) => `${stage} ${Math.round(spent)}`).join(', ');
  return `Answered in ${Math.round(ms)} ms${parts && ` (${parts})`}, gallery version ${version}, model ${model}.`;
}

function actionsOf(face, index) {
  const refused = refusal('enrol');
  if (refused) return [h('p', { className: 'hint' }, refused)];
  return [...correctionsOf(face, index), ...enrolmentsOf(face, index)];
}

/** What can be done where the name is wrong, or two are as likely as each other. */
function correctionsOf(face, index) {
  const failed = h('div');
  const then = async (work) => {
    failed.replaceChildren();
    try {
      if (await work()) await ask();
    } catch (error) {
      failed.replaceChildren(trouble(error));
    }
  };
  if (face.ambiguous.length > 1) {
    const [one, other] = face.ambiguous;
    return [h('div', { className: 'actions' },
      h('button', { type: 'button', onclick: () => then(async () => merge(
        await Promise.all(face.ambiguous.map(({ id }) => personById(id))))) }, 'They are one person: merge …'),
      face.ambiguous.length === 2 && h('button', { type: 'button', onclick: () => then(async () => {
        await noteDistinct(one.id, other.id);
        return true;
      }) }, `${called(one)} and ${called(other)} are two people`)),
    h('p', { className: 'hint' }, 'If you know who it is, add the face to that record below: with more photos the '
      + 'two are easier to tell apart.'), failed];
  }
  if (face.id === null) return [];
  const [named] = face.candidates;
  const enrol = (person) => enrolFace(photo, answer.faces, index, person);
  const others = face.candidates.slice(1);
  return [h('div', { className: 'actions' }, h('button', { type: 'button',
    onclick: () => then(() => notThisPerson(named, others, enrol)) }, `This is not ${called(named)}`)), failed];
}

function enrolmentsOf(face, index) {
  if (!photo.image && answer.faces.length > 1) {
    return [h('p', { className: 'hint' },
      `This browser cannot cut one of several faces out of ${photo.kind}. Save the photo as JPEG, and choose that.`)];
  }
  const enrol = async (person) => {
    if (await enrolFace(photo, answer.faces, index, person)) await ask();
  };
  const [nearest] = face.candidates;
  // Who is as likely as the nearest one has a button as well.
  const likely = face.ambiguous.length > 1 ? face.ambiguous : [nearest].filter(Boolean);
  return [h('div', { className: 'actions' },
    h('button', { type: 'button', onclick: () => enrol(null) }, 'Enrol as a new person'),
    likely.map((one) => h('button', { type: 'button', onclick: () => enrol(one) }, `Add to ${called(one)}`)),
    h('button', { type: 'button', onclick: () => enrol({ id: '', name: null }) }, 'Add to somebody else'))];
}
