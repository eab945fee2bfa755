/** Calls status-store's API with the session's cookie. */

export class Problem extends Error {
  /** `document` is a problem document (RFC 9457), or nothing where there was no answer. */
  constructor(status, document = {}) {
    super(document.title ?? (status ? `The answer was ${status}` : 'The service gives no answer'));
    this.status = status;
    this.code = document.code;
    this.detail = document.detail ?? document.errors?.map((fault) => `${fault.pointer}: ${fault.detail}`).join('; ');
  }
}

export const get = (path, query = {}, signal = undefined) => call('GET', withQuery(path, query), { signal });
export const post = (path, body = {}) => call('POST', path, { body });
export const drop = (path) => call('DELETE', path);

export function withQuery(path, query) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

async function call(method, path, { body, signal } = {}) {
  try {
    return await answer(path, {
      method,
      signal,
      body: body && JSON.stringify(body),
      headers: { 'Tracepost-Console': '1' },
    });
  } catch (problem) {
    if (problem.status === 401 && !path.startsWith('/v1/session')) window.dispatchEvent(new Event('signed-out'));
    throw problem;
  }
}

/** The JSON of an answer, null where it is empty; a Problem for every fault. */
export async function answer(url, options) {
  let response;
  try {
    response = await fetch(url, { ...options, cache: 'no-cache' });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Problem(0);
  }
  const text = await response.text();
  const told = read(text);
  if (!response.ok) throw new Problem(response.status, told ?? {});
  return told;
}

function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
