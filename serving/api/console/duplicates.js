// People who may be one person, to be looked at and merged.

import { noteRefusal } from './abilities.js';
import { duplicates } from './api.js';
import { noteDistinct } from './corrections.js';
import { open } from './dialog.js';
import { announce, called, h, plural, trouble } from './dom.js';
import { percent } from './face.js';
import { merge } from './merge.js';

/** Resolves to whether people were merged. */
export async function showDuplicates() {
  let changed = false;
  await open('Likely duplicates', ({ closed }) => {
    let gone = false;
    closed.then(() => { gone = true; });
    let pairs = [];
    let next = '-1';
    let compared = null;
    const status = h('p', { className: 'hint', role: 'status' });
    const failed = h('div');
    const body = h('tbody');
    const table = h('div', { className: 'table', hidden: true }, h('table', { className: 'duplicates' },
      h('caption', { className: 'away' }, 'Pairs of people who look alike, most alike first'),
      h('thead', {}, h('tr', {},
        ['One', 'The other', 'Similarity', 'Confidence'].map((text) => h('th', { scope: 'col' }, text)),
        h('th', { scope: 'col' }, h('span', { className: 'away' }, 'What to do')))),
      body));
    const more = h('button', { type: 'button', onclick: () => look() }, 'Compare more people');

    /** In a large gallery one page compares some people with all others: go on until a pair is found. */
    async function look() {
      failed.replaceChildren();
      more.hidden = true;
      status.textContent = 'Comparing …';
      try {
        do {
          compared = await duplicates(next);
          ({ next } = compared);
          pairs.push(...compared.duplicates);
          if (gone) return;
        } while (compared.duplicates.length === 0 && next !== null);
      } catch (error) {
        noteRefusal('enrol', error);
        status.textContent = '';
        failed.replaceChildren(trouble(error, error.status === 403 ? null : look));
        return;
      }
      render();
      announce(status.textContent);
    }

    function render() {
      pairs.sort((one, other) => other.similarity - one.similarity);
      body.replaceChildren(...pairs.map(row));
      table.hidden = pairs.length === 0;
      more.hidden = next === null;
      const what = pairs.length ? `${plural(pairs.length, 'pair')} may be one person each`
        : 'Nobody looks like somebody else';
      const rest = compared.found > compared.duplicates.length ? '; there are more like these: merge some first' : '';
      status.textContent = `${what}, from a similarity of ${compared.threshold.toFixed(2)} on`
        + `${next === null ? '' : '; not everybody is compared yet'}${rest}.`;
    }

    function row(pair) {
      const { a, b } = pair;
      const who = (one) => h('td', { className: 'name' }, one.name ?? 'No name',
        h('span', { className: 'hint' }, ` id ${one.id}, ${plural(one.photos, 'photo')}`));
      return h('tr', {}, who(a), who(b),
        h('td', {}, pair.similarity.toFixed(3)), h('td', {}, percent(pair.confidence)),
        h('td', {}, h('button', { type: 'button', 'aria-label': `Merge ${called(a)} and ${called(b)}`,
          onclick: () => unite(pair) }, 'Merge …'),
        ' ',
        h('button', { type: 'button', 'aria-label': `${called(a)} and ${called(b)} are two people`,
          onclick: () => part(pair) }, 'Two people')));
    }

    /** They are not listed again. */
    async function part(pair) {
      failed.replaceChildren();
      try {
        await noteDistinct(pair.a.id, pair.b.id);
      } catch (error) {
        failed.replaceChildren(trouble(error));
        return;
      }
      changed = true;
      pairs = pairs.filter((one) => one !== pair);
      render();
      announce('Noted: they are two people.');
      (body.querySelector('button') ?? document.querySelector('dialog:last-of-type h2')).focus();
    }

    async function unite({ a, b }) {
      // The person with more photos stays, unless the user chooses otherwise.
      if (!await merge(a.photos >= b.photos ? [a, b] : [b, a])) return;
      changed = true;
      pairs = [];
      next = '-1';
      await look();
    }

    look();
    return h('div', {},
      h('p', {}, 'Look at both before you merge them: relatives and bad photos look alike, too.'),
      failed, status, table, h('div', { className: 'actions' }, more));
  }, { wide: true });
  return changed;
}
