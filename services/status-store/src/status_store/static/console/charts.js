/** Charts in SVG of our own: stacked columns, a histogram, bars; each with its figures as a table. */

import { h, svg, table } from './dom.js';
import { number } from './words.js';

const WIDTH = 480; // about as wide as it is shown, so that type keeps its size
const HEIGHT = 165;
const NAMES = 165;
const LONGEST = WIDTH - NAMES - 55;
const WIDEST = 64; // of a column
const EDGE = { left: 40, bottom: 22, top: 8 };

/** `series` are [name, class]; `columns` are {label, values, title}, a value for each of the series. */
export function columns(title, series, bars, note = '') {
  const most = ceiling(Math.max(1, ...bars.map(({ values }) => sum(values))));
  const room = (WIDTH - EDGE.left) / Math.max(1, bars.length);
  const wide = Math.min(room * 0.76, WIDEST);
  const high = (value) => ((HEIGHT - EDGE.bottom - EDGE.top) * value) / most;
  const drawn = bars.map(({ label, values, title: full }, at) => {
    let top = HEIGHT - EDGE.bottom;
    const parts = values.map((value, which) => {
      top -= high(value);
      return (
        value > 0 &&
        svg('rect', {
          class: series[which][1],
          x: EDGE.left + (at + 0.5) * room - wide / 2,
          y: top,
          width: wide,
          height: high(value),
          rx: 1.5,
        })
      );
    });
    return svg('g', {}, svg('title', {}, `${full ?? label}: ${said(series, values)}`), ...parts);
  });
  return figure(title, note, series, [...grid(most, high), ...drawn, ...labels(bars, room)], {
    head: ['', ...series.map(([name]) => name)],
    rows: bars.map(({ label, title: full, values }) => [full ?? label, ...values.map(number)]),
  });
}

/** Horizontal bars, the longest first: `entries` are [name, value, class]. */
export function bars(title, entries, note = '') {
  const sorted = entries.filter(([, value]) => value).sort(([, a], [, b]) => b - a);
  const most = Math.max(1, ...sorted.map(([, value]) => value));
  const drawn = sorted.flatMap(([name, value, tone = 'tone-plain'], at) => [
    svg('text', { x: 0, y: at * 30 + 19, class: 'name' }, name),
    svg('rect', {
      class: tone,
      x: NAMES,
      y: at * 30 + 6,
      width: Math.max(2, (LONGEST * value) / most),
      height: 18,
      rx: 2,
    }),
    svg('text', { x: NAMES + 8 + (LONGEST * value) / most, y: at * 30 + 19, class: 'value' }, number(value)),
  ]);
  const figures = { head: ['', 'Number'], rows: sorted.map(([name, value]) => [name, number(value)]) };
  return figure(title, sorted.length ? note : 'None in this time.', [], drawn, figures, sorted.length * 30 || 1);
}

function figure(title, note, series, drawn, figures, height = HEIGHT) {
  const picture = svg(
    'svg',
    { viewBox: `0 0 ${WIDTH} ${height}`, role: 'img', 'aria-label': `${title}; the figures are in the table below` },
    ...drawn,
  );
  return h(
    'figure',
    { class: 'chart' },
    h('figcaption', {}, h('h2', {}, title), note && h('p', { class: 'quiet' }, note)),
    series.length > 1 && h('ul', { class: 'legend' }, ...series.map(([name, tone]) => h('li', { class: tone }, name))),
    drawn.length ? picture : null,
    figures.rows.length ? h('details', {}, h('summary', {}, 'As a table'), table(figures.head, figures.rows)) : null,
  );
}

function grid(most, high) {
  return [0, most / 2, most].flatMap((value) => {
    const y = HEIGHT - EDGE.bottom - high(value);
    return [
      svg('line', { x1: EDGE.left, x2: WIDTH, y1: y, y2: y }),
      svg('text', { x: EDGE.left - 6, y: y + 4, class: 'axis end' }, short(value)),
    ];
  });
}

function labels(bars, room) {
  const step = Math.ceil(48 / room);
  return bars.map(
    ({ label }, at) =>
      at % step === 0 && svg('text', { x: EDGE.left + (at + 0.5) * room, y: HEIGHT - 6, class: 'axis middle' }, label),
  );
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const said = (series, values) =>
  series
    .map(([name], at) => values[at] && `${number(values[at])} ${name}`)
    .filter(Boolean)
    .join(', ') || 'none';
const short = (value) => new Intl.NumberFormat(undefined, { notation: 'compact' }).format(value);

/** The least 1, 2 or 5 times a power of ten, by two, that holds the value. */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((times) => Math.max(2, times * power)).find((each) => each >= value);
}
