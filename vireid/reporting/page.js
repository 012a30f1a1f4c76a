'use strict';
const thumbs = JSON.parse(document.getElementById('thumbs').textContent);

for (const image of document.querySelectorAll('img[data-thumb]')) image.src = thumbs[image.dataset.thumb];

const queries = [...document.querySelectorAll('article.query')];
const search = document.getElementById('rank-search');
const kind = document.getElementById('rank-kind');
const count = document.getElementById('rank-count');

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const query of queries) {
    const kinds = query.dataset.kinds.split(' ');
    const text = ` ${query.dataset.text} `;
    // a number matches whole words only: 1 does not match 10
    const found = words.every((word) => (/^\d+$/.test(word) ? text.includes(` ${word} `) : text.includes(word)));
    query.hidden = !(found && (kind.value === 'all' || kinds.includes(kind.value)));
    shown += query.hidden ? 0 : 1;
  }
  count.textContent = shown ? `${shown} of ${queries.length} shown` : `0 of ${queries.length} shown: no match`;
}

if (search) {
  search.addEventListener('input', filter);
  kind.addEventListener('change', filter);
  filter();
}

const card = document.getElementById('hover-card');

function show(event) {
  const point = event.target.closest('.plane [data-thumb]');
  card.hidden = !point;
  if (!point) return;
  const text = document.createElement('span');
  text.textContent = point.querySelector('title').textContent;
  const image = document.createElement('img');
  image.alt = '';
  const thumb = thumbs[point.dataset.thumb];
  if (thumb) image.src = thumb;
  card.replaceChildren(...(thumb ? [image] : []), text);
}

for (const plane of document.querySelectorAll('.plane')) {
  plane.addEventListener('pointerover', show);
  // lifting a finger fires it too
  plane.addEventListener('pointerleave', (event) => { card.hidden = event.pointerType !== 'touch'; });
}

document.addEventListener('pointerdown', (event) => { if (!event.target.closest('.plane')) card.hidden = true; });

for (const choice of document.querySelectorAll('select.projection')) {
  choice.addEventListener('change', () => {
    for (const group of choice.closest('.projected').querySelectorAll('g[data-projection]')) {
      group.toggleAttribute('hidden', group.dataset.projection !== choice.value);
    }
  });
}

// a link to a section that is closed, and printing, open it
function unfold(sections) {
  for (const section of sections) for (const details of section.querySelectorAll('details')) details.open = true;
}

for (const link of document.querySelectorAll('nav a')) {
  link.addEventListener('click', () => unfold(document.querySelectorAll(link.hash)));
}
if (/^#\w+$/.test(location.hash)) unfold(document.querySelectorAll(location.hash));
addEventListener('beforeprint', () => unfold([document.body]));
