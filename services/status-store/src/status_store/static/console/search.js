/** What the search field and the selects beside it ask for; pure but for the form. */

import { h } from './dom.js';
import { NAMES, STATUSES, isIssue } from './status.js';

const WORDS = { tag: 'tag', from: 'sender', app: 'app', since: 'from', until: 'to', ref: 'reference' };
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const PERIODS = [
  ['', 'Any time'],
  ['1', 'Last 24 hours'],
  ['7', 'Last 7 days'],
  ['30', 'Last 30 days'],
];

/** `tag:refund ann@example.org` → {tag, recipient}; {id} for a message's id; other words are a reference. */
export function understood(text) {
  const found = {};
  const rest = [];
  for (const word of text.trim().split(/\s+/).filter(Boolean)) {
    const [, name, value] = word.match(/^(\w+):(.+)$/) ?? [];
    if (WORDS[name]) found[WORDS[name]] = value;
    else if (UUID.test(word)) found.id = word;
    else if (word.includes('@')) found.recipient = word;
    else rest.push(word);
  }
  if (rest.length) found.reference = rest.join(' ');
  return found;
}

/** The text that is understood so. */
export function written({ recipient, reference, ...others }) {
  const words = Object.entries(WORDS)
    .filter(([, name]) => others[name])
    .map(([word, name]) => `${word}:${others[name]}`);
  return [recipient, reference, ...words].filter(Boolean).join(' ');
}

/** The API's filters; a period is counted from now, dates are whole days here. */
export function asked({ status, days, from, to, ...others }, now = Date.now()) {
  const unseen = status === 'unseen';
  const start = days ? new Date(now - days * 864e5) : from && new Date(`${from}T00:00`);
  const end = to && new Date(`${to}T24:00`);
  const time = (date) => (date && !Number.isNaN(date.valueOf()) ? date.toISOString() : undefined);
  return {
    ...others,
    status: unseen ? 'issues' : status,
    unseen: unseen || undefined,
    from: time(start),
    to: time(end),
  };
}

export function form(search) {
  const text = h('input', {
    type: 'search',
    name: 'text',
    'aria-label': 'Search',
    placeholder: 'Ticket, address, tag:… from:… or message id',
    autocomplete: 'off',
    spellcheck: 'false',
    'aria-keyshortcuts': '/',
  });
  const [status, days] = [statuses(), periods()];
  const submit = (event) => {
    event?.preventDefault();
    search({ ...understood(text.value), status: status.value, days: days.value });
  };
  const element = h(
    'form',
    { class: 'search', role: 'search', onsubmit: submit },
    text,
    h('div', { class: 'selects' }, status, days),
  );
  for (const select of [status, days]) select.addEventListener('change', () => submit());
  text.addEventListener('input', () => text.value === '' && submit());
  document.addEventListener('keydown', (event) => {
    if (event.key !== '/' || event.target.closest('input, textarea, select, dialog')) return;
    event.preventDefault();
    text.select();
  });
  const show = (filters) => {
    text.value = written(filters);
    status.value = filters.status ?? '';
    days.value = filters.days ?? '';
  };
  return { element, show };
}

function statuses() {
  const issues = STATUSES.filter(isIssue).map((each) => [each, each === 'failed' ? 'Other cause' : NAMES[each]]);
  const others = STATUSES.filter((each) => !isIssue(each)).map((each) => [each, NAMES[each]]);
  return h(
    'select',
    { name: 'status', 'aria-label': 'Status' },
    ...options([['', 'All statuses']]),
    h(
      'optgroup',
      { label: 'Delivery issues' },
      ...options([['unseen', 'Not yet seen'], ['issues', 'All delivery issues'], ...issues]),
    ),
    h('optgroup', { label: 'Others' }, ...options(others)),
  );
}

const periods = () => h('select', { name: 'days', 'aria-label': 'Period' }, ...options(PERIODS));
const options = (entries) => entries.map(([value, name]) => h('option', { value }, name));
