/** Reports that could not be placed, with the reason; asked of bounce-ingest by the browser itself. */

import { h, put } from './dom.js';
import { empty, say, shown } from './notice.js';
import { call } from './remote.js';
import { address } from './router.js';
import { sentence, shortly, spaced } from './words.js';

export function quarantine({ id }) {
  const list = h('div', { class: 'pile' });
  const detail = h('div', { class: 'letter' });
  shown(list, () => listed(id));
  if (id) shown(detail, () => report(id));
  else
    put(
      detail,
      empty(
        'No report is open',
        'A report without a valid token changes no status. It is kept here with the reason, until a person has looked.',
      ),
    );
  return h(
    'section',
    { class: 'page' },
    h('header', {}, h('h1', {}, 'Quarantine')),
    h('div', { class: 'halves' }, list, detail),
  );
}

async function listed(open) {
  const rows = h('ul', {});
  const more = h('button', { type: 'button', class: 'button', hidden: true }, 'Show more');
  const load = async (cursor) => {
    const found = await call('bounce-ingest', '/v1/quarantine', { query: { cursor, limit: 50 } });
    rows.append(...found.reports.map((each) => h('li', {}, row(each, open))));
    more.hidden = !found.cursor;
    more.onclick = () => load(found.cursor).catch((problem) => say(problem.message));
  };
  await load();
  return rows.children.length
    ? h('div', {}, rows, more)
    : empty('Nothing in quarantine', 'Every report could be placed.');
}

function row({ id, reason, received_at: time, subject }, open) {
  return h(
    'a',
    { class: 'row', href: address('quarantine', id), 'aria-current': id === open ? 'true' : null },
    h(
      'span',
      { class: 'line' },
      h('span', { class: 'subject', dir: 'auto' }, subject || '(no subject)'),
      h('time', { datetime: time }, shortly(new Date(time))),
    ),
    h('span', { class: 'line' }, h('span', { class: 'about' }, sentence(spaced(reason)))),
  );
}

async function report(id) {
  const { raw, ...told } = await call('bounce-ingest', `/v1/quarantine/${encodeURIComponent(id)}`);
  const lines = Object.entries(told).filter(([, value]) => value !== null && value !== '');
  return h(
    'article',
    { class: 'card' },
    h(
      'div',
      { class: 'sent' },
      h(
        'dl',
        {},
        ...lines.flatMap(([name, value]) => [
          h('dt', {}, sentence(spaced(name))),
          h('dd', { dir: 'auto' }, typeof value === 'string' ? value : JSON.stringify(value)),
        ]),
      ),
      raw && h('h3', {}, 'As it came'),
      raw && h('pre', { dir: 'auto', tabindex: '0' }, raw),
    ),
  );
}
