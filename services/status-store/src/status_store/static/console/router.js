/** Pages by the address's hash: #/messages/<id>?status=…; what is personal stays in the history's state. */

export function here() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [page = '', id = ''] = path.split('/');
  return {
    page: page || 'messages',
    id: decoded(id),
    query: Object.fromEntries(new URLSearchParams(query)),
    state: history.state ?? {},
  };
}

function decoded(id) {
  try {
    return decodeURIComponent(id);
  } catch {
    return id; // which nothing has
  }
}

export function address(page, id = '', query = {}) {
  const given = Object.entries(query).filter(([, value]) => value);
  const search = given.length ? `?${new URLSearchParams(given)}` : '';
  return `#/${page}${id && `/${encodeURIComponent(id)}`}${search}`;
}

export function go(to, state = {}) {
  history.pushState(state, '', to);
  window.dispatchEvent(new Event('moved'));
}

/** Call at each move, also by the browser's own buttons. */
export function routed(show) {
  for (const moved of ['moved', 'popstate']) window.addEventListener(moved, show);
}
