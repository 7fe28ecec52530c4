// Photos of one person to POST /generate, in parts that fit into a request.

import { call, check, conflictOf } from './api.js';

// Small enough to show progress; well under the service's limits.
const PHOTOS = 8;
const BYTES = 16 * 2 ** 20;

const LOOK = 'Look at the person before you send the photos again: some of them may be enrolled.';

function* parts(files) {
  let part = [];
  let size = 0;
  for (const file of files) {
    if (part.length && (part.length === PHOTOS || size + file.size > BYTES)) {
      yield part;
      part = [];
      size = 0;
    }
    part.push(file);
    size += file.size;
  }
  if (part.length) yield part;
}

/**
 * Enrol photos; yields {photos: [{file, used, reason, gate, box}, …], conflicts: [{…, files}, …]} for each part
 * that is done.
 *
 * With `replace` the first part that has a usable photo replaces what is enrolled, and later ones are added.
 * With `force` the quality of the photos and conflicts do not count.
 * Throws a Problem when a part fails; its `left` has the files that were not enrolled, and its `conflicts`
 * the conflicts of the first of them.
 */
export async function* enrol({ id, name, replace, force, files }) {
  const waiting = [...parts(files)];
  let begun = !replace;
  while (waiting.length) {
    const { readable: part, others } = await sorted(waiting.shift());
    if (others.length) yield { photos: others, conflicts: [] };
    if (!part.length) continue;
    const withFiles = (conflicts) => (conflicts ?? []).map((one) => (
      { ...one, files: one.images.map((index) => part[index]) }));
    let told;
    try {
      told = await send({ id, name, force, files: part, mode: begun ? 'append' : 'replace' });
      begun = true;
    } catch (problem) {
      if (problem.status === 413 && part.length > 1) {
        waiting.unshift(...part.map((file) => [file]));
        continue;
      }
      if (problem.status === 413) told = { images: [{ used: false, reason: problem.message, box: null }] };
      else if (problem.images && !problem.conflicts) told = problem;
      else {
        problem.left = [part, ...waiting].flat();
        if (problem.status === 0) problem.message += ` ${LOOK}`;
        problem.begun = begun;
        if (problem.conflicts) problem.conflicts = withFiles(problem.conflicts);
        throw problem;
      }
    }
    yield {
      photos: told.images.map((image, index) => ({ ...image, file: part[index] })),
      conflicts: withFiles(told.conflicts?.map(conflictOf)),
    };
  }
}

/** The files that the browser can read; the others as photos that are not used. */
async function sorted(files) {
  const readable = [];
  const others = [];
  for (const file of files) {
    try {
      await check(file);
      readable.push(file);
    } catch (problem) {
      others.push({ file, used: false, reason: problem.message, gate: null, box: null });
    }
  }
  return { readable, others };
}

function send({ id, name, force, files, mode }) {
  const form = new FormData();
  form.set('id', id);
  if (name) form.set('name', name);
  if (force) form.set('force', 'true');
  form.set('mode', mode);
  for (const file of files) form.append('images', file, 'photo');
  return call('POST', 'generate', { body: form });
}
