/** Reports that could not be placed, with the reason; asked of bounce-ingest by the browser itself. */

import { h } from './dom.js';
import { empty } from './notice.js';
import { pile } from './pile.js';
import { call } from './remote.js';
import { address } from './router.js';
import { sentence, shortly, spaced } from './words.js';

export function quarantine({ id }) {
  return pile(
    'Quarantine',
    async (cursor) => {
      const found = await call('bounce-ingest', '/v1/quarantine', { query: { cursor, limit: 50 } });
      return [found.reports.map((each) => row(each, id)), found.cursor];
    },
    empty('Nothing in quarantine', 'Every report could be placed.'),
    id && (() => report(id)),
    empty(
      'No report is open',
      'A report without a valid token changes no status. It is kept here with the reason, until a person has looked.',
    ),
  );
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
