// Conflicts of an enrolment: photos of another person, and people who are enrolled already.

import { called, h } from './dom.js';
import { percent } from './face.js';

/**
 * A list that grows: `add(conflicts)` of a part of the photos. A person who is enrolled already is listed once,
 * with `wayOut(person)`, an element, beside it. `subject` is what a photo is called.
 */
export function conflictList({ subject, wayOut }) {
  const element = h('ul', { className: 'conflicts' });
  const known = new Map();

  function add(conflicts) {
    for (const conflict of conflicts) {
      for (const file of conflict.type === 'other-person' ? conflict.files : []) {
        element.append(h('li', {}, h('b', {}, subject ?? file.name),
          ' seems to show somebody else than the other photos of this person: ', numbers(conflict), '.'));
      }
      if (conflict.type === 'already-enrolled') enrolled(conflict);
    }
  }

  function enrolled(conflict) {
    const before = known.get(conflict.id);
    const files = [...(before?.files ?? []), ...conflict.files];
    const most = before && before.similarity > conflict.similarity ? before : conflict;
    const item = before?.item ?? h('li');
    known.set(conflict.id, { ...most, files, item });
    const names = files.slice(0, 3).map((file) => file.name).join(', ');
    const more = files.length > 3 ? ` and ${files.length - 3} more` : '';
    item.replaceChildren(
      h('p', {}, h('b', {}, subject ?? `${names}${more}`), ` ${files.length === 1 || subject ? 'shows' : 'show'} `,
        h('b', {}, called(conflict)), ', who is enrolled already: ', numbers(most), '.'),
      wayOut(conflict));
    element.append(item);
  }

  return { element, add, remove: (id) => known.get(id)?.item.remove() };
}

const numbers = ({ similarity, confidence }) => `similarity ${similarity.toFixed(2)}, `
  + `${percent(confidence)} likely to be the same`;
