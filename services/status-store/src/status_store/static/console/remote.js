/** Calls, from the browser itself, the other services' APIs at the addresses that the settings name. */

import { answer, withQuery } from './api.js';
import { ask } from './notice.js';

let addresses = {};
const keys = {}; // in this page's memory alone: gone when it is reloaded

export function configure(found) {
  addresses = found;
}

export const configured = (name) => Boolean(addresses[name]);

/** GET without a body, else POST; by the session where the service knows it, else by a key that is asked for. */
export async function call(name, path, { query = {}, body, method = body ? 'POST' : 'GET' } = {}) {
  const url = withQuery(`${addresses[name].replace(/\/$/, '')}${path}`, query);
  try {
    const headers = keys[name] ? { Authorization: `Bearer ${keys[name]}` } : { 'Tracepost-Console': '1' };
    return await answer(url, {
      method,
      headers,
      credentials: keys[name] ? 'omit' : 'include',
      body: body && JSON.stringify(body),
    });
  } catch (problem) {
    if (problem.status !== 401) throw problem;
    const given = await ask(
      'An API key is needed',
      `The ${name} asks who you are. The key stays in this page until it is reloaded.`,
      'Use it',
      [['key', 'API key', { type: 'password', required: true }]],
    );
    if (!given) throw problem;
    keys[name] = given.key.trim();
    return call(name, path, { query, body, method });
  }
}
