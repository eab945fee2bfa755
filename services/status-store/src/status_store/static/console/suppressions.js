/** Whom not to write to, and why: asked of the sender by the browser itself. */

import { h, table } from './dom.js';
import { ask, empty, say, sayFault, shown } from './notice.js';
import { call } from './remote.js';
import { exactly, sentence, spaced } from './words.js';

export function suppressions({ state }) {
  const place = h('div', {});
  const field = h('input', {
    type: 'email',
    name: 'address',
    'aria-label': 'Address',
    placeholder: 'Address',
    required: true,
    autocomplete: 'off',
    value: state.recipient ?? '',
  });
  const look = (address = field.value) => {
    field.value = address;
    shown(place, () => (address ? found(address, look) : listed(look)));
  };
  const form = h(
    'form',
    {
      class: 'search',
      role: 'search',
      onsubmit: (event) => {
        event.preventDefault();
        look();
      },
    },
    field,
    h('button', { type: 'submit', class: 'button' }, 'Look up'),
  );
  look();
  return h(
    'section',
    { class: 'page' },
    h('header', {}, h('h1', {}, 'Suppressions')),
    h('p', { class: 'quiet' }, 'Addresses that are not written to: they returned mail, complained or opted out.'),
    form,
    place,
  );
}

async function found(address, again) {
  const told = await call('sender', '/v1/suppressions/search', { body: { address } });
  const { suppressions: held, former, history } = told;
  return h(
    'div',
    {},
    held.length
      ? h('p', { class: 'status tone-issue' }, `${address} is not written to`)
      : h('p', { class: 'status tone-read' }, `${address} is written to`),
    h(
      'div',
      { class: 'actions start' },
      held.length
        ? h(
            'button',
            { type: 'button', class: 'button', onclick: () => lift(address, held, again) },
            'Write to it again',
          )
        : h('button', { type: 'button', class: 'button', onclick: () => add(address, again) }, 'Write to it no more'),
    ),
    entries('Holds now', held),
    entries('Held before', former),
    past(history),
  );
}

function entries(title, found) {
  return found.length
    ? h(
        'section',
        { class: 'card' },
        h('div', { class: 'sent' }, h('h2', {}, title), h('ul', {}, ...found.map((each) => h('li', {}, line(each))))),
      )
    : null;
}

function line({ reason, app, since, until, lifted_at: lifted, lifted_by: by, evidence }) {
  const told = [
    sentence(spaced(reason)),
    app ? `for ${app}` : 'for all apps',
    `since ${exactly(since)}`,
    until && `until ${exactly(until)}`,
    lifted && `lifted ${exactly(lifted)} by ${by}`,
    evidence?.why,
  ];
  return told.filter(Boolean).join(' · ');
}

function past(history) {
  if (!history.length)
    return empty(
      'Nothing is held against it',
      'No bounce, complaint, opt-out or decision about this address is known.',
    );
  return h(
    'details',
    { open: true },
    h('summary', {}, 'Evidence'),
    h(
      'ol',
      { class: 'timeline' },
      ...history.map((each) =>
        h(
          'li',
          {},
          h('p', { class: 'what' }, sentence(spaced(each.kind)), each.reason && ` (${spaced(each.reason)})`),
          h('time', { datetime: each.at }, exactly(each.at)),
          each.words && h('blockquote', { dir: 'auto' }, each.words),
          h('p', { class: 'quiet' }, [each.by && `by ${each.by}`, each.why].filter(Boolean).join(': ')),
        ),
      ),
    ),
  );
}

async function listed(look) {
  const { suppressions: held } = await call('sender', '/v1/suppressions/list', { body: { limit: 100 } });
  if (!held.length) return empty('Nobody is suppressed', 'Mail goes to every address.');
  return table(
    ['Address', 'Reason', 'App', 'Since', 'Until'],
    held.map((each) => [
      each.address ? looking(each.address, look) : 'erased',
      sentence(spaced(each.reason)),
      each.app ?? 'all',
      exactly(each.since),
      each.until ? exactly(each.until) : 'for ever',
    ]),
  );
}

const looking = (address, look) =>
  h('button', { type: 'button', class: 'link', dir: 'auto', onclick: () => look(address) }, address);

async function lift(address, held, again) {
  const app = held.every((each) => each.app) ? held[0].app : undefined;
  await change('Write to it again?', address, 'Write again', '/v1/suppressions/lift', { app }, again);
}

const add = (address, again) => change('Write to it no more?', address, 'Suppress', '/v1/suppressions', {}, again);

async function change(title, address, action, path, more, again) {
  const given = await ask(title, address, action, [
    ['why', 'Why (kept with your name)', { required: true, maxlength: 1000 }],
  ]);
  if (!given) return;
  try {
    await call('sender', path, { body: { address, why: given.why, ...more } });
    say('Done.');
    again();
  } catch (problem) {
    sayFault(problem);
  }
}
