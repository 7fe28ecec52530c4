// The page's frame: views, the API key and the collection.

import { knownCollections, learn, refusal } from './abilities.js';
import { events, session } from './api.js';
import * as audit from './audit.js';
import * as compare from './compare.js';
import { open } from './dialog.js';
import { byId, h, labelled } from './dom.js';
import * as identify from './identify.js';
import * as people from './people.js';
import * as status from './status.js';

const VIEWS = { identify, compare, people, audit, status };
const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const ANOTHER = '*';

const keyButton = byId('key');
const chooser = byId('collection');

function route() {
  const wanted = location.hash.slice(1);
  const name = wanted in VIEWS ? wanted : 'identify';
  for (const other of Object.keys(VIEWS)) {
    byId(`view-${other}`).hidden = other !== name;
    const link = document.querySelector(`nav a[href="#${other}"]`);
    if (other === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  document.title = `${name[0].toUpperCase()}${name.slice(1)} – Faces`;
  VIEWS[name].show?.();
}

let asking = false;

async function askForKey(problem = null) {
  if (asking) return;
  asking = true;
  await open('API key', ({ close }) => {
    const field = h('input', { type: 'password', autocomplete: 'off', spellcheck: false, value: session.key,
      'data-first': '' });
    const forget = () => {
      close();
      session.set({ key: '' });
    };
    return h('form', { onsubmit: (event) => {
      event.preventDefault();
      close();
      session.set({ key: field.value.trim() });
    } },
    problem && h('p', { className: 'trouble', role: 'alert' }, problem.message),
    labelled('API key', field, 'Kept for this browser tab only, and sent to this service only.'),
    h('div', { className: 'actions' },
      h('button', { type: 'submit', className: 'primary' }, 'Use this key'),
      session.key && h('button', { type: 'button', onclick: forget }, 'Forget the key')));
  });
  asking = false;
}

function renderCollections() {
  const { collection } = session;
  const names = [...new Set([...knownCollections(), ...(collection ? [collection] : [])])].sort();
  chooser.replaceChildren(
    h('option', { value: '' }, 'The default'),
    ...names.map((name) => h('option', { value: name }, name)),
    h('option', { value: ANOTHER }, 'Another …'));
  chooser.value = collection;
  chooser.title = refusal('admin') ?? '';
}

function nameCollection() {
  return open('Another collection', ({ close }) => {
    const field = h('input', { autocomplete: 'off', autocapitalize: 'none', spellcheck: false, maxLength: 63,
      'data-first': '' });
    const said = h('p', { role: 'alert' });
    return h('form', { onsubmit: (event) => {
      event.preventDefault();
      if (NAME.test(field.value.trim())) close(field.value.trim());
      else {
        said.textContent = 'A collection’s name is up to 63 small letters, digits and dashes, with no '
          + 'dash at its ends.';
      }
    } },
    labelled('Name', field, 'One that is new begins with its first enrolment.'),
    said,
    h('div', { className: 'actions' }, h('button', { type: 'submit', className: 'primary' }, 'Use it')));
  });
}

chooser.addEventListener('change', async () => {
  const chosen = chooser.value === ANOTHER ? await nameCollection() : chooser.value;
  if (chosen !== undefined) session.set({ collection: chosen });
  renderCollections();
});
keyButton.addEventListener('click', () => askForKey());
addEventListener('hashchange', route);
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  byId('main').focus();
});
events.addEventListener('unauthorized', ({ detail }) => askForKey(detail));
events.addEventListener('abilities', renderCollections);
events.addEventListener('changed', () => { renderKey(); learn(); });
events.addEventListener('back', learn);

function renderKey() {
  keyButton.textContent = session.key ? 'API key: set' : 'API key';
}

for (const view of Object.values(VIEWS)) view.start();
renderKey();
renderCollections();
route();
learn();
