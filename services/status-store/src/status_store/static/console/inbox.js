/** The search and the live list: delivery issues that nobody has seen first, then everything, newest first. */

import { get, post } from './api.js';
import { h, put } from './dom.js';
import { gathered } from './live.js';
import { empty, fault, loading, say } from './notice.js';
import { address, go } from './router.js';
import { HEIGHT, row } from './row.js';
import { asked, form } from './search.js';
import { isIssue } from './status.js';
import { Windowed } from './windowed.js';
import { plural } from './words.js';

const PAGE = 200;
const FIRST_ISSUES = 3;

/** One page of messages; an address is asked for in a body, never in a URL. */
export function page(filters, { cursor, limit = PAGE } = {}) {
  const query = JSON.parse(JSON.stringify({ ...asked(filters), cursor, limit })); // without what is undefined
  for (const name of Object.keys(query)) if (query[name] === '') delete query[name];
  return query.recipient ? post('/v1/messages/search', query) : get('/v1/messages', query);
}

export class Inbox {
  #filters = {};
  #cursor = null;
  #busy = false;
  #active = -1;
  #open = '';
  #places = new Map();

  constructor() {
    this.scroller = h('div', { class: 'scroller' });
    this.issues = h('section', { class: 'issues', 'aria-label': 'Delivery issues not yet seen', hidden: true });
    this.notice = h('div', {});
    this.search = form((filters) => this.#search(filters));
    this.list = new Windowed(this.scroller, {
      height: HEIGHT,
      label: 'Messages, newest first',
      draw: (item, at) => this.#option(item, at),
      more: () => this.#more(),
    });
    this.list.element.addEventListener('keydown', (event) => this.#key(event));
    this.list.element.addEventListener('focus', () => this.#activate(Math.max(0, this.#active), false));
    this.scroller.append(this.issues, this.list.element, this.notice);
    this.element = h('section', { class: 'inbox', 'aria-label': 'Messages' }, this.search.element, this.scroller);
    this.head = gathered(() => this.#head(), 800);
    this.#unseen = gathered(() => this.#showIssues(), 800);
  }

  #unseen;

  /** Show what the address asks for; the list is loaded anew only when the filters are others. */
  show(filters, open) {
    this.#open = open;
    this.search.show(filters);
    if (JSON.stringify(filters) !== JSON.stringify(this.#filters) || !this.#places.size) {
      this.#filters = filters;
      this.load();
    } else this.list.render(true);
    this.#mark();
  }

  async load() {
    this.#active = -1;
    this.#take([], null);
    put(this.notice, loading());
    this.#showIssues();
    await this.#fetch();
  }

  /** A change of the feed: a row that is known changes where it stands, others appear at the top. */
  changed(change) {
    const at = this.#places.get(change.message_id);
    if (at === undefined) this.head();
    else {
      const item = this.list.items[at];
      if (item.version < change.version) {
        Object.assign(item, {
          version: change.version,
          status: change.status,
          rollup: change.rollup,
          shown_as: change.rollup.shown_as,
        });
        this.list.update(at);
      }
    }
    if (isIssue(change.status)) this.#unseen();
  }

  /** Somebody has looked at an issue. */
  seen() {
    this.#unseen();
  }

  focus() {
    this.list.element.focus();
  }

  #search({ id, recipient, ...filters }) {
    if (id) go(address('messages', id));
    else go(address('messages', '', filters), recipient ? { recipient } : {});
  }

  #take(items, cursor) {
    this.#cursor = cursor;
    this.#places = new Map(items.map((item, at) => [item.message_id, at]));
    this.list.items = items;
  }

  #add(items, cursor) {
    this.#cursor = cursor;
    items.forEach((item, at) => this.#places.set(item.message_id, this.list.items.length + at));
    this.list.add(items);
  }

  async #fetch(cursor) {
    const filters = this.#filters;
    this.#busy = true;
    try {
      const found = await page(filters, { cursor });
      if (filters !== this.#filters) return;
      this.#busy = false;
      put(this.notice);
      if (cursor) this.#add(found.messages, found.cursor);
      else this.#take(found.messages, found.cursor);
      if (!this.list.items.length) put(this.notice, this.#nothing());
    } catch (problem) {
      // It stays busy until somebody wants it again: not with each row that is scrolled by.
      if (filters === this.#filters)
        put(
          this.notice,
          fault(problem, () => this.#fetch(cursor)),
        );
    }
  }

  #more() {
    if (this.#cursor && !this.#busy) this.#fetch(this.#cursor);
  }

  /** What is newer than the first row, without a jump for who has scrolled. */
  async #head() {
    const filters = this.#filters;
    const found = await page(filters).catch(() => null);
    if (!found || filters !== this.#filters) return;
    const fresh = found.messages.filter((item) => !this.#places.has(item.message_id));
    if (!fresh.length) return;
    if (fresh.length === PAGE) {
      // there may be more between
      this.load();
      return;
    }
    const items = [...fresh, ...this.list.items].sort((a, b) => (a.message_id < b.message_id ? 1 : -1));
    const scrolled = this.scroller.scrollTop > this.issues.offsetHeight;
    if (this.#active >= 0) this.#active += fresh.length;
    put(this.notice);
    this.#take(items, this.#cursor);
    if (scrolled) this.scroller.scrollTop += fresh.length * HEIGHT;
  }

  async #showIssues() {
    const alone = !Object.values(this.#filters).some(Boolean);
    const asking = alone && get('/v1/messages', { unseen: true, status: 'issues', limit: FIRST_ISSUES + 1 });
    const messages = (asking && (await asking.catch(() => null))?.messages) || [];
    this.issues.hidden = !messages.length;
    put(this.issues, ...(messages.length ? this.#firstIssues(messages) : []));
    this.list.render();
  }

  #firstIssues(messages) {
    const first = messages.slice(0, FIRST_ISSUES);
    const further = messages.length > FIRST_ISSUES;
    const title = further ? 'Delivery issues not yet seen' : `${plural(first.length, 'delivery issue')} not yet seen`;
    const all = address('messages', '', { status: 'unseen' });
    return [
      h(
        'header',
        {},
        h('h2', {}, title),
        h('button', { type: 'button', class: 'link', onclick: () => this.#seeAll() }, 'Mark all as seen'),
      ),
      h('ul', {}, ...first.map((message) => h('li', {}, this.#issue(message)))),
      further && h('a', { class: 'further', href: all }, 'Show all that nobody has seen'),
    ];
  }

  #issue(message) {
    const { message_id: id } = message;
    return row('a', message, { href: address('messages', id), 'aria-current': id === this.#open ? 'true' : null });
  }

  async #seeAll() {
    let count = 0;
    try {
      for (let found; !found || found.cursor;) {
        found = await get('/v1/messages', { unseen: true, status: 'issues', limit: 100, cursor: found?.cursor });
        await Promise.all(found.messages.map(({ message_id: id }) => post(`/v1/messages/${id}/seen`)));
        count += found.messages.length;
      }
      this.seen();
      say(`${plural(count, 'delivery issue')} marked as seen.`);
    } catch (problem) {
      say(`Not all are marked: ${problem.message}.`);
    }
  }

  #nothing() {
    if (Object.values(this.#filters).some(Boolean)) {
      return empty(
        'No message is like that',
        'A ticket’s reference and an address must be whole; status and period can be widened.',
        h('a', { class: 'button', href: address('messages') }, 'Show all messages'),
      );
    }
    return empty('No message yet', 'As soon as the sender accepts a request, it appears here by itself.');
  }

  #option(message, at) {
    const attributes = {
      role: 'option',
      id: `row-${message.message_id}`,
      'aria-selected': String(message.message_id === this.#open),
      onclick: () => this.#go(at),
    };
    const made = row('div', message, attributes);
    made.classList.toggle('active', at === this.#active);
    return made;
  }

  #go(at) {
    this.#active = at;
    const { recipient, ...query } = this.#filters;
    go(address('messages', this.list.items[at].message_id, query), recipient ? { recipient } : {});
  }

  #activate(at, reveal = true) {
    if (!this.list.items.length) return;
    this.list.row(this.#active)?.classList.remove('active');
    this.#active = Math.min(Math.max(at, 0), this.list.items.length - 1);
    if (reveal) this.list.reveal(this.#active);
    this.list.row(this.#active)?.classList.add('active'); // not drawn anew: it may be where a click is under way
    this.list.element.setAttribute('aria-activedescendant', `row-${this.list.items[this.#active].message_id}`);
  }

  #key(event) {
    const { page: rows, items } = this.list;
    const step = {
      ArrowDown: 1,
      ArrowUp: -1,
      j: 1,
      k: -1,
      PageDown: rows,
      PageUp: -rows,
      Home: -items.length,
      End: items.length,
    }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (step) this.#activate(this.#active + step);
    else if ((event.key === 'Enter' || event.key === ' ') && this.#active >= 0) this.#go(this.#active);
    else return;
    event.preventDefault();
  }

  #mark() {
    for (const link of this.issues.querySelectorAll('a.row')) {
      if (link.hash === address('messages', this.#open)) link.setAttribute('aria-current', 'true');
      else link.removeAttribute('aria-current');
    }
  }
}
