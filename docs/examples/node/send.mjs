/** Sends a message and waits until it is read. */

import { Tracepost } from './tracepost.mjs';

const tracepost = new Tracepost();
const sent = await tracepost.send({
  from: 'Support <support@tracepost.test>',
  to: process.argv.slice(2),
  subject: 'Hello',
  html: '<p>Hello</p>',
});
const message = await tracepost.waitFor(sent.message_id, ['read']);
console.log(message.shown_as);
await tracepost.close();
