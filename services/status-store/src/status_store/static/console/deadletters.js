/** What could not be processed: the reason, the body; published again or forgotten. For operators. */

import { drop, get, post } from './api.js';
import { h } from './dom.js';
import { ask, empty, say, sayFault } from './notice.js';
import { pile } from './pile.js';
import { address, go } from './router.js';
import { exactly, sentence, shortly, spaced } from './words.js';

export function deadLetters({ id, query }) {
  return pile(
    'Dead letters',
    async (cursor) => {
      const found = await get('/v1/dead-letters', { ...query, cursor, limit: 50 });
      return [found.dead_letters.map((each) => entry(each, id, query)), found.cursor];
    },
    empty('No dead letters', 'All that came by the queues was understood.'),
    id && (() => letter(id)),
    empty(
      'No letter is open',
      'A dead letter is a queue’s message that a service could not process. Nothing is lost: mend the cause, then replay it.',
    ),
  );
}

function entry({ id, code, queue, died_at: time, replayed_at: replayed }, open, query) {
  return h(
    'a',
    { class: 'row', href: address('dead-letters', id, query), 'aria-current': id === open ? 'true' : null },
    h(
      'span',
      { class: 'line' },
      h('span', { class: 'subject' }, sentence(code.replaceAll('-', ' '))),
      h('time', { datetime: time }, shortly(new Date(time))),
    ),
    h(
      'span',
      { class: 'line' },
      h('span', { class: 'about' }, [queue, replayed && 'replayed'].filter(Boolean).join(' · ')),
    ),
  );
}

async function letter(id) {
  const dead = await get(`/v1/dead-letters/${id}`);
  const { problem, body, body_encoding: encoding, headers } = dead;
  return h(
    'article',
    { class: 'card' },
    h(
      'div',
      { class: 'sent' },
      h('h2', {}, problem?.title ?? sentence(dead.code.replaceAll('-', ' '))),
      problem?.detail && h('p', {}, problem.detail),
      problem?.errors?.length
        ? h(
            'ul',
            { class: 'faults' },
            ...problem.errors.map((each) => h('li', {}, h('code', {}, each.pointer || '/'), ` ${each.detail}`)),
          )
        : null,
      h('dl', {}, ...facts(dead)),
      h('h3', {}, encoding === 'utf-8' ? 'Body' : 'Body (base64)'),
      h('pre', { dir: 'auto', tabindex: '0' }, readable(body)),
      h('details', {}, h('summary', {}, 'Headers'), h('pre', { dir: 'auto' }, JSON.stringify(headers, null, 2))),
      h(
        'div',
        { class: 'actions' },
        h('button', { type: 'button', class: 'button', onclick: () => forget(id) }, 'Forget'),
        h(
          'button',
          { type: 'button', class: 'button primary', disabled: !dead.exchange, onclick: () => replay(id) },
          'Replay',
        ),
      ),
    ),
  );
}

function facts(dead) {
  const lines = {
    Queue: dead.queue,
    Code: dead.code,
    App: dead.app,
    'Died at': exactly(dead.died_at),
    'Replayed at': dead.replayed_at && exactly(dead.replayed_at),
    'For exchange': dead.exchange && `${dead.exchange} (${spaced(dead.routing_key)})`,
  };
  return Object.entries(lines)
    .filter(([, value]) => value)
    .flatMap(([name, value]) => [h('dt', {}, name), h('dd', { dir: 'auto' }, value)]);
}

function readable(body) {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}

async function replay(id) {
  if (
    !(await ask(
      'Replay this letter?',
      'It is published again to the exchange that it was for, and is processed as if it came now.',
      'Replay',
    ))
  )
    return;
  await done(() => post(`/v1/dead-letters/${id}/replay`), 'Published again.', address('dead-letters', id));
}

async function forget(id) {
  if (!(await ask('Forget this letter?', 'It is deleted for good.', 'Forget'))) return;
  await done(() => drop(`/v1/dead-letters/${id}`), 'Forgotten.', address('dead-letters'));
}

async function done(work, text, then) {
  try {
    await work();
    say(text);
    go(then);
  } catch (problem) {
    sayFault(problem);
  }
}
