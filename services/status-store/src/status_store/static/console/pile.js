/** A page of two halves: a list that is read on by a button, and what is opened of it. */

import { h, put } from './dom.js';
import { say, shown } from './notice.js';

/** `load(cursor)` resolves to [rows, the next cursor]; `open` loads what is opened, `closed` is shown without it. */
export function pile(title, load, none, open, closed) {
  const list = h('div', { class: 'pile' });
  const detail = h('div', { class: 'letter' });
  shown(list, () => listed(load, none));
  if (open) shown(detail, open);
  else put(detail, closed);
  return h('section', { class: 'page' }, h('header', {}, h('h1', {}, title)), h('div', { class: 'halves' }, list, detail));
}

async function listed(load, none) {
  const rows = h('ul', {});
  const more = h('button', { type: 'button', class: 'button', hidden: true }, 'Show more');
  const add = async (cursor) => {
    const [found, next] = await load(cursor);
    rows.append(...found.map((row) => h('li', {}, row)));
    more.hidden = !next;
    more.onclick = () => add(next).catch((problem) => say(problem.message));
  };
  await add();
  return rows.children.length ? h('div', {}, rows, more) : none;
}
