// JSON whose whole numbers stay exact. Ids go up to 2^63 - 1, and a JavaScript number is exact only up to
// 2^53: a larger one is kept as text behind a mark, and is written as a number again.

const MARK = '\uE000';
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

const tooLong = (token) => /^-?\d+$/.test(token) && !Number.isSafeInteger(Number(token));

export function parse(text) {
  return JSON.parse(text.replace(TOKEN, (token) => (tooLong(token) ? `"${MARK}${token}"` : token)));
}

export function stringify(value, indent) {
  return JSON.stringify(value, null, indent).replace(
    new RegExp(`"${MARK}(-?\\d+)"`, 'g'), (_, digits) => digits);
}

/** A number from `parse`, as text. */
export const digits = (value) => String(value).replace(MARK, '');

/** An id as it was typed, in its canonical spelling; null when it is no id. */
export function idOf(typed) {
  const text = typed.trim();
  return /^\d{1,19}$/.test(text) ? BigInt(text).toString() : null;
}
