// The audit: who looked up whom, who changed what, and whether the records are whole.

import { call, events, session } from './api.js';
import { announce, byId, h, labelled, moment, plural, trouble } from './dom.js';
import { digits, idOf } from './exact.js';

const KINDS = { identify: 'Look-up of a photo', verify: 'Comparison of two photos', enrol: 'Enrolment',
  add: 'Embeddings added', describe: 'Change of a record', merge: 'Merge', move: 'Photos moved',
  distinct: 'Noted: two people', same: 'Taken back: two people', unmerge: 'Merge taken apart', undo: 'Undo',
  remove: 'Photos removed', delete: 'Deletion', 'delete-all': 'Deletion of everybody', erase: 'Erasure',
  withdraw: 'Consent withdrawn',
  expire: 'Erasure at the end of the retention', import: 'Import', restore: 'Restored from a backup',
  migrate: 'Moved to another model', compact: 'Compaction', sweep: 'Objects swept', request: 'Refused request' };
const OUTCOMES = { done: 'done', unknown: 'perhaps done', failed: 'failed', refused: 'refused' };
// Empty pages that are read in one go: each is a few seconds of reading.
const PAGES = 20;
const DAYS = 7;

const view = byId('view-audit');
const day = (ago) => {
  const moment = new Date(Date.now() - ago * 86400000);
  return [moment.getFullYear(), moment.getMonth() + 1, moment.getDate()]
    .map((part) => String(part).padStart(2, '0')).join('-');
};
const text = (more = {}) => h('input', { autocomplete: 'off', spellcheck: false, maxLength: 200, ...more });
const from = h('input', { type: 'date', value: day(DAYS) });
const to = h('input', { type: 'date' });
const kind = h('select', {}, h('option', { value: '' }, 'Any'),
  Object.entries(KINDS).map(([value, name]) => h('option', { value }, name)));
const person = text({ inputMode: 'numeric', maxLength: 19 });
const key = text();
const request = text();
const status = h('p', { className: 'hint', role: 'status' });
const notes = h('div', { className: 'outcome' });
const failed = h('div');
const body = h('tbody');
const table = h('div', { className: 'table', hidden: true }, h('table', { className: 'audit' },
  h('caption', { className: 'away' }, 'Records of the audit, newest first'),
  h('thead', {}, h('tr', {}, ['When', 'What', 'People', 'By', 'Details'].map((name) => h('th', { scope: 'col' }, name)))),
  body));
const more = h('button', { type: 'button', hidden: true, onclick: () => look() }, 'Load more');
const whole = h('div', { className: 'outcome' });
const checker = h('button', { type: 'button', onclick: () => check() }, 'Check that nothing is missing or changed');
const off = h('div', { className: 'note', hidden: true });
const content = h('div', { className: 'stack' },
  h('form', { className: 'filters', onsubmit: (event) => {
    event.preventDefault();
    search();
  } },
  h('div', { className: 'row' }, labelled('From', from), labelled('To', to), labelled('What', kind)),
  h('div', { className: 'row' }, labelled('Id of a person', person), labelled('By the key', key),
    labelled('Request id', request)),
  h('div', { className: 'actions' }, h('button', { type: 'submit', className: 'primary' }, 'Search'), checker)),
  whole, failed, notes, status, table, h('div', { className: 'actions' }, more));

let asked = 0;
let fresh = false;
let next = null;
let count = 0;
let filters = '';

export function start() {
  view.append(h('h2', {}, 'Audit'),
    h('p', { className: 'hint' }, 'Who looked up whom, and who changed what, in the collection that is chosen above. '
      + 'No photo and no name is in it.'), off, content);
  events.addEventListener('changed', () => {
    fresh = false;
    if (!view.hidden) show();
  });
}

/** The view was opened. */
export function show() {
  if (!fresh) search();
}

function query() {
  const given = { limit: '100', since: from.value && startOf(from.value), until: to.value && startOf(to.value, 1),
    action: kind.value, person: person.value.trim() && idOf(person.value), key: key.value.trim(),
    request_id: request.value.trim() };
  if (given.person === null) throw new Error('The id of a person is a whole number.');
  return new URLSearchParams(Object.entries(given).filter(([, value]) => value)).toString();
}

function startOf(date, daysLater = 0) {
  const [year, month, dayOf] = date.split('-').map(Number);
  return `${new Date(year, month - 1, dayOf + daysLater).toISOString().slice(0, 19)}Z`;
}

async function search() {
  body.replaceChildren();
  whole.replaceChildren();
  notes.replaceChildren();
  table.hidden = true;
  next = null;
  count = 0;
  fresh = true;
  try {
    filters = query();
  } catch (error) {
    status.textContent = '';
    failed.replaceChildren(trouble(error));
    person.focus();
    return;
  }
  await look();
}

/** Load a page that has records, or all the pages up to it. */
async function look() {
  asked += 1;
  const mine = asked;
  failed.replaceChildren();
  more.hidden = true;
  status.textContent = 'Searching …';
  try {
    for (let pages = 0; pages < PAGES; pages += 1) {
      const page = await call('GET', `audit?${filters}${next === null ? '' : `&cursor=${encodeURIComponent(next)}`}`);
      if (mine !== asked) return;
      ({ next } = page);
      render(page);
      if (page.records.length > 0 || next === null) break;
      status.textContent = `Searching back from ${next.slice(0, 10)} …`;
    }
  } catch (error) {
    if (mine !== asked) return;
    fresh = false;
    status.textContent = '';
    if (error.type.endsWith(':audit-off')) return showOff(error);
    off.hidden = true;
    content.hidden = false;
    failed.replaceChildren(trouble(error, error.again && look));
    return;
  }
  const found = count === 0 ? 'No record was found' : plural(count, 'record');
  status.textContent = next === null ? `${found}.` : `${found} so far; there is more to search.`;
  more.textContent = count === 0 ? 'Search on' : 'Load more';
  more.hidden = next === null;
  announce(status.textContent);
}

function showOff(error) {
  content.hidden = true;
  off.hidden = false;
  off.replaceChildren(h('p', {}, h('b', {}, 'The audit cannot be searched here: it is off. ')),
    h('p', {}, error.message),
    h('p', { className: 'hint' }, 'Whoever runs the service sets this; docs/audit.md says what else there is to choose.'));
}

function render(page) {
  off.hidden = true;
  content.hidden = false;
  const said = [
    !page.look_ups && 'Look-ups are not recorded on this service, only changes and refused requests. '
      + 'The setting audit.identifications: true records them from then on.',
    page.expired_before && `What is older than ${page.expired_before} was removed, as the settings say.`,
  ].filter(Boolean).map((sentence) => h('p', { className: 'note' }, sentence));
  if (count === 0 && body.childElementCount === 0) notes.replaceChildren(...said);
  if (page.problems.length > 0) notes.append(trouble(new Error(`Not all could be read. ${page.problems.join(' ')}`)));
  count += page.records.length;
  body.append(...page.records.map(row));
  table.hidden = count === 0;
}

function row(record) {
  const people = (record.ids ?? []).map(who);
  return h('tr', {},
    h('td', { className: 'when' }, moment(Date.parse(record.ended) / 1000)),
    h('td', { className: 'what' }, h('b', {}, KINDS[record.action] ?? record.action),
      h('span', { className: 'hint' }, ` ${outcome(record)}`)),
    h('td', { className: 'people' }, people.length ? people.join(', ')
      : h('span', { className: 'hint' }, record.action === 'delete-all' ? 'everybody' : 'nobody')),
    h('td', { className: 'by' }, record.key ?? '–'),
    h('td', { className: 'more' }, h('details', {},
      h('summary', { 'aria-label': `Details of ${KINDS[record.action] ?? record.action}, request ${record.request_id}` }, 'Details'),
      details(record))));
}

function outcome({ action, faces, same, not_live: attack, outcome: told }) {
  if (action === 'identify' && told === 'done') return plural(faces ?? 0, 'face');
  if (action === 'verify' && told === 'done') {
    if (same === null) return attack ? 'not live' : 'too poor to say';
    return same ? 'the same person' : 'not the same person';
  }
  return OUTCOMES[told] ?? told;
}

/** An id, or what is left of it. */
const who = (id) => (/^p-/.test(id) ? 'somebody who was erased' : `id ${digits(id)}`);

function details(record) {
  const line = (name, value) => value !== undefined && value !== null && value !== ''
    && [h('dt', {}, name), h('dd', {}, value)];
  const similar = ({ id, similarity }) => `${who(id)} (${similarity.toFixed(2)})`;
  return h('div', { className: 'inside' },
    h('dl', {},
      line('Request', record.request_id), line('Began', record.began), line('Ended', record.ended),
      line('Collection', record.collection),
      line('Version', record.gallery_version === undefined || record.gallery_version === null ? null
        : digits(record.gallery_version)),
      line('Model', record.model), line('Verified by', record.verifiers?.join(', ')),
      line('Asked for', record.path && `${record.method} ${record.path}`), line('Gallery', record.gallery),
      line('Similarity', typeof record.similarity === 'number' ? record.similarity.toFixed(2) : null),
      line('Threshold', typeof record.threshold === 'number' ? record.threshold.toFixed(2) : null)),
    (record.answers ?? []).map((answer) => h('ul', {}, answer.faces.map((face, n) => h('li', {},
      `Face ${n + 1}: ${face.not_live ? 'not live' : face.id === null ? 'no name' : similar(face)}`,
      face.ambiguous?.length > 0 && `; could be ${face.ambiguous.map(similar).join(' or ')}`,
      face.candidates.length > 0 && h('span', { className: 'hint' },
        ` nearest: ${face.candidates.map(similar).join(', ')}`))))));
}

/** Check the chains of the last days. */
async function check() {
  checker.disabled = true;
  whole.replaceChildren(h('p', { className: 'busy', role: 'status' }, 'Checking …'));
  const chains = [];
  const { collection } = session;
  try {
    let cursor = null;
    do {
      const page = await call('GET', `audit/chains?days=${DAYS}${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`);
      chains.push(...page.chains);
      cursor = page.next;
    } while (cursor !== null && collection === session.collection);
    whole.replaceChildren(verdict(chains));
    announce(whole.textContent);
  } catch (error) {
    whole.replaceChildren(trouble(error, error.again && check));
  }
  checker.disabled = false;
}

function verdict(chains) {
  const broken = chains.filter(({ problems }) => problems.length > 0);
  const sum = (name) => chains.reduce((all, chain) => all + chain[name], 0);
  const told = `${plural(chains.length, 'chain')} with ${plural(sum('records'), 'record')} of the last ${DAYS} days`;
  return h('div', { className: broken.length ? 'trouble' : 'note', role: 'status' },
    h('p', {}, h('b', {}, broken.length ? 'Something is missing or was changed. ' : 'Nothing is missing, and nothing was changed. '),
      `${told}, of all collections, ${chains.length === 1 ? 'was' : 'were'} checked.`),
    broken.length > 0 && h('ul', {}, broken.map(({ chain, problems }) => h('li', {}, `${chain}: ${problems.join('; ')}`))),
    sum('lost') > 0 && h('p', {}, `${plural(sum('lost'), 'record')} could not be written and ${sum('lost') === 1 ? 'is' : 'are'} lost.`),
    h('p', { className: 'hint' }, 'Records that were cut off at the end of a chain do not show here: '
      + 'faces audit verify --heads finds them.'));
}
