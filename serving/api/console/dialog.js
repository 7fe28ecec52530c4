// Dialogs: the browser's own, which keep the focus inside, close with Esc and give the focus back.

import { h, labelled, trouble } from './dom.js';

let opened = 0;

/**
 * Open a dialog. `build({close, closed})` returns its content; `close(value)` closes it.
 * Resolves to that value, or undefined when it was dismissed.
 */
export function open(title, build, { wide = false } = {}) {
  opened += 1;
  const heading = h('h2', { id: `dialog-${opened}`, tabIndex: -1 }, title);
  let value;
  let resolve;
  const closed = new Promise((done) => { resolve = done; });
  const close = (result) => {
    value = result;
    dialog.close();
  };
  const dialog = h('dialog', { className: wide ? 'wide' : '', 'aria-labelledby': heading.id, onclose: () => {
    dialog.remove();
    resolve(value);
  } },
  h('header', {}, heading,
    h('button', { type: 'button', className: 'plain', 'aria-label': 'Close', onclick: () => close() }, '✕')),
  build({ close, closed }));
  document.body.append(dialog);
  dialog.showModal();
  (dialog.querySelector('[data-first]') ?? heading).focus();
  return closed;
}

/**
 * Confirm something that cannot be undone. `work` is carried out in the dialog, so that its error is shown
 * there; `typed` has to be typed first. Resolves to what `work` returned, or undefined.
 */
export function confirm({ title, text, action, work, typed = null }) {
  return open(title, ({ close }) => {
    const failed = h('div');
    const field = typed && h('input', { autocomplete: 'off', inputMode: 'numeric', 'data-first': '' });
    const go = h('button', { type: 'submit', className: 'danger', disabled: typed !== null }, action);
    field?.addEventListener('input', () => { go.disabled = field.value.trim() !== typed; });
    return h('form', { onsubmit: async (event) => {
      event.preventDefault();
      go.disabled = true;
      failed.replaceChildren();
      try {
        close(await work() ?? true);
      } catch (error) {
        failed.replaceChildren(trouble(error));
        go.disabled = false;
      }
    } },
    [text].flat().map((sentence) => h('p', {}, sentence)),
    field && labelled(`To confirm, type ${typed}`, field),
    failed,
    h('div', { className: 'actions' }, go,
      h('button', { type: 'button', onclick: () => close(), 'data-first': typed === null }, 'Cancel')));
  });
}
