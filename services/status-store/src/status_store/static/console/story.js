/** Why a message has its status: for each delivery the rule and the timeline, each event with what it came to. */

import { get } from './api.js';
import { h } from './dom.js';
import { happened, nameOf, particulars, words } from './happened.js';
import { configured } from './remote.js';
import { address, go } from './router.js';
import { told, tone } from './status.js';
import { exactly, sentence } from './words.js';

/** Loads and draws it. */
export async function story(message) {
  const base = `/v1/messages/${message.message_id}`;
  const [{ events }, ...whys] = await Promise.all([
    get(`${base}/events`),
    ...message.deliveries.map(({ recipient_no: number }) => get(`${base}/deliveries/${number}/why`)),
  ]);
  return message.deliveries.map((delivery, at) => drawn(delivery, whys[at].why, of(events, delivery), message));
}

const of = (events, { recipient_no: number }) =>
  events.filter((event) => Number(event.subject.split('/')[1]) === number);

function drawn(delivery, why, events, message) {
  return h(
    'section',
    { class: `story ${tone(delivery.status)}` },
    h(
      'header',
      {},
      h('h4', { dir: 'auto' }, delivery.recipient ?? 'Recipient erased or not known yet'),
      message.deliveries.length > 1 && told(delivery.status, delivery.shown_as),
    ),
    h(
      'p',
      { class: 'why' },
      h('strong', {}, 'Why: '),
      sentence(why.rule),
      '.',
      ...why.notes.map((note) => ` ${sentence(note)}.`),
      delivery.read_tracking === false && ' Read tracking is off.',
    ),
    h('ol', { class: 'timeline', 'aria-label': 'Timeline' }, ...events.map((event) => entry(event, why))),
    ways(delivery, message),
  );
}

function entry(event, why) {
  const decides = why.deciding?.event_id === event.id;
  const lost = why.others.find((other) => other.event_id === event.id);
  const remote = words(event);
  return h(
    'li',
    { class: `${nameOf(event)}${decides ? ' decides' : ''}` },
    h('p', { class: 'what' }, happened(event), decides && h('span', { class: 'mark' }, 'decides')),
    h('time', { datetime: event.time }, exactly(event.time)),
    remote && h('blockquote', { dir: 'auto' }, remote),
    h(
      'p',
      { class: 'quiet' },
      [...particulars(event), nameOf(event) !== 'accepted' && lost?.sentence].filter(Boolean).join(' · '),
    ),
  );
}

/** Where one can do something about it. */
function ways(delivery, message) {
  const links = [];
  if (configured('sender') && delivery.recipient)
    links.push(link('suppressions', '', { recipient: delivery.recipient }, 'Is this address suppressed?'));
  if (configured('sender') && ['queued', 'deferred', 'unknown'].includes(delivery.status))
    links.push(link('queue', message.message_id, {}, 'In the queue'));
  return links.length ? h('p', { class: 'ways' }, ...links) : null;
}

function link(page, id, state, text) {
  return h(
    'a',
    {
      href: address(page, id),
      onclick: (event) => {
        event.preventDefault();
        go(address(page, id), state);
      },
    },
    text,
  );
}
