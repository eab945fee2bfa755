/** Assembles the console: signs in, draws the frame, shows the page that the address names. */

import { get } from './api.js';
import { deadLetters } from './deadletters.js';
import { h, put } from './dom.js';
import { Inbox } from './inbox.js';
import { follow } from './live.js';
import { fault } from './notice.js';
import { queue } from './queue.js';
import { quarantine } from './quarantine.js';
import { configure, configured } from './remote.js';
import { address, here, routed } from './router.js';
import { current, leave, may, signIn } from './session.js';
import { statistics } from './statistics.js';
import { suppressions } from './suppressions.js';
import { Ticket } from './ticket.js';

const PAGES = { statistics, suppressions, queue, quarantine, 'dead-letters': deadLetters };

async function start() {
  const place = put(document.body, h('main', { class: 'alone' })).firstChild;
  let session;
  try {
    session = await current();
  } catch (problem) {
    put(place, fault(problem, start));
    return;
  }
  session ??= await signIn(place);
  const { sender_url: sender, bounce_ingest_url: quarantined } = await get('/console.json');
  configure({ sender, 'bounce-ingest': quarantined });
  frame(session);
}

function frame(session) {
  const main = h('main', {});
  const live = h('span', { class: 'live', role: 'status' });
  const links = navigation(session);
  put(document.body, skip(main), bar(links, live, session), main);
  const inbox = new Inbox();
  const ticket = new Ticket(() => inbox.seen());
  const desk = h('div', { class: 'desk' }, inbox.element, ticket.element);
  const show = () => {
    const at = here();
    tell(links, at.page);
    if (PAGES[at.page]) {
      put(main, PAGES[at.page](at));
      return;
    }
    if (!desk.isConnected) put(main, desk);
    desk.classList.toggle('reading', Boolean(at.id));
    const filters = { ...at.query, ...(at.state.recipient ? { recipient: at.state.recipient } : {}) };
    inbox.show(filters, at.id);
    ticket.show(at.id, at.query);
  };
  routed(show);
  show();
  follow(
    (change) => {
      inbox.changed(change);
      ticket.changed(change);
    },
    (is) => put(live, h('span', { class: is ? 'on' : 'off' }, is ? 'Live' : 'Reconnecting…')),
    () => {
      inbox.load();
      ticket.again();
    },
  );
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || event.target.closest('dialog, input, :popover-open') || !here().id) return;
    location.hash = address('messages', '', here().query);
    inbox.focus();
  });
}

function skip(main) {
  const pass = (event) => {
    event.preventDefault();
    main.querySelector('[tabindex], a, input')?.focus();
  };
  return h('a', { class: 'skip', href: '#main', onclick: pass }, 'Skip to the content');
}

function bar(links, live, session) {
  return h(
    'header',
    { class: 'bar' },
    h('a', { class: 'brand', href: address('messages') }, 'Tracepost'),
    h('nav', { 'aria-label': 'Pages' }, ...links),
    live,
    who(session),
  );
}

/** In the navigation, and in the window's title, which page is shown. */
function tell(links, page) {
  for (const link of links) {
    if (link.dataset.page === page) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  document.title = `${links.find((link) => link.dataset.page === page)?.textContent ?? 'Messages'} · Tracepost`;
}

function navigation(session) {
  const operates = may(session, 'operate');
  const pages = [
    ['messages', 'Messages', true],
    ['statistics', 'Statistics', true],
    ['suppressions', 'Suppressions', configured('sender')],
    ['queue', 'Queue', configured('sender')],
    ['quarantine', 'Quarantine', configured('bounce-ingest')],
    ['dead-letters', 'Dead letters', operates],
  ];
  return pages.filter(([, , is]) => is).map(([page, name]) => h('a', { href: address(page), 'data-page': page }, name));
}

function who({ client }) {
  if (client === 'local')
    return h('span', { class: 'who', title: 'No keys are set: everybody on this machine may look' }, 'local');
  const out = async () => {
    await leave();
    location.reload();
  };
  return h(
    'span',
    { class: 'who' },
    h('span', {}, client),
    h('button', { type: 'button', class: 'link', onclick: out }, 'Sign out'),
  );
}

window.addEventListener('signed-out', () => location.reload(), { once: true });
start();
