/** A list of any length of which only the rows in view are in the page. */

import { h } from './dom.js';

const MARGIN = 8; // rows beyond the view, so that a fast wheel finds them drawn

export class Windowed {
  #items = [];
  #drawn = new Map();
  #frame = 0;

  /** `scroller` scrolls, `height` is a row's in px, `draw(item, index)` makes a row, `more()` is called near the end. */
  constructor(scroller, { height, label, draw, more }) {
    Object.assign(this, { scroller, height, draw, more });
    this.element = h('div', { class: 'windowed', role: 'listbox', tabindex: '0', 'aria-label': label });
    scroller.addEventListener('scroll', () => this.#soon(), { passive: true });
    new ResizeObserver(() => this.#soon()).observe(scroller);
  }

  get items() {
    return this.#items;
  }

  set items(items) {
    this.#items = items;
    this.element.style.height = `${items.length * this.height}px`;
    this.render(true);
  }

  /** Add items at the end; nothing that is drawn changes. */
  add(items) {
    this.#items.push(...items);
    this.element.style.height = `${this.#items.length * this.height}px`;
    this.render();
  }

  /** Draw the rows in view; all of them anew where they may have changed. */
  render(anew = false) {
    if (anew) this.#drawn.clear();
    const [first, last] = this.#range();
    const kept = new Map();
    for (let index = first; index < last; index += 1) kept.set(index, this.#drawn.get(index) ?? this.#row(index));
    if (kept.size !== this.#drawn.size || !this.#drawn.has(first)) this.element.replaceChildren(...kept.values());
    this.#drawn = kept;
    if (last > this.#items.length - 3 * MARGIN) this.more();
  }

  /** A row, if it is in view. */
  row(index) {
    return this.#drawn.get(index);
  }

  /** Draw one item anew, if it is in view. */
  update(index) {
    if (!this.#drawn.has(index)) return;
    const row = this.#row(index);
    this.#drawn.get(index).replaceWith(row);
    this.#drawn.set(index, row);
  }

  /** Scroll so that a row is whole in view. */
  reveal(index) {
    const top = this.#offset() + index * this.height;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (top + this.height > scrollTop + clientHeight) this.scroller.scrollTop = top + this.height - clientHeight;
    this.render();
  }

  /** How many rows fit. */
  get page() {
    return Math.max(1, Math.floor(this.scroller.clientHeight / this.height) - 1);
  }

  #offset() {
    return this.element.offsetTop - this.scroller.offsetTop;
  }

  #range() {
    const from = this.scroller.scrollTop - this.#offset();
    const first = Math.max(0, Math.floor(from / this.height) - MARGIN);
    return [first, Math.min(this.#items.length, Math.ceil((from + this.scroller.clientHeight) / this.height) + MARGIN)];
  }

  #row(index) {
    const row = this.draw(this.#items[index], index);
    row.style.transform = `translateY(${index * this.height}px)`;
    row.setAttribute('aria-posinset', index + 1);
    row.setAttribute('aria-setsize', -1);
    return row;
  }

  #soon() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.render();
    });
  }
}
