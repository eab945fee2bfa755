/** Publishes send requests to Tracepost, confirmed and answered, and follows what becomes of them. */

import { setTimeout as sleep } from 'node:timers/promises';

import amqp from 'amqplib';
import { v7 as uuidv7 } from 'uuid';

const PIXEL = /\/o\/[A-Za-z0-9_-]{42}\.gif(?![\w.-])/;
const REPLIES = 'amq.rabbitmq.reply-to'; // the broker's own way back: no queue, and no right to declare one

/** The request can never be taken: `problem.errors` names every fault by JSON Pointer, with its remedy. */
export class Refused extends Error {
  constructor(problem) {
    const faults = (problem.errors ?? []).map(({ pointer, detail }) => `${pointer || 'the request'} ${detail}`);
    super([problem.title, problem.detail, ...faults].filter(Boolean).join('; '));
    this.problem = problem;
  }
}

export class Tracepost {
  #amqpUrl;
  #apiUrl;
  #apiKey;
  #channel = null;
  #waiting = new Map();

  constructor({
    amqpUrl = process.env.TRACEPOST_AMQP_URL,
    apiUrl = process.env.TRACEPOST_API_URL ?? 'http://127.0.0.1:8104',
    apiKey = process.env.TRACEPOST_API_KEY,
  } = {}) {
    this.#amqpUrl = amqpUrl;
    this.#apiUrl = apiUrl.replace(/\/(v1\/?)?$/, '');
    this.#apiKey = apiKey;
  }

  /**
   * The sender's word on a request: { message_id, rfc_message_id }, or Refused. Whatever is lost on the way is
   * published again with the same message_id until `within` milliseconds have passed: it is sent once.
   */
  async send(request, { lane = 'normal', within = 15_000 } = {}) {
    const told = { message_id: uuidv7(), ...request };
    const end = Date.now() + within;
    for (;;) {
      try {
        return await this.#ask(told, lane, Math.min(5_000, end - Date.now()));
      } catch (error) {
        if (error instanceof Refused) throw error;
        if (Date.now() + 500 >= end) {
          throw new Error(`${error.message}; send it again with message_id ${told.message_id}`, { cause: error });
        }
        await sleep(500);
      }
    }
  }

  /** Where a message stands, with every delivery. */
  async status(id, options) {
    return this.#get(`messages/${id}`, options);
  }

  /** The message as soon as it has one of the statuses; rejects when `within` milliseconds have passed. */
  async waitFor(id, statuses, { within = 60_000 } = {}) {
    const signal = AbortSignal.timeout(within);
    const { cursor } = await this.#get('changes?limit=1', { signal });
    const known = await this.status(id, { signal }).catch((error) => {
      if (error.problem?.status !== 404) throw error; // not known yet
    });
    if (statuses.includes(known?.status)) return known;
    for await (const change of this.changes(cursor, { signal })) {
      if (change.message_id === id && statuses.includes(change.status)) return this.status(id, { signal });
    }
  }

  /** Every change after a cursor, for ever: keep the cursor of what you have worked through. */
  async *changes(cursor, { signal } = {}) {
    for (;;) {
      const page = await this.#get(`changes?cursor=${encodeURIComponent(cursor)}&wait=30`, { signal });
      yield* page.changes;
      cursor = page.cursor;
    }
  }

  async close() {
    await this.#channel?.then((channel) => channel.connection.close(), () => {});
  }

  async #ask(told, lane, within) {
    const channel = await this.#open();
    const correlationId = uuidv7();
    const answer = new Promise((resolve, reject) => {
      this.#waiting.set(correlationId, { resolve, reject });
      setTimeout(() => reject(new Error('no sender has answered yet')), within).unref();
    });
    answer.catch(() => {}); // it may be lost before it is waited for
    try {
      const options = { persistent: true, mandatory: true, contentType: 'application/json', correlationId };
      Object.assign(options, { replyTo: REPLIES, userId: decodeURIComponent(new URL(this.#amqpUrl).username) });
      channel.publish('tracepost.requests', `send.${lane}`, Buffer.from(JSON.stringify(told)), options);
      await channel.waitForConfirms();
      const found = await answer;
      if (!('rfc_message_id' in found)) throw new Refused(found);
      return found;
    } finally {
      this.#waiting.delete(correlationId);
    }
  }

  /** An open channel; a lost one is replaced, and whoever waits on it is told. */
  #open() {
    this.#channel ??= this.#connect().catch((error) => {
      this.#channel = null;
      throw error;
    });
    return this.#channel;
  }

  async #connect() {
    const connection = await amqp.connect(this.#amqpUrl, { timeout: 10_000, heartbeat: 15 });
    const lost = (error) => {
      this.#channel = null;
      for (const { reject } of this.#waiting.values()) reject(error ?? new Error('the connection was closed'));
    };
    connection.on('error', lost).on('close', lost);
    const channel = await connection.createConfirmChannel();
    channel.on('error', lost);
    channel.on('return', ({ properties }) => {
      const detail = 'no queue takes requests: run `tracepost topology apply`';
      this.#waiting.get(properties.correlationId)?.reject(new Error(detail));
    });
    const take = ({ content, properties }) =>
      this.#waiting.get(properties.correlationId)?.resolve(JSON.parse(content.toString()));
    await channel.consume(REPLIES, (message) => message && take(message), { noAck: true });
    return channel;
  }

  async #get(path, { signal } = {}) {
    const headers = this.#apiKey ? { Authorization: `Bearer ${this.#apiKey}` } : {};
    const response = await fetch(`${this.#apiUrl}/v1/${path}`, { headers, signal });
    if (!response.ok) throw new Refused(await response.json());
    return response.json();
  }
}

/** The HTML without our pixels, for the copy of a sent mail that you keep or quote: loaded there, they tell of you. */
export function stripPixels(html) {
  return html.replace(/<img\b[^<>]*>/gi, (image) => (PIXEL.test(image) ? '' : image));
}
