// Photos of one person to POST /generate, in parts that fit into a request.

import { call } from './api.js';

// Few enough for progress to be seen; well under the service's limits.
const PHOTOS = 8;
const BYTES = 16 * 2 ** 20;

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
 * Enrol photos; yields [{file, used, reason, box}, …] for each part that is done.
 *
 * With `replace` the first part that has a usable photo replaces what is enrolled, and later ones are added.
 * Throws a Problem when a part could not be carried out; `left` of it has the files that were not sent.
 */
export async function* enrol({ id, name, replace, files }) {
  const waiting = [...parts(files)];
  let begun = !replace;
  while (waiting.length) {
    const part = waiting.shift();
    let images;
    try {
      ({ images } = await send({ id, name, files: part, mode: begun ? 'append' : 'replace' }));
      begun = true;
    } catch (problem) {
      if (problem.status === 413 && part.length > 1) {
        waiting.unshift(...part.map((file) => [file]));
        continue;
      }
      images = problem.images;
      if (problem.status === 413) images = [{ used: false, reason: problem.message, box: null }];
      if (!images) {
        problem.left = [part, ...waiting].flat();
        problem.begun = begun;
        throw problem;
      }
    }
    yield images.map((told, index) => ({ ...told, file: part[index] }));
  }
}

function send({ id, name, files, mode }) {
  const form = new FormData();
  form.set('id', id);
  if (name) form.set('name', name);
  form.set('mode', mode);
  for (const file of files) form.append('images', file, 'photo');
  return call('POST', 'generate', { body: form });
}
