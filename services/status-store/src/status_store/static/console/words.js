/** Times, numbers and names in words. */

const DAY = 864e5;
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const year = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const count = new Intl.NumberFormat();
const share = new Intl.NumberFormat(undefined, { style: 'percent', maximumFractionDigits: 1 });

/** The time in a UUIDv7. */
export const timeOf = (id) => new Date(parseInt(id.replaceAll('-', '').slice(0, 12), 16));

/** As short as it can be told today. */
export function shortly(time, now = new Date()) {
  if (time.toDateString() === now.toDateString()) return clock.format(time);
  return (now - time < 300 * DAY ? day : year).format(time);
}

export const exactly = (time) => exact.format(new Date(time));
export const number = (value) => count.format(value);
export const percent = (part, whole) => (whole ? share.format(part / whole) : '–');
export const plural = (many, one, more = `${one}s`) => `${number(many)} ${many === 1 ? one : more}`;
export const spaced = (name) => name.replaceAll('_', ' ');
export const sentence = (text) => text && text[0].toUpperCase() + text.slice(1);

/** Seconds as a person says them. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 90) return `${Number(seconds.toPrecision(2))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 129600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}
