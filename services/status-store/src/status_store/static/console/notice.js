/** What is shown in place of content: nothing there, still loading, went wrong; and questions. */

import { h, put } from './dom.js';

export function empty(title, ...help) {
  return h(
    'div',
    { class: 'notice' },
    h('h2', {}, title),
    ...help.map((text) => (typeof text === 'string' ? h('p', {}, text) : text)),
  );
}

export const loading = () => h('p', { class: 'notice quiet', role: 'status' }, 'Loading…');

export function fault(problem, again) {
  return h(
    'div',
    { class: 'notice', role: 'alert' },
    h('h2', {}, problem.message),
    h(
      'p',
      {},
      problem.detail ||
        (problem.status
          ? 'If it stays so, the service’s log says why.'
          : 'Is it running, and is this machine connected?'),
    ),
    again && h('button', { type: 'button', class: 'button', onclick: again }, 'Try again'),
  );
}

/** Show what `work` resolves to, or what went wrong with a way to try again. */
export async function shown(place, work) {
  put(place, loading());
  try {
    put(place, await work());
  } catch (problem) {
    if (problem.name !== 'AbortError')
      put(
        place,
        fault(problem, () => shown(place, work)),
      );
  }
}

/** Asks in a dialog; the fields' values, or null. `fields` are [name, label, attributes]. */
export function ask(title, text, action, fields = []) {
  const inputs = fields.map(([name, label, attributes = {}]) =>
    h('label', {}, h('span', {}, label), h('input', { name, autocomplete: 'off', ...attributes })),
  );
  const form = h(
    'form',
    { method: 'dialog' },
    h('h2', { id: 'asked' }, title),
    text && h('p', {}, text),
    ...inputs,
    h(
      'div',
      { class: 'actions' },
      h('button', { type: 'submit', value: 'no', class: 'button', formnovalidate: true }, 'Back'),
      h('button', { type: 'submit', value: 'yes', class: 'button primary' }, action),
    ),
  );
  const dialog = h('dialog', { 'aria-labelledby': 'asked' }, form);
  document.body.append(dialog);
  dialog.showModal();
  (form.elements[0].tagName === 'INPUT' ? form.elements[0] : form.querySelector('.primary')).focus();
  // Enter in a field would press the first button, which is the way back.
  form.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.target.tagName !== 'INPUT') return;
    event.preventDefault();
    form.requestSubmit(form.querySelector('.primary'));
  });
  return new Promise((answer) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      answer(dialog.returnValue === 'yes' ? Object.fromEntries(new FormData(form)) : null);
    });
  });
}

/** Says shortly, at the bottom, how something went. */
export function say(text) {
  const place =
    document.querySelector('.said') ?? document.body.appendChild(h('div', { class: 'said', role: 'status' }));
  const line = h('p', {}, text);
  place.append(line);
  setTimeout(() => line.remove(), 6000);
}

/** Says shortly what went wrong. */
export const sayFault = (problem) => say([problem.message, problem.detail].filter(Boolean).join(': '));
