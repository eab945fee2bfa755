/** A ticket: every message of a reference, each with its badge at the bottom right; one of them opened. */

import { get, post } from './api.js';
import { h, put } from './dom.js';
import { gathered } from './live.js';
import { empty, fault, loading } from './notice.js';
import { address } from './router.js';
import { isIssue } from './status.js';
import { story } from './story.js';
import { exactly, plural, shortly, timeOf } from './words.js';

const KEYS = [
  ['↑ ↓', 'move'],
  ['Enter', 'open'],
  ['Esc', 'back to the list'],
  ['/', 'search'],
];

export class Ticket {
  #id = null;
  #cards = new Map();

  /** `seen()` is called when an issue has been looked at. */
  constructor(seen) {
    this.seen = seen;
    this.element = h('section', { class: 'ticket', 'aria-label': 'Ticket', tabindex: '-1' });
    this.again = gathered(() => this.#fill(this.#id).catch(() => {}), 500); // else it stays as it is
  }

  async show(id, filters) {
    if (id === this.#id) return;
    this.#id = id;
    if (!id) return this.#nothing();
    put(this.element, loading());
    try {
      const message = await get(`/v1/messages/${encodeURIComponent(id)}`);
      const others = message.reference ? await this.#others(message) : [];
      if (id !== this.#id) return;
      this.#draw(message, others, filters);
      await this.#fill(id, message);
    } catch (problem) {
      if (id === this.#id)
        put(this.element, problem.status === 404 ? unknown() : fault(problem, () => this.#retry(id, filters)));
    }
  }

  /** A change of the feed. */
  changed({ message_id: id }) {
    this.#cards.get(id)?.querySelector('tracepost-status').refresh();
    if (id === this.#id) this.again();
  }

  #retry(id, filters) {
    this.#id = null;
    return this.show(id, filters);
  }

  async #others({ reference, app, message_id: id }) {
    const { messages } = await get('/v1/messages', { reference, limit: 50 });
    return messages.filter((other) => other.app === app && other.message_id !== id);
  }

  #draw(message, others, filters) {
    const all = [...others, message].sort((a, b) => (a.message_id < b.message_id ? -1 : 1));
    this.#cards = new Map(all.map((each) => [each.message_id, card(each, each === message, filters)]));
    put(
      this.element,
      h(
        'header',
        { class: 'ticket-head' },
        h('a', { class: 'back', href: address('messages', '', filters), 'aria-label': 'Back to the list' }, '‹'),
        h(
          'div',
          {},
          h('h1', { dir: 'auto' }, message.reference ?? message.subject ?? 'Message'),
          h(
            'p',
            { class: 'quiet', dir: 'auto' },
            [plural(all.length, 'message'), message.app && `app ${message.app}`].filter(Boolean).join(' · '),
          ),
        ),
      ),
      h('div', { class: 'cards' }, ...this.#cards.values()),
    );
    this.#cards.get(message.message_id).scrollIntoView({ block: 'nearest' });
  }

  async #fill(id, known) {
    const place = this.#cards.get(id);
    if (!place) return;
    const message = known ?? (await get(`/v1/messages/${id}`));
    if (id !== this.#id) return;
    put(place.querySelector('.to'), ...addresses(message));
    put(place.querySelector('.stories'), ...(await story(message)), facts(message));
    // Where that fails it stays among those not seen.
    if (isIssue(message.status)) await post(`/v1/messages/${id}/seen`).then(this.seen, () => {});
  }

  #nothing() {
    this.#cards = new Map();
    put(
      this.element,
      empty(
        'No message is open',
        'Choose one in the list. From the keyboard:',
        h(
          'dl',
          { class: 'keys' },
          ...KEYS.flatMap(([key, what]) => [h('dt', {}, h('kbd', {}, key)), h('dd', {}, what)]),
        ),
      ),
    );
  }
}

const unknown = () =>
  empty(
    'No such message',
    'It is not known here, is another app’s, or its time of retention is over.',
    h('a', { class: 'button', href: address('messages') }, 'Show all messages'),
  );

function card(message, open, filters) {
  const { message_id: id, sender, subject, tags } = message;
  const time = timeOf(id);
  return h(
    'article',
    { class: `card${open ? ' open' : ''}` },
    h(
      'div',
      { class: 'sent' },
      h(
        'header',
        {},
        h('span', { class: 'from', dir: 'auto' }, sender ?? 'Sender not known yet'),
        h('time', { datetime: time.toISOString(), title: exactly(time) }, shortly(time)),
      ),
      h(
        'h2',
        { dir: 'auto' },
        open
          ? subject || '(no subject)'
          : h('a', { href: address('messages', id, filters) }, subject || '(no subject)'),
      ),
      open && h('p', { class: 'to', dir: 'auto' }),
      h(
        'footer',
        {},
        h('span', { class: 'tags' }, ...(tags ?? []).map((tag) => h('span', { dir: 'auto' }, tag))),
        h('tracepost-status', { message: id, live: 'off' }),
      ),
    ),
    open && h('div', { class: 'stories' }),
  );
}

const addresses = ({ deliveries }) => [
  'To ',
  ...deliveries.flatMap((each, at) => [at > 0 && ', ', h('bdi', {}, each.recipient ?? 'not known yet')]),
];

function facts({ message_id: id, rfc_message_id: header, rollup, version, metadata }) {
  const lines = [
    ['Roll-up', rollup.rule],
    ['Message id', id],
    ['Message-ID header', header],
    ['Version', version],
    ...Object.entries(metadata ?? {}),
  ];
  return h(
    'details',
    { class: 'facts' },
    h('summary', {}, 'Particulars'),
    h(
      'dl',
      {},
      ...lines
        .filter(([, value]) => value)
        .flatMap(([name, value]) => [h('dt', { dir: 'auto' }, name), h('dd', { dir: 'auto' }, String(value))]),
    ),
  );
}
