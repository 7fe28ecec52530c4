// The list of the people who are enrolled.

import { refusal } from './abilities.js';
import { events, people, person as personById } from './api.js';
import { byId, h, plural, time, trouble } from './dom.js';
import { showDuplicates } from './duplicates.js';
import { enrolFiles } from './enrol.js';
import { idOf } from './exact.js';
import { merge } from './merge.js';
import { eraseById, showPerson } from './person.js';
import { basisOf, ending } from './retention.js';

const view = byId('view-people');
const search = h('input', { type: 'search', id: 'people-search', autocomplete: 'off', oninput: () => searched() });
// Days from now until which the retention ends.
const ends = h('select', { id: 'people-ends', onchange: () => reload() },
  [['', 'Everybody'], ['0', 'Ended, to be erased'], ['30', 'Ends within 30 days'], ['90', 'Ends within 90 days'],
    ['366', 'Ends within a year']].map(([value, text]) => h('option', { value }, text)));
const status = h('p', { className: 'hint', role: 'status' });
const rule = h('p', { className: 'hint', hidden: true });
const body = h('tbody');
const table = h('div', { className: 'table' }, h('table', { className: 'people' },
  h('caption', { className: 'away' }, 'People'),
  h('thead', {}, h('tr', {},
    h('th', { scope: 'col' }, h('span', { className: 'away' }, 'Choose')),
    ['Id', 'Name', 'Photos', 'Model', 'Since', 'Kept, and why'].map((text) => h('th', { scope: 'col' }, text)))),
  body));
const more = h('button', { type: 'button', onclick: () => loadMore() }, 'Load more');
const mergeChosen = h('button', { type: 'button', hidden: true, onclick: async () => {
  const both = [...loaded.values()].filter(({ id }) => chosen.has(id));
  if (await merge(both)) await reload();
} });
const failed = h('div');
const content = h('div', {},
  h('div', { className: 'bar' },
    h('div', { className: 'field' }, h('label', { htmlFor: 'people-search' }, 'Search by id or name'), search),
    h('div', { className: 'field' }, h('label', { htmlFor: 'people-ends' }, 'Show'), ends),
    h('div', { className: 'actions' },
      h('button', { type: 'button', className: 'primary', onclick: async () => {
        if (await enrolFiles(null)) await reload();
      } }, 'Enrol a person'),
      mergeChosen,
      h('button', { type: 'button', onclick: async () => {
        if (await showDuplicates()) await reload();
      } }, 'Likely duplicates'),
      h('button', { type: 'button', onclick: () => reload() }, 'Reload'))),
  failed, status, rule, table, h('div', { className: 'actions' }, more));
const refused = h('p', { className: 'note' });
const eraser = h('button', { type: 'button', className: 'plain', onclick: async () => {
  if (await eraseById()) await reload();
} }, 'Erase somebody who was deleted before');

let loaded = new Map();
let chosen = new Set();
let next = null;
let total = 0;
let daysKept = null;
let fresh = false;
let asked = 0;

export function start() {
  view.append(h('h2', {}, 'People'), refused, content, h('p', {}, eraser));
  for (const name of ['abilities', 'changed', 'back']) {
    events.addEventListener(name, () => {
      fresh = false;
      if (!view.hidden) show();
    });
  }
}

/** The view was opened. */
export async function show() {
  const sentence = refusal('enrol');
  refused.textContent = sentence ?? '';
  refused.hidden = sentence === null;
  content.hidden = sentence !== null;
  eraser.hidden = sentence !== null || refusal('admin') !== null;
  if (sentence === null && !fresh) await reload();
}

async function reload() {
  loaded = new Map();
  chosen = new Set();
  next = '-1';
  fresh = true;
  await loadMore();
}

async function loadMore() {
  asked += 1;
  const mine = asked;
  failed.replaceChildren();
  try {
    // A search goes through all pages.
    const before = ends.value === '' ? null : new Date(Date.now() + Number(ends.value) * 86400000 + 1000);
    const page = await people(next, search.value.trim() ? 1000 : 100, before);
    if (mine !== asked) return;
    for (const one of page.identities) loaded.set(one.id, one);
    ({ next, total, days_kept: daysKept } = page);
  } catch (error) {
    if (mine !== asked) return;
    fresh = false;
    failed.replaceChildren(trouble(error, loadMore));
  }
  render();
}

let typing = 0;

function searched() {
  render();
  clearTimeout(typing);
  typing = setTimeout(lookUp, 300);
}

/** An id that is typed in full is requested, wherever it is in the list. */
async function lookUp() {
  const id = idOf(search.value);
  if (id === null || loaded.has(id) || next === null || ends.value !== '') return;
  try {
    loaded.set(id, await personById(id));
    render();
  } catch {
    // The id is free; the loaded people are shown.
  }
}

function fits({ id, name }, wanted) {
  return id.startsWith(wanted)
    || (name ?? '').toLowerCase().split(/\s+/).some((_, n, words) => words.slice(n).join(' ').startsWith(wanted));
}

function render() {
  const focused = document.activeElement;
  const wanted = search.value.trim().toLowerCase().replace(/\s+/g, ' ');
  const all = [...loaded.values()];
  const shown = wanted ? all.filter((one) => fits(one, wanted)) : all;
  body.replaceChildren(...shown.map(row));
  table.hidden = shown.length === 0;
  more.hidden = next === null || next === '-1';
  const everybody = plural(total, 'person', 'people');
  const among = next === null ? '' : `; ${loaded.size.toLocaleString()} are loaded`;
  if (total === 0 && next === null && ends.value !== '') status.textContent = 'Nobody’s retention ends by then.';
  else if (total === 0 && next === null) status.textContent = 'Nobody is enrolled in this collection yet.';
  else status.textContent = `${wanted ? `${shown.length.toLocaleString()} found of ` : ''}${everybody}${among}`;
  rule.hidden = daysKept === null;
  if (daysKept !== null) {
    rule.textContent = `Who is enrolled here without a date of its own is kept for ${plural(daysKept, 'day')} from then on.`;
  }
  renderChosen();
  if (focused.isConnected && !focused.hidden) return;
  // The row was drawn anew, or is gone.
  (byId(focused.id) ?? search).focus();
}

function renderChosen() {
  mergeChosen.hidden = chosen.size < 2;
  mergeChosen.textContent = `Merge ${chosen.size} people`;
}

function row(one) {
  const tick = h('input', { type: 'checkbox', id: `choose-${one.id}`, checked: chosen.has(one.id),
    'aria-label': `Choose ${one.name ?? one.id} (id ${one.id})`, onchange: () => {
      if (tick.checked) chosen.add(one.id);
      else chosen.delete(one.id);
      renderChosen();
    } });
  const model = one.model.replace(/@.*/, '');
  return h('tr', {},
    h('td', {}, h('label', { className: 'tick' }, tick)),
    h('td', { className: 'id' }, one.id),
    h('td', { className: 'name' }, h('button', { type: 'button', className: 'link', id: `person-${one.id}`,
      'aria-label': `${one.name ?? 'No name'}, id ${one.id}`,
      onclick: async () => {
        if (await showPerson(one.id)) await reload();
      } }, one.name ?? 'No name')),
    h('td', { className: 'photos' }, one.photos.toLocaleString(),
      h('span', { className: 'narrow' }, one.photos === 1 ? ' photo' : ' photos')),
    h('td', { className: 'model', title: one.model }, model),
    h('td', { className: 'since' }, h('span', { className: 'narrow' }, 'since '), time(one.created)),
    h('td', { className: 'kept' }, kept(one)));
}

/** Until when and on which basis; empty where neither is noted. */
function kept(one) {
  const basis = basisOf(one);
  return [ending(one), basis && h('span', { className: 'why' }, basis)].filter(Boolean);
}
