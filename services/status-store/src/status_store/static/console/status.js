/** How a status looks: the badge's own icon, tone and words. */

import { ISSUES, LOOKS, icon } from '/badge.js';
import { h } from './dom.js';

export { ISSUES };
export const STATUSES = [
  'queued',
  'deferred',
  'unknown',
  'delivered',
  'read',
  'cancelled',
  'failed',
  'spam',
  'hard_bounce',
  'rejected',
];
export const NAMES = {
  queued: 'Sending',
  deferred: 'Sending (delayed)',
  unknown: 'Outcome unknown',
  delivered: 'Delivered',
  read: 'Read',
  cancelled: 'Cancelled',
  failed: 'Delivery issue',
  spam: 'Spam',
  hard_bounce: 'Hard bounce',
  rejected: 'Rejected',
};

export const isIssue = (status) => ISSUES.includes(status);
export const tone = (status) => `tone-${(LOOKS[status] ?? LOOKS.queued)[0]}`;

/** Icon and words in the status's colour. */
export function told(status, words) {
  const [, strokes] = LOOKS[status] ?? LOOKS.queued;
  return h('span', { class: `status ${tone(status)}` }, icon(strokes), h('span', {}, words));
}
