// Corrections of a person's record: photos of somebody else, merges taken apart, and pairs known to be two people.

import { noteRefusal } from './abilities.js';
import { call, freeId, person as personById, personOf } from './api.js';
import { confirm, open } from './dialog.js';
import { announce, called, h, labelled, plural, trouble } from './dom.js';
import { digits, idOf } from './exact.js';

// Said wherever something is changed that can be undone.
const UNTIL = 'This can be undone until the maintenance has tidied the bucket up, as a rule for a day.';

/** A request that changes people, and needs a key that may enrol. */
async function change(method, path, body = null) {
  try {
    return await call(method, path, { body: body ?? undefined });
  } catch (error) {
    noteRefusal('enrol', error);
    throw error;
  }
}

/** Note that two are two people. */
export const noteDistinct = (one, other) => change('POST', `identities/${one}/distinct`, `{"from":[${other}]}`);

/** The pairs of which this person is one, each with a button that takes it back. `then` is called after a change. */
export function distinctList(person, then) {
  const failed = h('div');
  const takeBack = async (other, button) => {
    button.disabled = true;
    failed.replaceChildren();
    try {
      await change('DELETE', `identities/${person.id}/distinct/${other}`);
      announce('Taken back.');
      await then();
    } catch (error) {
      button.disabled = false;
      failed.replaceChildren(trouble(error));
    }
  };
  if (person.distinct.length === 0) return h('p', { className: 'hint' }, 'Nobody is noted as another person.');
  return h('div', { className: 'outcome' },
    h('ul', { className: 'pairs' }, person.distinct.map(({ id, threshold }) => {
      const other = digits(id);
      const button = h('button', { type: 'button', 'aria-label': `Take back: ${other} is another person`,
        onclick: () => takeBack(other, button) }, 'Take back');
      const said = h('span', {}, `Id ${other} is another person`,
        h('span', { className: 'hint' }, ` unless the two are alike from ${threshold.toFixed(2)} on`));
      personById(other).then((one) => { said.firstChild.textContent = `${called(one)} is another person`; }, () => {});
      return h('li', {}, said, button);
    })), failed);
}

/** The photos of a person, to be moved to another one. Resolves to whether one was. */
export async function showPhotos(person) {
  let changed = false;
  await open(`Photos of ${called(person)}`, () => {
    const status = h('p', { role: 'status', className: 'hint' }, 'Loading …');
    const failed = h('div');
    const list = h('ul', { className: 'pairs' });
    const done = h('div', { className: 'outcome' });

    async function load() {
      failed.replaceChildren();
      try {
        const { photos } = await call('GET', `identities/${person.id}/photos`);
        // Whoever does not belong here is the least like the others.
        photos.sort((a, b) => (a.similarity ?? 2) - (b.similarity ?? 2));
        status.textContent = `${plural(photos.length, 'photo')}${photos.length > 1 ? ', the least like the others first' : ''}.`;
        list.replaceChildren(...photos.map(row));
      } catch (error) {
        status.textContent = '';
        list.replaceChildren();
        if (error.status === 404) status.textContent = 'No photo is left, so the record is gone.';
        else failed.replaceChildren(trouble(error, error.again && load));
      }
    }

    function row({ photo, similarity }, index) {
      const about = similarity === null ? 'the only photo' : `similarity to the others ${similarity.toFixed(2)}`;
      return h('li', {}, h('span', {}, `Photo ${index + 1}`, h('span', { className: 'hint' }, `: ${about}`)),
        h('button', { type: 'button', 'aria-label': `Move photo ${index + 1}, ${about}`,
          onclick: () => move(photo, index + 1) }, 'Move …'));
    }

    async function move(photo, number) {
      const moved = await moveTo(person, photo, number);
      if (!moved) return;
      changed = true;
      const undo = h('button', { type: 'button', onclick: async () => {
        undo.disabled = true;
        try {
          await change('POST', `identities/${moved.id}/undo`, `{"version":${digits(moved.gallery_version)}}`);
          done.replaceChildren(h('p', {}, 'The photo is back where it was.'));
          await load();
        } catch (error) {
          undo.disabled = false;
          done.append(trouble(error));
        }
      } }, 'Undo');
      done.replaceChildren(h('p', { role: 'status' }, `The photo is one of ${called(moved)} now.`), undo);
      await load();
      undo.focus();
    }

    load();
    return h('div', {},
      h('p', {}, 'The service keeps no pictures, so a photo is shown by how much it is like this person’s others.'),
      failed, status, list, done);
  }, { wide: true });
  return changed;
}

/** A line that names whose id is typed into the field. */
function whoIs(field, nobody) {
  const line = h('p', { className: 'hint', role: 'status' }, 'Type the id; the name is shown here.');
  let typing = 0;
  field.addEventListener('input', () => {
    clearTimeout(typing);
    const id = idOf(field.value);
    line.textContent = '';
    if (id === null) return;
    typing = setTimeout(async () => {
      let told;
      try {
        told = `This is ${called(await personById(id))}.`;
      } catch (error) {
        told = error.status === 404 ? nobody : error.message;
      }
      if (idOf(field.value) === id) line.textContent = told;
    }, 300);
  });
  return line;
}

/** Ask whose photo it is, and move it. Resolves to that person, or undefined. */
function moveTo(person, photo, number) {
  return open(`Whose is photo ${number}?`, ({ close }) => {
    const field = h('input', { inputMode: 'numeric', autocomplete: 'off', required: true, 'data-first': '' });
    const failed = h('div');
    const whose = whoIs(field, 'Nobody has this id yet: a record without a name is made.');
    const go = h('button', { type: 'submit', className: 'primary' }, 'Move');
    const somebodyNew = h('button', { type: 'button', onclick: async () => {
      failed.replaceChildren();
      try {
        field.value = await freeId();
        field.dispatchEvent(new Event('input'));
        field.focus();
      } catch (error) {
        failed.replaceChildren(trouble(error));
      }
    } }, 'Somebody new');
    return h('form', { onsubmit: async (event) => {
      event.preventDefault();
      failed.replaceChildren();
      const id = idOf(field.value);
      if (id === null) {
        failed.replaceChildren(trouble(new Error('An id is a whole number.')));
        return;
      }
      go.disabled = true;
      try {
        close(personOf(await change('POST', `identities/${person.id}/move`,
          `{"photos":${JSON.stringify([photo])},"to":${id}}`)));
      } catch (error) {
        failed.replaceChildren(trouble(error));
        go.disabled = false;
      }
    } },
    labelled('Id of the person', field), whose,
    h('p', { className: 'hint' }, UNTIL),
    failed,
    h('div', { className: 'actions' }, go, somebodyNew,
      h('button', { type: 'button', onclick: () => close() }, 'Cancel')));
  });
}

/** Take out again who was merged into this person last. Resolves to whether it was done. */
export const unmerge = (person) => undone({
  title: `Take apart what was merged into ${called(person)}?`,
  text: ['Who was merged into this person last is a person again, with the photos of that time. Photos that were '
    + 'added since stay here.', UNTIL],
  action: 'Take apart',
  work: () => change('POST', `identities/${person.id}/unmerge`, '{}'),
});

/** Undo the last move, merge or undo of this person. Resolves to whether it was done. */
export const undoLast = (person) => undone({
  title: `Undo the last correction of ${called(person)}?`,
  text: ['The last move of photos, merge or undo of this person is undone; what else was changed since stays. '
    + 'Done once more, it is undone itself.', UNTIL],
  action: 'Undo',
  work: () => change('POST', `identities/${person.id}/undo`, '{}'),
});

async function undone(what) {
  const told = await confirm(what);
  if (!told) return false;
  const people = told.ids.map(digits);
  await open('Done', ({ close }) => [
    h('p', {}, `Changed: ${people.map((id) => `id ${id}`).join(', ')}.`),
    h('div', { className: 'actions' },
      h('button', { type: 'button', className: 'primary', 'data-first': '', onclick: () => close() }, 'Close'))]);
  return true;
}

/**
 * The face of a photo is not this person. `others` are who else it may be; `enrol(person)` adds the face to a person,
 * or to a new one for null. Resolves to whether something was changed.
 */
export async function notThisPerson(wrong, others, enrol) {
  const chosen = await open(`Who is it, if not ${called(wrong)}?`, ({ close }) => {
    const failed = h('div');
    const field = h('input', { inputMode: 'numeric', autocomplete: 'off' });
    const whose = whoIs(field, 'Nobody has this id.');
    const isOther = async (one) => {
      failed.replaceChildren();
      try {
        await noteDistinct(wrong.id, one.id);
        announce('Noted.');
        close({ changed: true, add: one });
      } catch (error) {
        failed.replaceChildren(trouble(error));
      }
    };
    return h('form', { onsubmit: (event) => {
      event.preventDefault();
      const id = idOf(field.value);
      if (id !== null) isOther({ id, name: null });
      else failed.replaceChildren(trouble(new Error('An id is a whole number.')));
    } },
    h('p', {}, 'Choose who it is. The service notes that the two are two people: a face that is like both gets no '
      + 'name from then on, unless it is very like one of them. Then add this face to the right record, so that it '
      + 'is known. Both can be taken back.'),
    others.length > 0 && h('div', { className: 'actions' }, others.map((one, n) => h('button',
      { type: 'button', 'data-first': n === 0, onclick: () => isOther(one) }, `It is ${called(one)}`))),
    h('div', { className: 'row' }, labelled('Id of somebody else', field), h('button', { type: 'submit' }, 'It is this id')),
    whose,
    failed,
    h('h3', {}, 'Or'),
    h('div', { className: 'actions' },
      h('button', { type: 'button', onclick: () => close({ changed: false, add: null }) }, 'Enrol as a new person'),
      h('button', { type: 'button', onclick: async () => { if (await showPhotos(wrong)) close({ changed: true }); } },
        `Look at the photos of ${called(wrong)}`)),
    h('p', { className: 'hint' }, 'A photo of somebody else among a person’s photos lends the name to that person, too.'));
  }, { wide: true });
  if (chosen === undefined) return false;
  if (chosen.add === undefined) return chosen.changed;
  return await enrol(chosen.add) || chosen.changed;
}
