/** What waits to be sent, and what holds it up: asked of the sender by the browser itself. */

import { h, table, tile } from './dom.js';
import { ask, empty, say, sayFault, shown } from './notice.js';
import { call } from './remote.js';
import { exactly, duration, number, sentence, spaced } from './words.js';

export function queue({ id }) {
  const place = h('div', {});
  const look = () => shown(place, () => (id ? message(id, look) : overview(look)));
  look();
  return h('section', { class: 'page' }, h('header', {}, h('h1', {}, id ? 'A message in the queue' : 'Queue')), place);
}

async function overview(again) {
  const [totals, { destinations }] = await Promise.all([
    call('sender', '/v1/queue'),
    call('sender', '/v1/queue/destinations', { query: { limit: 50 } }),
  ]);
  const all = totals.pauses.find((pause) => pause.destination === '*');
  return h(
    'div',
    {},
    h(
      'dl',
      { class: 'tiles' },
      ...states(totals.totals).map(([state, count]) => tile(sentence(spaced(state)), count)),
      tile('Oldest ready', duration(totals.oldest_ready_seconds)),
    ),
    h('div', { class: 'actions start' }, hold('*', all, again)),
    destinations.length
      ? waiting(destinations, again)
      : empty('Nothing waits', 'Every message that was accepted is on its way or done.'),
  );
}

/** Over both lanes: [state, count in words]. */
function states(totals) {
  return [...new Set(totals.map(({ state }) => state))].map((state) => {
    const mine = totals.filter((each) => each.state === state);
    const count = mine.reduce((sum, each) => sum + each.count, 0);
    return [state, `${number(count)}${mine.some((each) => each.at_least) ? '+' : ''}`];
  });
}

function waiting(destinations, again) {
  return table(
    ['Destination', 'Ready', 'Waiting', 'Under way', 'Oldest', ''],
    destinations.map((each) => [
      each.destination,
      number(each.ready),
      number(each.waiting),
      number(each.under_way),
      duration(each.oldest_ready_seconds),
      hold(each.destination, each.pause, again),
    ]),
  );
}

function hold(destination, pause, again) {
  const name = destination === '*' ? 'all mail' : destination;
  const path = pause ? '/v1/pauses/resume' : '/v1/pauses';
  const press = () =>
    decide(pause ? `Resume ${name}?` : `Pause ${name}?`, pause ? 'Resume' : 'Pause', path, { destination }, again);
  return h(
    'span',
    {},
    pause && h('span', { class: 'status tone-delayed' }, `Paused by ${pause.by}: ${pause.reason} `),
    h(
      'button',
      { type: 'button', class: 'button small', onclick: press },
      pause ? 'Resume' : 'Pause',
      destination === '*' ? ' all' : '',
    ),
  );
}

async function message(id, again) {
  const found = await call('sender', `/v1/queue/messages/${encodeURIComponent(id)}`);
  return h(
    'div',
    {},
    h('p', { class: 'quiet' }, id),
    h(
      'ul',
      { class: 'cards' },
      ...found.deliveries.map((each) => h('li', { class: 'card' }, delivery(id, each, again))),
    ),
    h(
      'div',
      { class: 'actions start' },
      h(
        'button',
        {
          type: 'button',
          class: 'button',
          onclick: () => decide('Cancel this message?', 'Cancel it', `/v1/messages/${id}/cancel`, {}, again),
        },
        'Cancel the message',
      ),
    ),
  );
}

function delivery(id, each, again) {
  const path = `/v1/deliveries/${id}/${each.recipient_no}`;
  const told = [
    `${sentence(spaced(each.state))}`,
    each.attempt && `attempt ${each.attempt}`,
    each.due_at && `due ${exactly(each.due_at)}`,
    each.expires_at && `given up after ${exactly(each.expires_at)}`,
  ];
  return h(
    'div',
    { class: 'sent' },
    h('h2', { dir: 'auto' }, each.recipient ?? 'erased'),
    h('p', {}, told.filter(Boolean).join(' · ')),
    each.said && h('blockquote', { dir: 'auto' }, each.said),
    h(
      'div',
      { class: 'actions' },
      h(
        'button',
        {
          type: 'button',
          class: 'button',
          onclick: () => decide('Give it up?', 'Give up', `${path}/give-up`, {}, again),
        },
        'Give up',
      ),
      h(
        'button',
        {
          type: 'button',
          class: 'button primary',
          onclick: () => decide('Try it now?', 'Try now', `${path}/retry`, {}, again),
        },
        'Try now',
      ),
    ),
  );
}

async function decide(title, action, path, body, again) {
  const given = await ask(title, '', action, [
    ['reason', 'Reason (kept with your name)', { required: true, maxlength: 1000 }],
  ]);
  if (!given) return;
  try {
    const { result, detail } = await call('sender', path, { body: { ...body, reason: given.reason } });
    say([sentence(spaced(result ?? 'done')), detail].filter(Boolean).join(': '));
    again();
  } catch (problem) {
    sayFault(problem);
  }
}
