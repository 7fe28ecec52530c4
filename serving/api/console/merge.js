// Merge several records of one person into one.

import { noteRefusal } from './abilities.js';
import { call, person as personById } from './api.js';
import { open } from './dialog.js';
import { called, h, labelled, plural, trouble } from './dom.js';
import { idOf } from './exact.js';

/** `people` are those to begin with; others can be added by id. Resolves to whether they were merged. */
export async function merge(people) {
  const done = await open('Merge records', ({ close }) => {
    const records = new Map(people.map((one) => [one.id, one]));
    let stays = people[0].id;
    const rows = h('tbody');
    const preview = h('p', { role: 'status' });
    const failed = h('div');
    const field = h('input', { inputMode: 'numeric', autocomplete: 'off', 'data-first': people.length < 2 });
    const go = h('button', { type: 'submit', className: 'danger' }, 'Merge');
    const add = async () => {
      failed.replaceChildren();
      const id = idOf(field.value);
      if (id === null) {
        failed.replaceChildren(trouble(new Error('Type the id of the other record, a whole number.')));
        return;
      }
      try {
        records.set(id, await personById(id));
        field.value = '';
        render();
      } catch (error) {
        failed.replaceChildren(trouble(error));
      }
    };
    field.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter') return;
      event.preventDefault();
      add();
    });

    function render() {
      const all = [...records.values()];
      rows.replaceChildren(...all.map((one) => h('tr', {},
        h('td', {}, h('input', { type: 'radio', name: 'stays', checked: one.id === stays,
          'aria-label': `${called(one)} stays`, onchange: () => { stays = one.id; render(); } })),
        h('td', {}, one.name ?? 'No name'), h('td', {}, one.id), h('td', {}, one.photos.toLocaleString()))));
      const kept = records.get(stays);
      const photos = all.reduce((sum, one) => sum + one.photos, 0);
      const others = all.filter((one) => one.id !== stays).map(called);
      go.disabled = others.length === 0;
      preview.textContent = others.length === 0 ? 'Add the record that shows the same person.'
        : `${called(kept)} stays, with ${plural(photos, 'photo')}. ${others.join(', ')} will be gone; `
          + 'the name and the metadata of the one that stays count. As a rule it can be taken apart again for a day.';
    }

    const submit = async (event) => {
      event.preventDefault();
      go.disabled = true;
      failed.replaceChildren();
      const from = [...records.keys()].filter((id) => id !== stays);
      try {
        // Ids may be larger than JavaScript's exact numbers.
        await call('POST', `identities/${stays}/merge`, { body: `{"from":[${from.join(',')}]}` });
        close(true);
      } catch (error) {
        noteRefusal('enrol', error);
        failed.replaceChildren(trouble(error));
        go.disabled = false;
      }
    };
    render();
    return h('form', { onsubmit: submit },
      h('div', { className: 'table' }, h('table', {},
        h('caption', {}, 'Records of one person'),
        h('thead', {}, h('tr', {}, ['Stays', 'Name', 'Id', 'Photos'].map((text) => h('th', { scope: 'col' }, text)))),
        rows)),
      h('div', { className: 'row' }, labelled('Id of another record', field),
        h('button', { type: 'button', onclick: add }, 'Add')),
      failed, preview,
      h('div', { className: 'actions' }, go, h('button', { type: 'button', onclick: () => close() }, 'Cancel')));
  });
  return done === true;
}
