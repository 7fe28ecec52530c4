// Until when a person is kept, and on which legal basis: in the list, and as fields of a form.

import { h, labelled, time } from './dom.js';

const KINDS = [['', 'None is noted'], ['consent', 'Consent'], ['contract', 'Contract'],
  ['legal-obligation', 'Legal obligation'], ['vital-interests', 'Vital interests'],
  ['public-task', 'Public task'], ['legitimate-interests', 'Legitimate interests']];

/** When the retention ends, in seconds since 1970; null: never. */
export function endOf({ expires_at: expires, legal_basis: basis }) {
  const ends = [expires, basis?.withdrawn_at].filter(Boolean).map((text) => Date.parse(text) / 1000);
  return ends.length ? Math.min(...ends) : null;
}

export const isOver = (person) => endOf(person) !== null && endOf(person) * 1000 <= Date.now();

/** The end for a list; null where there is none. */
export function ending(person) {
  const end = endOf(person);
  if (end === null) return null;
  return isOver(person) ? h('strong', {}, 'ended ', time(end)) : h('span', {}, 'until ', time(end));
}

/** The legal basis for a list: "Consent of 2026-01-31, form 12"; null where none is noted. */
export function basisOf({ legal_basis: basis }) {
  if (!basis) return null;
  const kind = KINDS.find(([value]) => value === basis.kind)?.[1] ?? basis.kind;
  if (basis.withdrawn_at) return `${kind} withdrawn on ${basis.withdrawn_at.slice(0, 10)}`;
  return `${kind}${basis.date ? ` of ${basis.date}` : ''}${basis.reference ? `, ${basis.reference}` : ''}`;
}

/** Fields of a form, and `patch()`: what they change, as members of the PATCH's JSON. */
export function retentionFields(person) {
  const basis = person.legal_basis;
  const before = lastDay(person.expires_at);
  const until = h('input', { type: 'date', value: before });
  const kind = h('select', { onchange: () => { more.hidden = !kind.value; } },
    KINDS.map(([value, text]) => h('option', { value, selected: value === (basis?.kind ?? '') }, text)));
  const text = (value) => h('input', { value: value ?? '', maxLength: 200, autocomplete: 'off' });
  const reference = text(basis?.reference);
  const version = text(basis?.text_version);
  const date = h('input', { type: 'date', value: basis?.date ?? '' });
  const more = h('div', { className: 'basis', hidden: !basis },
    labelled('Reference', reference, 'Where it is kept, such as the number of a form.'),
    labelled('Date', date, 'The day of the consent or the decision.'),
    labelled('Version of the text', version));
  const read = () => [kind.value, reference.value.trim(), date.value, version.value.trim()].join('\n');
  const noted = read();
  return {
    fields: [
      labelled('Keep until', until, 'After this day nobody is identified as this person, and the record is erased. '
        + 'Empty: no end.'),
      labelled('Legal basis', kind), more],
    patch() {
      const patch = [];
      if (until.value !== before) patch.push(`"expires_at":${JSON.stringify(endOfDay(until.value))}`);
      if (read() !== noted) {
        const changed = { kind: kind.value, reference: reference.value.trim() || null,
          date: date.value || null, text_version: version.value.trim() || null };
        patch.push(`"legal_basis":${kind.value ? JSON.stringify(changed) : 'null'}`);
      }
      return patch;
    },
  };
}

/** The last day, here, on which the person is kept: 2027-01-31; empty: there is no end. */
function lastDay(text) {
  if (!text) return '';
  const moment = new Date(Date.parse(text) - 1000);
  const two = (number) => String(number).padStart(2, '0');
  return `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
}

function endOfDay(text) {
  if (!text) return null;
  const [year, month, day] = text.split('-').map(Number);
  return `${new Date(year, month - 1, day + 1).toISOString().slice(0, 19)}Z`;
}
