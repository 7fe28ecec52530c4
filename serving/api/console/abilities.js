// What the key may do, as far as that can be known: each scope has a request that changes nothing.

import { ask, events } from './api.js';

const QUESTIONS = {
  identify: 'v2/models/face-identification',
  enrol: 'identities?limit=1',
  admin: 'collections',
};
const refusals = new Map();
let collections = [];
let asked = 0;

/** The API's sentence why the key may not, or null: it may, or that is not known yet. */
export const refusal = (scope) => refusals.get(scope) ?? null;

/** Names of the collections, as far as the key may see them. */
export const knownCollections = () => collections;

/** Ask again; dispatches `abilities` afterwards. */
export async function learn() {
  asked += 1;
  const mine = asked;
  const found = await Promise.all(Object.entries(QUESTIONS).map(async ([scope, path]) => {
    try {
      const { body } = await ask('GET', path, { quiet: scope !== 'enrol' });
      return [scope, null, body];
    } catch (problem) {
      return [scope, problem, null];
    }
  }));
  if (mine !== asked) return; // the key has changed in the meantime
  refusals.clear();
  collections = [];
  for (const [scope, problem, body] of found) {
    // A key that is bound to collections may not list them all, but may have the scope admin in its own.
    const bound = scope === 'admin' && problem?.status === 403 && !/scope/.test(problem.message);
    if (problem?.status === 401 || (problem?.status === 403 && !bound)) refusals.set(scope, problem.message);
    if (scope === 'admin' && body) collections = body.collections.map(({ name }) => name);
  }
  events.dispatchEvent(new CustomEvent('abilities'));
}

/** Note a refusal of a request that was tried. */
export function noteRefusal(scope, problem) {
  if (problem.status !== 403 || refusals.has(scope)) return;
  refusals.set(scope, problem.message);
  events.dispatchEvent(new CustomEvent('abilities'));
}
