/** Who is signed in; a form for who is not. */

import { drop, get, post } from './api.js';
import { h, put } from './dom.js';

/** The session, or null. A link's login is used up, and taken out of the address. */
export async function current() {
  const login = new URLSearchParams(location.search).get('login');
  if (login) {
    history.replaceState(null, '', `/${location.hash}`);
    await post('/v1/session', { login }).catch(() => {}); // used before: there may be a session of it
  }
  try {
    return await get('/v1/session');
  } catch (problem) {
    if (problem.status === 401) return null;
    throw problem;
  }
}

export const leave = () => drop('/v1/session');
export const may = (session, scope) => session.scopes.includes(scope);

/** Ask for a key until one is accepted; resolves to the session. The key is kept nowhere. */
export function signIn(place) {
  const fault = h('p', { class: 'fault', role: 'alert' });
  const key = h('input', {
    id: 'key',
    type: 'password',
    name: 'key',
    autocomplete: 'current-password',
    required: true,
    spellcheck: 'false',
  });
  const form = h(
    'form',
    { class: 'sign-in' },
    h('h1', {}, 'Tracepost'),
    h('p', { class: 'quiet' }, 'What became of each message that was sent.'),
    h('label', { for: 'key' }, 'API key'),
    key,
    fault,
    h('button', { type: 'submit', class: 'button primary' }, 'Sign in'),
    h(
      'details',
      {},
      h('summary', {}, 'I have no key'),
      h('p', {}, 'Whoever runs Tracepost makes one, with the scope read (and operate, to change things):'),
      h('pre', {}, 'tracepost keys new --client you --app your-app --scope read'),
    ),
  );
  put(place, form);
  key.focus();
  return new Promise((signedIn) => {
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      try {
        signedIn(await post('/v1/session', { key: key.value.trim() }));
      } catch (problem) {
        fault.textContent =
          problem.status === 401 ? 'This key is not known here.' : `${problem.message}. ${problem.detail ?? ''}`;
        key.select();
      }
    });
  });
}
