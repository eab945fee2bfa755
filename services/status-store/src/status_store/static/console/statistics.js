/** Charts of a time: statuses, time to delivery, bounce classes, opens. */

import { get } from './api.js';
import { bars, columns } from './charts.js';
import { h, tile } from './dom.js';
import { empty, shown } from './notice.js';
import { address, go } from './router.js';
import { ISSUES } from './status.js';
import { duration, number, percent, sentence, spaced } from './words.js';

const PERIODS = { 1: ['24 hours', 'hour'], 7: ['7 days', 'day'], 30: ['30 days', 'day'] };
const GROUPS = [
  ['Delivery issue', 'tone-issue', ISSUES],
  ['Delayed', 'tone-delayed', ['deferred', 'unknown']],
  ['Sending', 'tone-sending', ['queued', 'cancelled']],
  ['Delivered', 'tone-delivered', ['delivered']],
  ['Read', 'tone-read', ['read']],
];
const SERIES = GROUPS.map(([name, tone]) => [name, tone]).reverse();
const OPENERS = {
  person: 'A person',
  proxied: 'A person, by a proxy',
  prefetched: 'A privacy proxy',
  bot: 'A program',
  unknown: 'Unknown',
};
const CLASSES = {
  hard: 'Hard: the address is dead',
  soft: 'Soft: given up',
  spam: 'Spam',
  undetermined: 'Not understood',
};

export function statistics({ query }) {
  const days = PERIODS[query.days] ? Number(query.days) : 7;
  const [, by] = PERIODS[days];
  const place = h('div', { class: 'charts' });
  const element = h(
    'section',
    { class: 'page' },
    h(
      'header',
      {},
      h('h1', {}, 'Statistics'),
      h(
        'div',
        { class: 'choice', role: 'group', 'aria-label': 'Period' },
        ...Object.entries(PERIODS).map(([value, [name]]) =>
          h(
            'button',
            {
              type: 'button',
              'aria-pressed': String(Number(value) === days),
              onclick: () => go(address('statistics', '', { days: value })),
            },
            name,
          ),
        ),
      ),
    ),
    place,
  );
  shown(place, () => load(days, by));
  return element;
}

async function load(days, by) {
  const to = new Date();
  const stats = await get('/v1/stats', { by, from: new Date(to - days * 864e5).toISOString(), to: to.toISOString() });
  const totals = GROUPS.map(([, , statuses]) => total(stats.buckets, statuses));
  const all = totals.reduce((sum, each) => sum + each, 0);
  if (!all) return empty('No message in this time', 'A longer period may have some.');
  const [issues, , , delivered, read] = totals;
  return h(
    'div',
    {},
    h(
      'dl',
      { class: 'tiles' },
      tile('Messages', number(all)),
      tile('Delivered', percent(delivered + read, all)),
      tile('Read', percent(read, all)),
      tile('Delivery issues', percent(issues, all), issues ? 'tone-issue' : ''),
      tile('Median time to delivery', duration(stats.time_to_delivery.p50)),
    ),
    h(
      'div',
      { class: 'figures' },
      over(stats, by),
      times(stats.time_to_delivery),
      bars(
        'Bounces by class',
        Object.entries(stats.bounce_classes).map(([name, value]) => [
          CLASSES[name] ?? sentence(spaced(name)),
          value,
          'tone-issue',
        ]),
      ),
      bars(
        'Opens by verdict',
        Object.entries(stats.opens).map(([name, value]) => [
          OPENERS[name] ?? name,
          value,
          ['person', 'proxied'].includes(name) ? 'tone-read' : 'tone-delivered',
        ]),
        'Only persons make a message Read.',
      ),
    ),
  );
}

const total = (buckets, statuses) =>
  buckets.reduce((sum, { counts }) => sum + statuses.reduce((part, status) => part + (counts[status] ?? 0), 0), 0);

function over({ buckets, from, to }, by) {
  const short = new Intl.DateTimeFormat(
    undefined,
    by === 'hour' ? { hour: '2-digit', minute: '2-digit' } : { day: 'numeric', month: 'short', timeZone: 'UTC' },
  );
  const full = new Intl.DateTimeFormat(
    undefined,
    by === 'hour' ? { dateStyle: 'medium', timeStyle: 'short' } : { dateStyle: 'full', timeZone: 'UTC' },
  );
  const drawn = whole(buckets, from, to, by === 'hour' ? 36e5 : 864e5).map(({ time, counts }) => ({
    label: short.format(time),
    title: full.format(time),
    values: GROUPS.map(([, , statuses]) => total([{ counts }], statuses)).reverse(),
  }));
  return columns('Statuses over time', SERIES, drawn, `By the time of sending, by ${by}.`);
}

/** With the hours or days that had no message. */
function whole(buckets, from, to, step) {
  const known = new Map(buckets.map(({ time, counts }) => [Date.parse(time), counts]));
  const times = [];
  for (let time = Date.parse(from); time < Date.parse(to); time += step) times.push(time);
  return times.map((time) => ({ time: new Date(time), counts: known.get(time) ?? {} }));
}

function times({ p50, p95, p99, buckets }) {
  const drawn = buckets.map(({ at_most: bound, count }) => ({
    label: bound === null ? 'more' : `≤ ${duration(bound)}`,
    values: [count],
  }));
  return columns(
    'Time to delivery',
    [['Deliveries', 'tone-delivered']],
    drawn,
    p50 === null
      ? 'None was delivered in this time.'
      : `Half within ${duration(p50)}, 95 of 100 within ${duration(p95)}, 99 within ${duration(p99)}.`,
  );
}
