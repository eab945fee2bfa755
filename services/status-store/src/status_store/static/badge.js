/* What became of a message, in any page: <script type="module" src="https://status.example/badge.js"></script>
   <tracepost-status message="its id" token="a view token"></tracepost-status>
   Further attributes: base (where status-store is), locale, dir, live="off" (only at the start and on refresh()).
   Events: tracepost-status (a change), tracepost-expired (give it a new token). TracepostStatus.texts may be changed.
   It follows the page's color-scheme and --tracepost-font; its parts are `button` and `panel`. */

export const ISSUES = ['failed', 'spam', 'hard_bounce', 'rejected'];
const MOST_STREAMS = 2; // of a page: over HTTP/1.1 all tabs share six connections
const QUIET_MS = 10_000; // a proxy holds back a stream that says nothing for so long
const POLL_MS = [5_000, 60_000];
const RING = 'M8 2.2a5.8 5.8 0 1 0 0 11.6a5.8 5.8 0 1 0 0-11.6';

// By status: the tone, and the strokes of the icon.
export const LOOKS = {
  queued: ['sending', 'M8 12.6V3.8M4.4 7.4 8 3.8l3.6 3.6'],
  deferred: ['delayed', `${RING}M8 5v3.2l2 1.4`],
  unknown: ['delayed', `${RING}M6.3 6.5a1.7 1.7 0 1 1 2.5 1.5q-.8.4-.8 1.2M8 11.2v.1`],
  delivered: ['delivered', 'M3 8.6l3.2 3.2L13 4.9'],
  read: ['read', 'M1.4 8.6l3 3 6-6.6M7.2 11.2l.5.4L14.6 5'],
  cancelled: ['sending', `${RING}M4 4l8 8`],
};
for (const status of ISSUES) LOOKS[status] = ['issue', 'M8 2.2 14.4 13.4H1.6zM8 6.4v3.2M8 11.4v.1'];

// Causes that are told in the same words.
const ALIKE = {
  invalid_recipient: 'moved', bad_domain: 'null_mx', mailbox_full: 'quota',
  spam_content: 'content virus attachment', system: 'network dns_temporary overloaded greylisted rate',
  ours: 'ip_reputation listed no_ptr auth policy sender_refused relay_denied tls_required protocol',
};

// By language; `+` before a status, cause or note: what the panel tells. The API has English words for causes and notes.
const TEXTS = {
  en: texts(`queued: Sending
deferred: Sending (delayed)
unknown: Sent, outcome unknown
delivered: Delivered
read: Read
cancelled: Cancelled
failed: Delivery issue
spam: Delivery issue: spam
hard_bounce: Delivery issue: hard bounce
rejected: Delivery issue: rejected
readBy: Read by {0} of {1}
loading: Loading…
away: Status unavailable
expired: This view has expired. Reload the page.
said: The server said
failedAt: Failed
+queued: On its way to the server.
+deferred: Not taken yet; it is tried again.
+unknown: The connection was lost at the end: it may have arrived.`),
  de: texts(`queued: Wird gesendet
deferred: Wird gesendet (verzögert)
unknown: Gesendet, Ausgang unbekannt
delivered: Zugestellt
read: Gelesen
cancelled: Abgebrochen
failed: Zustellproblem
spam: Zustellproblem: Spam
hard_bounce: Zustellproblem: unzustellbar
rejected: Zustellproblem: nicht versucht
readBy: Gelesen von {0} von {1}
loading: Wird geladen…
away: Status nicht verfügbar
expired: Abgelaufen. Bitte die Seite neu laden.
said: Der Server sagte
failedAt: Gescheitert
+queued: Unterwegs zum Server.
+deferred: Noch nicht angenommen; es folgt ein neuer Versuch.
+unknown: Die Verbindung riss ab: vielleicht kam sie an.
+suppressed: Nicht versucht: frühere Mail schlug fehl oder ist unerwünscht.
+invalid_recipient: Diese Adresse gibt es nicht.
+bad_domain: Diese Domain gibt es nicht, oder sie nimmt keine Mail an.
+mailbox_full: Das Postfach ist voll.
+mailbox_disabled: Das Postfach ist gesperrt.
+too_large: Die Nachricht ist zu groß für dieses Postfach.
+spam_content: Der Server hielt den Inhalt für Spam.
+spam_block: Der Empfänger blockiert unsere Mail.
+complaint: Der Empfänger hat sie als Spam gemeldet.
+ours: Der Server lehnt Mail von uns ab; die Adresse kann stimmen.
+system: Der Server ist gestört oder nicht erreichbar.
+expired: Sie ließ sich nicht rechtzeitig zustellen.
+processing: Der Server verarbeitet sie vielleicht noch.
+returned_later: Zugestellt, nach {0} zurückgekommen.
+tracking_off: Lesen wird nicht verfolgt.
+prefetched: Von einem Datenschutz-Proxy geöffnet.
+cancelled_late: Zu spät abgebrochen.
+taken_back: Als Spam gemeldet, dann zurückgenommen.
+forwarded: An einer Weiterleitungsadresse abgewiesen.`),
};

const STYLE = new CSSStyleSheet();
STYLE.replaceSync(`
:host { display: inline-block; max-width: 100%; }
button, .panel { font: 500 .8125rem/1.4 var(--tracepost-font, system-ui, sans-serif); text-align: start; }
.sending { --tone: light-dark(#56616b, #a9b4bf); }
.delivered { --tone: light-dark(#34566f, #9cc0dc); }
.read { --tone: light-dark(#0a6e63, #57d0bb); }
.delayed { --tone: light-dark(#7d5200, #e6b450); }
.issue { --tone: light-dark(#ab2018, #ff958b); }
button, h2 { display: flex; gap: .35em; align-items: center; color: var(--tone); }
button { --tint: 9%; padding: .2em .7em .2em .5em; border: 0; border-radius: 1em; cursor: pointer;
  background: color-mix(in srgb, var(--tone) var(--tint), transparent); }
button:hover { --tint: 16%; }
:focus-visible { outline: 2px solid var(--tone, currentColor); outline-offset: 2px; }
svg { flex: none; width: 1.15em; fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linecap: round; }
.panel { position: fixed; inset: auto; margin: 0; box-sizing: border-box; width: min(22rem, 100vw - 1rem);
  max-height: min(28rem, 100vh - 1rem); overflow: auto; padding: .9rem 1rem; border: 1px solid light-dark(#d5dbe0, #3a434c);
  border-radius: .6rem; font-weight: 400; box-shadow: 0 8px 28px rgb(0 0 0 / .18);
  background: light-dark(#fff, #1c2227); color: light-dark(#1d252c, #e4e9ee); }
section + section { margin-top: .8rem; padding-top: .8rem; border-top: inherit; }
h2 { margin: 0; font-size: inherit; font-weight: 600; }
p, blockquote { margin: .3rem 0 0; overflow-wrap: anywhere; }
.note::first-letter { text-transform: uppercase; }
.quiet { color: light-dark(#56616b, #a9b4bf); }
blockquote { padding-inline-start: .6rem; border-inline-start: 2px solid var(--tone); font: .75rem/1.45 ui-monospace, monospace; }
.told { position: absolute; width: 1px; overflow: hidden; clip-path: inset(50%); }`);

let streams = 0;

export class TracepostStatus extends HTMLElement {
  static texts = TEXTS;
  static observedAttributes = ['message', 'token', 'base', 'locale', 'live'];
  #state = null;
  #fault = 'loading';
  #work = new AbortController();
  #life;
  #button = make('button');
  #panel = make('div', 'panel');
  #told = make('span', 'told');

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    root.adoptedStyleSheets = [STYLE];
    Object.assign(this.#panel, { part: 'panel', popover: 'auto', role: 'group', tabIndex: 0, ontoggle: () => this.#place() });
    Object.assign(this.#button, { part: 'button', type: 'button', popoverTargetElement: this.#panel });
    this.#told.role = 'status';
    root.append(this.#button, this.#panel, this.#told);
  }

  connectedCallback() {
    this.#life = new AbortController();
    const { signal } = this.#life;
    document.addEventListener('visibilitychange', () => this.#restart(), { signal });
    for (const moved of ['scroll', 'resize']) addEventListener(moved, () => this.#place(), { capture: true, signal });
    this.#restart();
  }

  disconnectedCallback() {
    this.#life.abort();
    this.#work.abort();
  }

  attributeChangedCallback(name, before, after) {
    if (name === 'message' && before !== after) this.#state = null;
    if (this.isConnected && before !== after) this.#restart();
  }

  refresh() {
    return this.#load(this.#work.signal);
  }

  #restart() {
    this.#work.abort();
    this.#work = new AbortController();
    this.#draw();
    if (!this.getAttribute('message') || document.hidden) return;
    if (this.getAttribute('live') === 'off') this.refresh();
    else this.#follow(this.#work.signal);
  }

  async #follow(signal) {
    let [wait] = POLL_MS;
    while (await this.#load(signal)) {
      const before = this.#state?.version;
      if (streams < MOST_STREAMS) await this.#stream(signal);
      await pause(wait * (0.8 + Math.random() * 0.4), signal);
      wait = this.#state?.version === before ? Math.min(wait * 1.5, POLL_MS[1]) : POLL_MS[0];
    }
  }

  // While a server that was heard is away, the browser connects again by itself.
  async #stream(signal) {
    streams += 1;
    const source = new EventSource(this.#url('badge/live'));
    await new Promise((end) => {
      let heard = false;
      setTimeout(() => heard || end(), QUIET_MS);
      source.addEventListener('badge', (event) => {
        heard = true;
        this.#show(JSON.parse(event.data));
      });
      source.onerror = () => (heard && source.readyState === EventSource.CONNECTING) || end();
      signal.addEventListener('abort', end);
    });
    source.close();
    streams -= 1;
  }

  // Whether to ask again.
  async #load(signal) {
    try {
      const answer = await fetch(this.#url('badge'), { signal, cache: 'no-cache' });
      if ([401, 403].includes(answer.status)) {
        this.#fail('expired');
        return this.#tell('tracepost-expired', {});
      }
      if (!answer.ok) throw answer;
      this.#show(await answer.json());
    } catch {
      if (!signal.aborted) this.#fail('away');
    }
    return !signal.aborted;
  }

  #fail(fault) {
    this.#fault = fault;
    this.#draw();
  }

  #show(state) {
    const before = this.#state;
    if (!before || before.version < state.version) this.#state = state;
    this.#fail(null);
    if (!before || before.status === this.#state.status) return;
    this.#told.textContent = this.#label();
    this.#tell('tracepost-status', { status: state.status, before: before.status });
  }

  #tell(name, detail) {
    detail.message = this.getAttribute('message');
    this.dispatchEvent(new CustomEvent(name, { bubbles: true, composed: true, detail }));
  }

  #url(what) {
    const base = this.getAttribute('base') || new URL('.', import.meta.url);
    const url = new URL(`/v1/messages/${encodeURIComponent(this.getAttribute('message'))}/${what}`, base);
    if (this.getAttribute('token')) url.searchParams.set('token', this.getAttribute('token'));
    return url;
  }

  get #locale() {
    const asked = this.getAttribute('locale') || this.closest('[lang]')?.lang || navigator.language;
    return navigator.languages.find((each) => each.startsWith(asked)) ?? asked;
  }

  #text(name, ...values) {
    const told = TracepostStatus.texts;
    const locale = this.#locale;
    const text = told[locale]?.[name] ?? told[locale.split('-')[0]]?.[name] ?? told.en[name];
    return text?.replace(/\{(\d)\}/g, (_, number) => values[number]);
  }

  #draw() {
    const { status = 'queued', deliveries = [] } = this.#state ?? {};
    const [tone, strokes] = LOOKS[status] ?? LOOKS.queued;
    this.#button.className = tone;
    this.#button.replaceChildren(icon(strokes), make('span', '', this.#label()));
    this.#panel.ariaLabel = this.#label();
    this.#panel.replaceChildren(...deliveries.map((each) => this.#delivery(each)));
    if (this.#fault) this.#panel.append(make('p', 'quiet', this.#text(this.#fault)));
    this.#place();
  }

  #label() {
    if (!this.#state) return this.#text(this.#fault);
    const { status, shown_as: shown, deliveries, counts } = this.#state;
    const total = counts?.recipients ?? deliveries.length;
    const how = (...which) => deliveries.filter((each) => which.includes(each.status)).length;
    if (total > 1 && status === 'read') return this.#text('readBy', how('read'), total);
    if (total > 1 && ISSUES.includes(status)) return `${this.#text('failed')} (${how(...ISSUES)}/${total})`;
    return this.#text(status) ?? shown;
  }

  #delivery(each) {
    const [tone, strokes] = LOOKS[each.status] ?? LOOKS.queued;
    const [part, head] = [make('section', tone), make('h2')];
    head.append(icon(strokes), this.#text(each.status) ?? each.shown_as);
    part.append(head, make('p', 'quiet', each.recipient));
    const say = (text, name) => text && part.append(make('p', name, text));
    say(this.#text(`+${each.status}`));
    if (each.cause) say(this.#text(`+${alike(each.cause)}`) ?? each.cause_text);
    if (each.said) {
      say(`${this.#text('said')}${each.remote_mta ? ` (${each.remote_mta})` : ''}:`, 'quiet');
      part.append(make('blockquote', '', each.said));
    }
    for (const line of this.#times(each)) say(line);
    for (const { code, text, seconds } of each.notes) say(this.#text(`+${code}`, seconds && this.#span(seconds * 1e3)) ?? text, 'quiet note');
    return part;
  }

  #times({ delivered_at: taken, read_at: read, failed_at: failed }) {
    const format = new Intl.DateTimeFormat(this.#locale, { dateStyle: 'medium', timeStyle: 'short' });
    return [[taken, 'delivered'], [read, 'read'], [failed, 'failedAt']].filter(([time]) => time)
      .sort(([a], [b]) => Date.parse(a) - Date.parse(b))
      .map(([time, name]) => `${this.#text(name)} ${format.format(new Date(time))}`);
  }

  #span(ms) {
    const [unit, size] = ms < 36e5 ? ['minute', 6e4] : ms < 864e5 ? ['hour', 36e5] : ['day', 864e5];
    const format = new Intl.NumberFormat(this.#locale, { style: 'unit', unit, unitDisplay: 'long' });
    return format.format(Math.ceil(ms / size - 0.5) || 1);
  }

  #place() {
    if (!this.#panel.matches(':popover-open')) return;
    const at = this.#button.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height, style } = this.#panel;
    const start = getComputedStyle(this).direction === 'rtl' ? at.left : at.right - width;
    const below = at.bottom + 6;
    const top = below + height > innerHeight && at.top > height ? at.top - height - 6 : below;
    style.left = `${Math.max(8, Math.min(start, innerWidth - width - 8))}px`;
    style.top = `${Math.max(8, Math.min(top, innerHeight - height - 8))}px`;
  }
}

/** The cause whose words serve for this one too. */
function alike(cause) {
  const [kind] = cause.split('_');
  if (kind === 'suppressed' || kind === 'complaint') return kind;
  return Object.keys(ALIKE).find((name) => ALIKE[name].split(' ').includes(cause)) ?? cause;
}

function texts(lines) {
  return Object.fromEntries([...lines.matchAll(/^(.+?): (.+)$/gm)].map(([, name, text]) => [name, text]));
}

function make(tag, name = '', text = '') {
  return Object.assign(document.createElement(tag), { className: name, textContent: text });
}

export function icon(strokes) {
  const [svg, path] = ['svg', 'path'].map((name) => document.createElementNS('http://www.w3.org/2000/svg', name));
  svg.setAttribute('viewBox', '0 0 16 16');
  svg.ariaHidden = 'true';
  path.setAttribute('d', strokes);
  svg.append(path);
  return svg;
}

function pause(ms, signal) {
  return new Promise((end) => {
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', () => end(clearTimeout(timer)));
  });
}

if (!customElements.get('tracepost-status')) customElements.define('tracepost-status', TracepostStatus);
