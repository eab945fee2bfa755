/** Makes elements; whatever is put into one is text, never markup. */

export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

/** Replace what is in an element; null, undefined and false are left out. */
export function put(element, ...children) {
  element.replaceChildren(...kept(children));
  return element;
}

/** A table; the first cell of a row is its head. Cells are text or elements. */
export function table(head, rows) {
  return h(
    'div',
    { class: 'wide' },
    h(
      'table',
      {},
      h('thead', {}, h('tr', {}, ...head.map((name) => h('th', { scope: 'col' }, name)))),
      h(
        'tbody',
        {},
        ...rows.map(([first, ...others]) =>
          h('tr', {}, h('th', { scope: 'row', dir: 'auto' }, first), ...others.map((cell) => h('td', {}, cell))),
        ),
      ),
    ),
  );
}

/** A figure with its name, in a list of such. */
export function tile(name, value, tone = '') {
  return h('div', { class: tone }, h('dt', {}, name), h('dd', {}, value));
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...kept(children));
  return element;
}

function kept(children) {
  return children.flat().filter((child) => child !== null && child !== undefined && child !== false);
}
