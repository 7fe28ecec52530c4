// The only module that talks to the service. Addresses are relative to the page's own, so that it works behind
// any path; the key goes into one header, and nowhere else.

import { digits, parse } from './exact.js';

const BASE = new URL('.', document.baseURI);
const KEY = 'faces.key';
const COLLECTION = 'faces.collection';
const WITHIN = /^(infer|generate|identities|duplicates|audit|v2)(\/|\?|$)/;

/**
 * A sentence for the user: the API's own, unless it speaks of what the page sent for the user; then that is the `hint`.
 * `again`: whether the same request can have another answer. `status` is 0 where none came.
 */
export class Problem extends Error {
  constructor(sentence, { status = 0, type = '', images = null, conflicts = null, requestId = null, hint = null,
    again = status === 0 || status === 408 || status >= 429 } = {}) {
    super(sentence);
    Object.assign(this, { status, type, images, conflicts, requestId, hint, again });
  }
}

// Of the forms that this page makes: they are right when it sends them.
const CUT = /^(The form |The body |Something follows the form)/;
const NOT_WHOLE = 'The upload did not arrive whole, so nothing was done with it: the connection is slow, or broke off.';
const BROKEN_OFF = 'The connection broke off before the answer came, though the service answers. '
  + 'The network is poor, or something in front of the service takes no upload of this size.';
const AWAY = 'The service does not answer. Is it running, and is the network up?';
// Of a proxy in front of the service, which writes a page about it.
const BY_A_PROXY = {
  408: NOT_WHOLE,
  413: 'This is larger than something in front of the service allows. Choose a smaller photo.',
};

// `asked` after every request, with {at, ms, ok}; `away` and `back` with the service; `unauthorized`;
// `changed` when the key or the collection has changed.
export const events = new EventTarget();
const tell = (name, detail) => events.dispatchEvent(new CustomEvent(name, { detail }));

let away = false;
export const isAway = () => away;

export const session = {
  get key() { return sessionStorage.getItem(KEY) ?? ''; },
  get collection() { return sessionStorage.getItem(COLLECTION) ?? ''; },
  set({ key = this.key, collection = this.collection }) {
    for (const [name, value] of [[KEY, key], [COLLECTION, collection]]) {
      if (value) sessionStorage.setItem(name, value);
      else sessionStorage.removeItem(name);
    }
    tell('changed');
  },
};

/**
 * The answer's JSON, whose ids may be marked numbers (exact.js).
 * `body` is FormData or JSON text. Rejects with a Problem.
 */
export async function call(method, path, { body, quiet = false } = {}) {
  return (await ask(method, path, { body, quiet })).body;
}

/** As `call`, with {body, headers, status}; the statuses in `expected` are no errors. */
export async function ask(method, path, { body, quiet = false, expected = [] } = {}) {
  const { key, collection } = session;
  const within = collection && WITHIN.test(path) ? `collections/${encodeURIComponent(collection)}/` : '';
  const headers = { Accept: 'application/json' };
  if (typeof body === 'string') headers['Content-Type'] = 'application/json';
  if (key) headers.Authorization = `Bearer ${key}`;
  const began = performance.now();
  let answer;
  let text;
  try {
    answer = await fetch(new URL(within + path, BASE),
      { method, headers, body, cache: 'no-store', credentials: 'omit', redirect: 'error' });
    text = await answer.text();
  } catch {
    tell('asked', { at: Date.now(), ms: null, ok: false });
    // An upload can break although the service is there; with the banner it would be sent for ever.
    if (body instanceof FormData && await isThere()) throw new Problem(BROKEN_OFF);
    noteAway(true);
    throw new Problem(AWAY);
  }
  noteAway(false);
  tell('asked', { at: Date.now(), ms: performance.now() - began, ok: answer.status < 500 });
  const told = read(text);
  if (answer.ok || expected.includes(answer.status)) {
    if (told !== null) return { body: told, headers: answer.headers, status: answer.status };
    throw new Problem('The answer is not what this page expects. Is this the address of the service?');
  }
  const problem = problemOf(answer, told, body instanceof FormData);
  if (answer.status === 401 && !quiet) tell('unauthorized', problem);
  throw problem;
}

function read(text) {
  try {
    return parse(text);
  } catch {
    return null;
  }
}

async function isThere() {
  try {
    return (await fetch(new URL('healthz', BASE),
      { cache: 'no-store', credentials: 'omit', signal: AbortSignal.timeout(5000) })).ok;
  } catch {
    return false;
  }
}

function problemOf({ status }, told, upload) {
  const said = told?.detail ?? told?.error ?? BY_A_PROXY[status]
    ?? `The service answered ${status} without a sentence; what is in front of it may be at fault.`;
  const cut = upload && (status === 408 || (status === 400 && CUT.test(said)));
  return new Problem(cut ? NOT_WHOLE : said, {
    status, type: told?.type ?? '', images: told?.images ?? null,
    conflicts: told?.conflicts?.map(conflictOf) ?? null,
    requestId: status >= 500 ? told?.request_id : null,
    ...(cut && { hint: said === NOT_WHOLE ? null : said, again: true }),
  });
}

function noteAway(now) {
  if (now === away) return;
  away = now;
  tell(now ? 'away' : 'back');
}

/** A person as the page has one: the API's, with the id as text. */
export const personOf = (told) => ({ ...told, id: digits(told.id) });

/** A conflict of an enrolment, with the id as text where it names a person. */
export const conflictOf = (told) => (told.id === null ? told : personOf(told));

export async function person(id) {
  return personOf(await call('GET', `identities/${id}`));
}

/** A page of the people; with `before`, a Date, only those whose retention ends before then. */
export async function people(cursor = '-1', limit = 100, before = null) {
  const ending = before === null ? '' : `&expires_before=${before.toISOString().slice(0, 19)}Z`;
  const page = await call('GET', `identities?limit=${limit}&cursor=${cursor}${ending}`);
  return {
    ...page,
    identities: page.identities.map(personOf),
    next: page.next === null ? null : digits(page.next),
  };
}

/** Pairs of people who may be one person; in a large gallery one part, and `next` for the following part. */
export async function duplicates(cursor = '-1') {
  const page = await call('GET', `duplicates?cursor=${cursor}`);
  return {
    ...page,
    duplicates: page.duplicates.map((pair) => ({ ...pair, a: personOf(pair.a), b: personOf(pair.b) })),
    next: page.next === null ? null : digits(page.next),
  };
}

/** An id that is free. Above the number of people there always is one. */
export async function freeId() {
  let { total, identities } = await people('-1', 1);
  let free = BigInt(total) + 1n;
  let cursor = free - 1n;
  for (;;) {
    ({ identities } = await people(cursor.toString(), 100));
    for (const { id } of identities) {
      if (BigInt(id) !== free) return free.toString();
      free += 1n;
    }
    if (identities.length < 100) return free.toString();
    cursor = free - 1n;
  }
}

/** Rejects with a Problem when the browser cannot read the file: fetch would say that the network failed. */
export async function check(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Problem(`${file.name} cannot be read: it is a folder, or was moved or changed since it was chosen. `
      + 'Choose it again.', { again: false });
  }
}

/** Identify the faces in the photo: five candidates for each. */
export async function identify(file) {
  await check(file);
  const form = new FormData();
  form.set('image', file, 'photo');
  form.set('top_k', '5');
  const began = performance.now();
  const { body, headers } = await ask('POST', 'infer', { body: form });
  const stages = [...(headers.get('Server-Timing') ?? '').matchAll(/([\w-]+);dur=([\d.]+)/g)]
    .map(([, stage, ms]) => [stage, Number(ms)]);
  return {
    ...body,
    ms: performance.now() - began,
    stages,
    faces: body.faces.map((face) => ({
      ...face,
      id: face.id === null ? null : digits(face.id),
      candidates: face.candidates.map(personOf),
      ambiguous: face.ambiguous.map(personOf),
    })),
  };
}
