/** Reports that could not be placed, with the reason, and what a person decides; asked of bounce-ingest itself. */

import { h } from './dom.js';
import { ask, empty, say, sayFault } from './notice.js';
import { pile } from './pile.js';
import { call } from './remote.js';
import { address, go } from './router.js';
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
    action('Run all again', runAll),
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
  const { raw, raw_is_cut: cut, ...told } = await call('bounce-ingest', path(id));
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
      raw && h('h3', {}, cut ? 'As it came, its beginning' : 'As it came'),
      raw && h('pre', { dir: 'auto', tabindex: '0' }, raw),
      h(
        'div',
        { class: 'actions' },
        action('Drop', () => drop(id)),
        action('Say what it is', () => classify(id, told.about)),
        action('Run again', () => release(id), 'button primary'),
      ),
    ),
  );
}

const path = (id, deed = '') => `/v1/quarantine/${encodeURIComponent(id)}${deed}`;

const action = (name, onclick, style = 'button') => h('button', { type: 'button', class: style, onclick }, name);

async function drop(id) {
  if (!(await ask('Drop this report?', 'It is deleted for good.', 'Drop'))) return;
  await done(() => call('bounce-ingest', path(id), { method: 'DELETE' }), () => 'Dropped.');
}

async function release(id) {
  await done(() => call('bounce-ingest', path(id, '/release'), { method: 'POST' }), outcome, id);
}

const outcome = ({ result, reason }) => (result === 'told' ? 'Told.' : `Still held: ${spaced(reason)}.`);

async function classify(id, about) {
  const [message = '', recipient = '0'] = (about ?? '').split('/');
  const given = await ask(
    'What is it about?',
    'It is recorded as your word, not as a proof: it shows as a delivery issue and suppresses nobody.',
    'Record it',
    [
      ['message_id', 'Message', { required: true, value: message }],
      ['recipient_no', 'Recipient’s number', { required: true, type: 'number', min: 0, max: 255, value: recipient }],
      ['tells', 'hard, soft, spam, undetermined or complaint', { required: true, pattern: KINDS, value: 'hard' }],
    ],
  );
  if (!given) return;
  const { message_id, recipient_no, tells } = given;
  const said = tells === 'complaint' ? { event: 'complained' } : { event: 'bounced', bounce_class: tells };
  const body = { ...said, message_id: message_id.trim(), recipient_no: Number(recipient_no) };
  await done(() => call('bounce-ingest', path(id, '/classify'), { body }), outcome);
}

const KINDS = 'hard|soft|spam|undetermined|complaint';

async function runAll() {
  const text = 'Each report is read by the rules of now; what can be told is told, and leaves the quarantine.';
  if (!(await ask('Run all again?', text, 'Run all'))) return;
  await done(runPages, ({ looked, told }) => `${told} of ${looked} told.`);
}

async function runPages() {
  const all = { looked: 0, told: 0 };
  for (let cursor; cursor !== null; ) {
    const part = await call('bounce-ingest', '/v1/quarantine/run-again', { body: cursor ? { cursor } : {} });
    all.looked += part.looked_at;
    all.told += part.told;
    cursor = part.cursor;
  }
  return all;
}

async function done(work, text, stay = '') {
  try {
    const told = await work();
    say(text(told));
    go(address('quarantine', told?.result === 'held' ? stay : ''));
  } catch (problem) {
    sayFault(problem);
  }
}
