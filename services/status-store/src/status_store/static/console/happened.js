/** An event in words: what happened, the remote side's own words, and further particulars. */

import { duration, sentence, spaced } from './words.js';

const OPENERS = {
  person: 'a person',
  proxied: 'a person, through the mail provider’s image proxy',
  prefetched: 'a privacy proxy, which says nothing of the person',
  bot: 'a program',
  unknown: 'an unknown client',
};

export const nameOf = (event) => event.type.split('.')[1];

/** The sentence of a CloudEvent. */
export function happened(event) {
  const { data } = event;
  switch (nameOf(event)) {
    case 'accepted':
      return 'Accepted for sending';
    case 'rejected':
      return `Not tried: the address is suppressed (${spaced(data.reason)})`;
    case 'deferred':
      return deferred(data);
    case 'delivered':
      return data.origin === 'smtp' ? 'Taken by the receiving server' : `Reported as delivered (${data.origin})`;
    case 'bounced':
      return bounced(data);
    case 'complained':
      return data.feedback_type === 'not-spam'
        ? 'Reported as no spam'
        : `Reported as ${spaced(data.feedback_type)} by the recipient’s provider`;
    case 'opened':
      return `Opened by ${OPENERS[data.verdict] ?? data.verdict}`;
    case 'replied':
      return 'Answered by the recipient';
    case 'cancelled':
      return `Cancelled by ${data.by}${data.reason ? `: ${data.reason}` : ''}`;
    case 'withdrawn':
      return 'Open tracking withdrawn';
    case 'erased':
      return 'Personal data erased';
    default:
      return sentence(nameOf(event));
  }
}

function deferred(data) {
  if (data.outcome_unknown)
    return `Connection lost after the last byte: it may have arrived${data.parked ? ' (parked)' : ''}`;
  return `Not taken yet: ${spaced(data.category)}`;
}

function bounced(data) {
  const how = { smtp: 'Refused', dsn: 'Returned', api: 'Given up' }[data.origin] ?? 'Refused';
  return `${how}: ${spaced(data.category)}${data.forwarded_to ? ' (at an address that it was forwarded to)' : ''}`;
}

export const words = ({ data }) => data.diagnostic || data.response || '';

export function particulars({ data }) {
  return [
    data.attempt && `attempt ${data.attempt}`,
    data.remote_mta,
    data.tls && (data.tls === true ? 'TLS' : data.tls),
    data.duration !== undefined && data.duration !== null && `took ${duration(data.duration)}`,
    data.rule && `rule ${data.rule}`,
    data.client,
    data.next_attempt_at && 'tried again later',
  ].filter((each) => typeof each === 'string' && each);
}
