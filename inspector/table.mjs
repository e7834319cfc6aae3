/** Table of tensors: sorted, searched, and drawn only where it is seen, so that it stays fast. */

import { bitsText, bytesText, element } from './dom.mjs';
import { shownName } from './core.mjs';

/** @typedef {import('./core.mjs').Row} Row */

const ROW_HEIGHT = 34;
/** Rows that are drawn above and below those in view. */
const MARGIN = 8;
/** A browser cannot lay out an element that is higher than some 30 million pixels. */
const MAX_HEIGHT = 16_000_000;

const COLUMNS = [
  { key: 'name', label: 'Name', right: false },
  { key: 'dtype', label: 'Type', right: false },
  { key: 'shape', label: 'Shape', right: false },
  { key: 'original', label: 'Original', right: true },
  { key: 'bits', label: 'Bits a weight', right: true },
];

/** @param {Row} row @param {string} key */
function cellText(row, key) {
  if (key === 'name') return shownName(row.name);
  if (key === 'original') return bytesText(row.original);
  if (key === 'bits') return bitsText(row.bits);
  return key === 'dtype' ? row.dtype : row.shape;
}

/** @param {Row} row @param {string} key */
const sortValue = (row, key) =>
  key === 'shape' ? row.weights : (/** @type {any} */ (row)[key] ?? -1);

export class TensorTable {
  /** @type {Row[]} all, sorted */ #rows = [];
  /** @type {Row[]} those that the search finds */ #shown = [];
  #query = '';
  #sortKey = '';
  #ascending = true;
  #active = -1;

  /** @param {HTMLElement} place @param {(row: Row) => void} onSelect
   *  @param {(shown: number, all: number) => void} onCount */
  constructor(place, onSelect, onCount) {
    this.onSelect = onSelect;
    this.onCount = onCount;
    this.heads = COLUMNS.map(({ key, label, right }) =>
      element(
        right ? 'div.right' : 'div',
        { role: 'columnheader', 'data-key': key, 'aria-sort': 'none' },
        element('button', { type: 'button', onclick: () => this.sort(key) }, label),
      ),
    );
    this.space = element('div', { role: 'presentation' });
    this.body = element(
      'div.grid-body',
      {
        role: 'rowgroup',
        tabindex: -1,
        onscroll: () => this.#draw(),
      },
      this.space,
    );
    const head = element(
      'div',
      { role: 'rowgroup' },
      element('div.grid-head', { role: 'row' }, ...this.heads),
    );
    this.grid = element(
      'div.grid',
      {
        role: 'grid',
        tabindex: 0,
        'aria-label': 'Tensors; arrow keys move, Enter shows the details',
        onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
      },
      head,
      this.body,
    );
    place.replaceChildren(this.grid);
  }

  /** @param {Row[]} rows */
  set(rows) {
    this.#rows = [...rows];
    this.#query = '';
    this.#sortKey = '';
    this.#filter();
  }

  /** Shows the rows that contain every word of `query`. @param {string} query */
  search(query) {
    this.#query = query.toLowerCase();
    this.#filter();
  }

  /** Sorts by a column; again: the other way round. @param {string} key */
  sort(key) {
    this.#ascending = this.#sortKey === key ? !this.#ascending : true;
    this.#sortKey = key;
    const sign = this.#ascending ? 1 : -1;
    this.#rows.sort((a, b) => {
      const [x, y] = [sortValue(a, key), sortValue(b, key)];
      return x < y ? -sign : x > y ? sign : a.index - b.index;
    });
    this.#filter();
  }

  /** Draws again what is in view; the rows have changed. */
  refresh() {
    this.#draw();
  }

  #filter() {
    const words = this.#query.split(/\s+/).filter((word) => word !== '');
    this.#shown = this.#rows.filter((row) => {
      const text = `${row.name} ${row.dtype} ${row.shape}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    this.#active = -1;
    for (const head of this.heads) {
      const sorted = head.dataset.key === this.#sortKey;
      const order = this.#ascending ? 'ascending' : 'descending';
      head.setAttribute('aria-sort', sorted ? order : 'none');
      const label = COLUMNS.find(({ key }) => key === head.dataset.key)?.label;
      const arrow = this.#ascending ? ' ▲' : ' ▼';
      if (head.firstChild) head.firstChild.textContent = `${label}${sorted ? arrow : ''}`;
    }
    this.grid.setAttribute('aria-rowcount', String(this.#shown.length + 1));
    this.space.style.height = `${Math.min(MAX_HEIGHT, this.#shown.length * ROW_HEIGHT)}px`;
    this.body.scrollTop = 0;
    this.onCount(this.#shown.length, this.#rows.length);
    this.#draw();
  }

  /** Rows that have scrolled out above. With very many rows a pixel stands for several. */
  get #first() {
    const height = this.#shown.length * ROW_HEIGHT;
    const scale = height > MAX_HEIGHT ? height / MAX_HEIGHT : 1;
    return Math.floor((this.body.scrollTop * scale) / ROW_HEIGHT);
  }

  #draw() {
    const first = this.#first;
    const begin = Math.max(0, first - MARGIN);
    const count = Math.ceil(this.body.clientHeight / ROW_HEIGHT) + 2 * MARGIN;
    const end = Math.min(this.#shown.length, begin + count);
    const top = this.body.scrollTop - (this.body.scrollTop % ROW_HEIGHT);
    const rows = [];
    for (let i = begin; i < end; i++) {
      const row = this.#shown[i];
      const y =
        this.#shown.length * ROW_HEIGHT > MAX_HEIGHT
          ? top + (i - first) * ROW_HEIGHT
          : i * ROW_HEIGHT;
      rows.push(
        element(
          i === this.#active ? 'div.grid-row.active' : 'div.grid-row',
          {
            role: 'row',
            id: `row-${i}`,
            'aria-rowindex': i + 2,
            'aria-selected': i === this.#active,
            style: `top:${y}px`,
            onclick: () => this.#select(i),
          },
          ...COLUMNS.map(({ key, right }) =>
            element(
              right ? 'span.right.number' : 'span',
              {
                role: 'gridcell',
                'data-key': key,
                title: key === 'name' ? cellText(row, key) : undefined,
              },
              cellText(row, key),
            ),
          ),
        ),
      );
    }
    this.space.replaceChildren(...rows);
    if (this.#active >= begin && this.#active < end) {
      this.grid.setAttribute('aria-activedescendant', `row-${this.#active}`);
    } else {
      this.grid.removeAttribute('aria-activedescendant');
    }
  }

  /** @param {number} i */
  #select(i) {
    this.#active = i;
    this.#draw();
    this.onSelect(this.#shown[i]);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.target instanceof HTMLButtonElement) return;
    const page = Math.max(1, Math.floor(this.body.clientHeight / ROW_HEIGHT) - 1);
    const last = this.#shown.length - 1;
    const moves = /** @type {Record<string, number>} */ ({
      ArrowDown: this.#active + 1,
      ArrowUp: this.#active - 1,
      PageDown: this.#active + page,
      PageUp: this.#active - page,
      Home: 0,
      End: last,
    });
    if (event.key === 'Enter' && this.#active >= 0) {
      event.preventDefault();
      this.#select(this.#active);
    } else if (event.key in moves && last >= 0) {
      event.preventDefault();
      this.#active = Math.max(0, Math.min(last, moves[event.key]));
      this.#reveal(this.#active);
      this.#draw();
    }
  }

  /** @param {number} i */
  #reveal(i) {
    const height = this.#shown.length * ROW_HEIGHT;
    const scale = height > MAX_HEIGHT ? height / MAX_HEIGHT : 1;
    const top = (i * ROW_HEIGHT) / scale;
    const { scrollTop, clientHeight } = this.body;
    if (top < scrollTop) this.body.scrollTop = top;
    else if (top + ROW_HEIGHT > scrollTop + clientHeight) {
      this.body.scrollTop = top + ROW_HEIGHT - clientHeight;
    }
  }
}
