/** A message as a row of a list. */

import { h } from './dom.js';
import { told, tone } from './status.js';
import { exactly, plural, shortly, timeOf } from './words.js';

export const HEIGHT = 58;

/** `attributes` make it an option or a link. */
export function row(tag, message, attributes) {
  const time = timeOf(message.message_id);
  return h(
    tag,
    { ...attributes, class: `row ${tone(message.status)}` },
    h(
      'span',
      { class: 'line' },
      h('span', { class: 'subject', dir: 'auto' }, message.subject || '(no subject)'),
      h('time', { datetime: time.toISOString(), title: exactly(time) }, shortly(time)),
    ),
    h(
      'span',
      { class: 'line' },
      told(message.status, message.shown_as),
      h('span', { class: 'about', dir: 'auto' }, about(message)),
    ),
  );
}

function about({ reference, recipient_count: count }) {
  return [reference, count > 1 && plural(count, 'recipient')].filter(Boolean).join(' · ');
}
