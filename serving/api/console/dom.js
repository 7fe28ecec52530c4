// All elements are made here. Text is always a text node: a name with markup in it stays text.

const SVG = 'http://www.w3.org/2000/svg';

/** An element. `on…` are listeners; a key that is not a property of the element becomes an attribute. */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name in element && element.namespaceURI !== SVG && !name.includes('-')) element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

let labels = 0;

/** A label and its field, in one block; `hint` is read with the field. */
export function labelled(text, field, hint) {
  labels += 1;
  field.id ||= `field-${labels}`;
  if (hint) field.setAttribute('aria-describedby', `${field.id}-hint`);
  return h('div', { className: 'field' },
    h('label', { htmlFor: field.id }, text), field,
    hint && h('p', { className: 'hint', id: `${field.id}-hint` }, hint));
}

/** Announced by a screen reader, without moving the focus. */
export function announce(text) {
  const region = byId('announcer');
  // A repeated sentence is read again only if the region was empty in between.
  region.textContent = '';
  setTimeout(() => { region.textContent = text; }, 50);
}

/** A sentence about an error, with a button to try again where that is possible. */
export function trouble(error, again) {
  return h('div', { className: 'trouble', role: 'alert' },
    h('p', {}, error.message),
    error.hint && h('p', { className: 'hint' }, error.hint),
    error.requestId && h('p', { className: 'hint' }, `Request ${error.requestId}`),
    again && h('button', { type: 'button', onclick: again }, 'Try again'));
}

const days = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' });
const moments = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

export function time(seconds) {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return '–'; // imported with an invalid date
  return h('time', { dateTime: date.toISOString(), title: moments.format(date) }, days.format(date));
}

/** As `time`, with the time of day. */
export function moment(seconds) {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return '–';
  return h('time', { dateTime: date.toISOString() }, moments.format(date));
}

export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString()} ${count === 1 ? one : many}`;

export const called = (person) => (person.name ? `${person.name} (${person.id})` : `id ${person.id}`);
