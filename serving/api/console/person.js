// One person: name, metadata, retention, photos, merging, deletion and erasure.

import { noteRefusal, refusal } from './abilities.js';
import { call, person as personById } from './api.js';
import { distinctList, showPhotos, undoLast, unmerge } from './corrections.js';
import { confirm, open } from './dialog.js';
import { announce, called, h, labelled, plural, time, trouble } from './dom.js';
import { enrolFiles } from './enrol.js';
import { idOf, parse, stringify } from './exact.js';
import { merge } from './merge.js';
import { endOf, isOver, retentionFields } from './retention.js';

const EMPTY = '{}';

/** Resolves to whether the person was changed. */
export async function showPerson(id) {
  let changed = false;
  await open(`Person ${id}`, ({ close }) => {
    const inside = h('div', {}, h('p', { className: 'busy' }, 'Loading …'));

    async function load() {
      try {
        render(await personById(id));
      } catch (error) {
        inside.replaceChildren(trouble(error, error.status === 404 ? null : load));
      }
    }

    function render(person) {
      const name = h('input', { value: person.name ?? '', maxLength: 200, autocomplete: 'off' });
      const before = stringify(person.metadata ?? {}, 2);
      const metadata = h('textarea', { value: before, rows: Math.min(10, before.split('\n').length + 1),
        spellcheck: false });
      const retention = retentionFields(person);
      const said = h('div', { role: 'status' });
      const save = async (event) => {
        event.preventDefault();
        let patch;
        try {
          patch = [...changes(person, name.value.trim(), before, metadata.value), ...retention.patch()];
        } catch (error) {
          said.replaceChildren(trouble(error));
          metadata.focus();
          return;
        }
        if (patch.length === 0) {
          said.replaceChildren(h('p', { className: 'hint' }, 'Nothing was changed.'));
          return;
        }
        try {
          await call('PATCH', `identities/${id}`, { body: `{${patch.join(',')}}` });
          changed = true;
          await load();
          announce('Saved.');
        } catch (error) {
          noteRefusal('enrol', error);
          said.replaceChildren(trouble(error));
        }
      };
      const then = async (work) => {
        if (!await work) return;
        changed = true;
        await load();
      };
      const gone = async (work) => {
        if (!await work) return;
        changed = true;
        close();
      };
      const refused = refusal('admin');
      inside.replaceChildren(
        h('p', { className: 'hint' }, `${plural(person.photos, 'photo')}, since `, time(person.created),
          ', changed ', time(person.updated), `, model ${person.model}`),
        isOver(person) ? h('p', { className: 'note' }, 'The retention ended ', time(endOf(person)),
          ': nobody is identified as this person, and the maintenance erases the record. '
          + 'To use the id again at once, erase it.') : '',
        h('form', { onsubmit: save },
          labelled('Name', name),
          labelled('Metadata', metadata, 'A JSON object, such as {"desk": "4th floor"}.'),
          retention.fields,
          said,
          h('div', { className: 'actions' }, h('button', { type: 'submit', className: 'primary' }, 'Save'))),
        h('h3', {}, 'Photos and records'),
        h('div', { className: 'actions' },
          h('button', { type: 'button', onclick: () => then(enrolFiles(person)) }, 'Add photos'),
          h('button', { type: 'button', onclick: () => then(merge([person])) }, 'Merge with another record')),
        h('h3', {}, 'Corrections'),
        h('div', { className: 'actions' },
          h('button', { type: 'button', onclick: () => then(showPhotos(person)) }, 'A photo shows somebody else'),
          h('button', { type: 'button', onclick: () => then(unmerge(person)) }, 'Take a merge apart'),
          h('button', { type: 'button', onclick: () => then(undoLast(person)) }, 'Undo the last correction')),
        distinctList(person, load),
        h('h3', {}, 'Forget'),
        refused ? h('p', { className: 'hint' }, refused) : h('div', { className: 'actions' },
          h('button', { type: 'button', className: 'danger', onclick: () => gone(remove(person)) }, 'Delete'),
          h('button', { type: 'button', className: 'danger', onclick: () => gone(erase(person)) }, 'Erase'),
          (person.legal_basis?.kind ?? 'consent') === 'consent' && h('button', { type: 'button', className: 'danger',
            onclick: () => gone(withdraw(person)) }, 'Consent withdrawn')));
    }

    load();
    return inside;
  }, { wide: true });
  return changed;
}

/** The members of the PATCH's JSON. Throws when the metadata is not an object. */
function changes(person, name, before, metadata) {
  const patch = [];
  if (name !== (person.name ?? '')) patch.push(`"name":${JSON.stringify(name || null)}`);
  if (metadata.trim() !== before) {
    let read;
    try {
      read = parse(metadata.trim() || EMPTY);
    } catch {
      read = null;
    }
    if (read === null || typeof read !== 'object' || Array.isArray(read)) {
      throw new Error('Metadata is a JSON object, such as {"desk": "4th floor"}; what is written there is none.');
    }
    // As it was typed: read and written again, a number too large or a name given twice would be lost unseen.
    patch.push(`"metadata":${Object.keys(read).length ? metadata.trim() : 'null'}`);
  }
  return patch;
}

const remove = (person) => confirm({
  title: `Delete ${called(person)}?`,
  text: ['The person is not identified any more, from the next photo on.',
    'The numbers that were computed from the photos stay in the bucket until it is cleaned up. '
    + 'Where they must be gone at once, erase instead.'],
  action: 'Delete',
  work: () => asAdmin(call('DELETE', `identities/${person.id}`)),
});

const erase = (person) => erased(person, `Erase ${called(person)}?`,
  () => call('DELETE', `identities/${person.id}?erase=true`));

const withdraw = (person) => erased(person, `${called(person)} has withdrawn the consent?`,
  () => call('POST', `identities/${person.id}/withdraw`));

async function erased({ id }, title, work) {
  const receipt = await confirm({
    title,
    text: 'Everything that was computed from the photos is removed from the bucket, at once and for all '
      + 'models. This cannot be undone. You get a receipt.',
    action: 'Erase',
    typed: id,
    work: () => asAdmin(work()),
  });
  if (receipt) await showReceipt(id, receipt);
  return Boolean(receipt);
}

/** Erase by id alone, also a person who was deleted before. */
export async function eraseById() {
  const id = await open('Erase by id', ({ close }) => {
    const field = h('input', { inputMode: 'numeric', autocomplete: 'off', required: true, 'data-first': '' });
    const said = h('p', { role: 'alert' });
    return h('form', { onsubmit: (event) => {
      event.preventDefault();
      const chosen = idOf(field.value);
      if (chosen !== null) close(chosen);
      else said.textContent = 'An id is a whole number.';
    } },
    h('p', {}, 'Removes what the bucket still holds of somebody, also of a person who was deleted before.'),
    labelled('Id', field), said,
    h('div', { className: 'actions' }, h('button', { type: 'submit' }, 'Go on')));
  });
  return id ? erase({ id, name: null }) : false;
}

function showReceipt(id, receipt) {
  const text = stringify(receipt, 2);
  const url = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
  const objects = (title, names) => names.length > 0 && [
    h('dt', {}, title),
    h('dd', {}, h('details', { open: names.length <= 4 },
      h('summary', {}, plural(names.length, 'object')),
      h('ul', { className: 'path' }, names.map((name) => h('li', {}, name)))))];
  return open('Receipt of the erasure', ({ close }) => [
    h('p', {}, `${plural(receipt.embeddings, 'embedding')} of id ${id} `
      + `${receipt.embeddings === 1 ? 'was' : 'were'} removed. `
      + 'No object of these galleries holds them any more.'),
    receipt.left.length > 0 && h('p', { role: 'alert' }, 'Not erased everywhere. Erase again when these are mended: '
      + receipt.left.map(({ gallery, problem }) => `${gallery}: ${problem}`).join(' ')),
    receipt.galleries.map((gallery) => h('section', {},
      h('h3', {}, gallery.model),
      h('dl', {},
        h('dt', {}, 'Embeddings'), h('dd', {}, gallery.embeddings),
        h('dt', {}, 'Gallery version'), h('dd', {}, gallery.gallery_version),
        h('dt', {}, 'When'), h('dd', {}, new Date(gallery.time * 1000).toLocaleString()),
        objects('Written anew', gallery.objects_rewritten),
        objects('Removed', gallery.objects_removed)))),
    h('div', { className: 'actions' },
      h('a', { className: 'button', href: url, download: `erasure-${id}.json` }, 'Save the receipt'),
      h('button', { type: 'button', className: 'primary', 'data-first': '', onclick: () => close() }, 'Close')),
  ]).finally(() => URL.revokeObjectURL(url));
}

async function asAdmin(work) {
  try {
    return await work;
  } catch (error) {
    noteRefusal('admin', error);
    throw error;
  }
}
