// Enrol a person, new or enrolled already, from files or from a face that was detected.

import { noteRefusal } from './abilities.js';
import { freeId, person as personById } from './api.js';
import { conflictList } from './conflicts.js';
import { open } from './dialog.js';
import { announce, called, h, labelled, plural, trouble } from './dom.js';
import { idOf } from './exact.js';
import { merge } from './merge.js';
import { ACCEPT, cutOut, filesOf, overlap } from './photo.js';
import { enrol } from './upload.js';

// The gate of a face that is taken for an attack; `force` does not let it in.
const NOT_LIVE = 'not-live';

/** Enrol one face of a photo; `person` is null for a new one. Resolves to whether something was written. */
export async function enrolFace(photo, faces, index, person) {
  const { file, box } = photo.image ? await cutOut(photo, faces, index) : { file: photo.file, box: null };
  const url = URL.createObjectURL(file);
  const what = photo.image
    ? 'This part of the photo is sent and nothing else: the face with what is around it. '
      + 'Other faces in it are covered.'
    : 'The whole photo is sent.';
  const kept = ' The service computes numbers from the face and keeps these, not the picture.';
  const preview = h('figure', { className: 'cutout' },
    photo.image && h('img', { src: url, alt: 'What is sent' }), h('figcaption', {}, what + kept));
  try {
    return await dialog({ person, files: [file], preview, expected: box });
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** Enrol from files; `person` is null for a new one. Resolves to whether something was written. */
export const enrolFiles = (person) => dialog({ person, files: [], preview: null, expected: null });

async function dialog({ person, files, preview, expected }) {
  let written = false;
  let sending = Promise.resolve();
  const title = person === null ? 'Enrol a new person' : person.id ? `Add to ${called(person)}` : 'Add to a person';
  await open(title, ({ close, closed }) => {
    let stopped = false;
    closed.then(() => { stopped = true; });
    const id = h('input', { inputMode: 'numeric', autocomplete: 'off', required: true, maxLength: 20,
      value: person?.id ?? '', readOnly: Boolean(person?.id), 'data-first': person?.id === '' });
    const name = h('input', { autocomplete: 'off', maxLength: 200, 'data-first': person === null });
    const told = h('p', { className: 'hint', role: 'status' });
    const replace = h('input', { type: 'checkbox' });
    const picked = h('input', { type: 'file', multiple: true, accept: ACCEPT, required: true,
      'data-first': Boolean(person?.id) && !preview });
    const drop = !preview && h('div', { className: 'drop' },
      labelled('Photos', picked, 'The largest face of each photo counts. Choose many at once, or drop or paste them here.'));
    const go = h('button', { type: 'submit', className: 'primary', 'data-first': Boolean(person?.id && preview) },
      person === null ? 'Enrol' : 'Add');
    const cancel = h('button', { type: 'button', onclick: () => close() }, 'Cancel');
    const outcome = h('div', { className: 'outcome' });
    const unused = h('ul', { className: 'unused' });
    const fields = h('fieldset', {},
      preview,
      h('div', { className: 'row' }, labelled('Id', id), person === null && labelled('Name', name)),
      told,
      drop,
      person !== null && h('label', { className: 'check' }, replace, ' Replace the photos that are enrolled'));

    /** Files that are dropped or pasted come to those that are there. */
    function offered(event, transfer) {
      const added = filesOf(transfer);
      if (!drop || fields.disabled || !added.length) return;
      event.preventDefault();
      event.stopPropagation();
      const all = new DataTransfer();
      for (const file of [...picked.files, ...added]) all.items.add(file);
      picked.files = all.files;
    }

    let touched = false;
    id.addEventListener('focus', () => { touched = true; });
    if (person === null) suggest();
    let looking = 0;
    id.addEventListener('input', () => { clearTimeout(looking); looking = setTimeout(look, 250); });

    async function suggest() {
      try {
        const free = await freeId();
        // Not while the user is typing an id.
        if (!touched) id.value = free;
      } catch (error) {
        told.textContent = error.message;
      }
    }

    /** The person with the id that is typed; undefined when that cannot be known. */
    async function holder() {
      try {
        return await personById(idOf(id.value));
      } catch (error) {
        return error.status === 404 ? null : undefined;
      }
    }

    async function look() {
      const typed = id.value;
      if (idOf(typed) === null) {
        told.textContent = typed === '' ? '' : 'An id is a whole number.';
        return;
      }
      const found = await holder();
      if (typed !== id.value || found === undefined) return;
      if (found) told.textContent = `${called(found)} is enrolled with ${plural(found.photos, 'photo')}.`;
      else told.textContent = person === null ? 'This id is free.' : 'Nobody is enrolled under this id.';
    }

    async function submit(event) {
      event.preventDefault();
      const chosen = idOf(id.value);
      if (chosen === null) {
        told.textContent = 'An id is a whole number, 0 or greater.';
        id.focus();
        return;
      }
      fields.disabled = true;
      go.disabled = true;
      outcome.replaceChildren();
      unused.replaceChildren();
      const found = await holder();
      // An enrolled person is never taken for a new one, and a slip in the id creates no person.
      if (!written && (person === null ? found : found === null)) {
        await look();
        if (person === null) told.textContent += ' Choose another id, or add the photos to this person.';
        fields.disabled = false;
        go.disabled = false;
        id.focus();
        return;
      }
      sending = send(chosen, preview ? files : filesOf(picked), replace.checked);
    }

    async function send(chosen, sent, replacing, force = false) {
      const bar = h('progress', { max: sent.length, value: 0, 'aria-label': 'Photos' });
      const count = h('p', { role: 'status' });
      const ways = h('div', { className: 'actions' });
      const subject = preview ? 'The face' : null;
      const union = (other) => h('div', { className: 'actions' },
        h('button', { type: 'button', onclick: () => unite(chosen, other, conflicts) }, `Merge with ${called(other)}`));
      const conflicts = conflictList({ subject, wayOut: union });
      outcome.replaceChildren(bar, count, unused, conflicts.element, ways);
      unused.replaceChildren();
      fields.disabled = true;
      go.disabled = true;
      cancel.textContent = 'Stop';
      let used = 0;
      const poor = [];
      try {
        const wanted = { id: chosen, name: name.value.trim(), replace: replacing, force, files: sent };
        for await (const part of enrol(wanted)) {
          for (const { file, used: taken, reason, gate, box } of part.photos) {
            bar.value += 1;
            if (taken) {
              used += 1;
              written = true;
              if (expected && overlap(box, expected) < 0.3) {
                unused.append(h('li', {},
                  'The service took another face than the one you chose: look at this person.'));
              }
            } else {
              if (gate && gate !== NOT_LIVE) poor.push(file);
              unused.append(h('li', {}, h('b', {}, subject ?? file.name), ` was not used. ${reason}`));
            }
          }
          conflicts.add(part.conflicts);
          count.textContent = `${bar.value} of ${plural(sent.length, 'photo')} sent, ${used} used`;
          if (stopped) return;
        }
      } catch (error) {
        noteRefusal('enrol', error);
        fields.disabled = false;
        go.disabled = false;
        cancel.textContent = 'Close';
        const left = error.left ?? [];
        if (error.conflicts) {
          refuse(error, chosen, left, replacing && !error.begun);
          return;
        }
        outcome.append(trouble(error, left.length > 0 && error.status !== 403
          && (() => { sending = send(chosen, left, replacing && !error.begun, force); })));
        return;
      }
      announce([count, ...conflicts.element.children].map(({ textContent }) => textContent).join('. '));
      cancel.textContent = 'Close';
      cancel.classList.add('primary');
      if (poor.length) {
        ways.append(h('button', { type: 'button', onclick: () => {
          sending = send(chosen, poor, replacing && used === 0, true);
        } }, poor.length === 1 ? 'Use it all the same' : `Use the ${poor.length} poor photos all the same`));
      }
      if (used === 0) {
        fields.disabled = false;
        go.disabled = false;
        return;
      }
      go.hidden = true;
      cancel.focus();
      if (preview && !unused.childElementCount && !conflicts.element.childElementCount) close();
    }

    /** The service refuses photos with conflicts; nothing of `left` is written. */
    function refuse(error, chosen, left, replacing) {
      const instead = (other) => h('div', { className: 'actions' },
        h('button', { type: 'button', onclick: () => { sending = send(other.id, left, false); } },
          `Add to ${called(other)} instead`));
      const conflicts = conflictList({ subject: preview && 'The face', wayOut: instead });
      conflicts.add(error.conflicts);
      outcome.append(trouble(error), conflicts.element, h('div', { className: 'actions' },
        h('button', { type: 'button', onclick: () => { sending = send(chosen, left, replacing, true); } },
          person === null ? 'Enrol all the same' : 'Add all the same')));
    }

    async function unite(chosen, other, conflicts) {
      try {
        // The person who was enrolled before stays, unless the user chooses otherwise.
        if (await merge([await personById(other.id), await personById(chosen)])) close();
      } catch (error) {
        conflicts.remove(other.id);
        outcome.append(trouble(error));
      }
    }

    const ways = { ondrop: (event) => offered(event, event.dataTransfer),
      onpaste: (event) => offered(event, event.clipboardData) };
    return h('form', { onsubmit: submit, ...ways }, fields, outcome, h('div', { className: 'actions' }, go, cancel));
  });
  await sending; // a request that was under way when the dialog was closed may still write
  return written;
}
