'use strict';
const $ = id => document.getElementById(id);
const MAX_BYTES = 10 * 2 ** 20;
let file = null;       // what was dropped, pasted or chosen
let bitmap = null;     // the same as pixels; null if the browser cannot show it
let crop = null;       // [x, y, width, height] in pixels of the bitmap
let row = null;        // the image of the index that is the query, instead of a file
let answer = null;     // of the last search
let shown = 0;         // position of the compared result
let asked = 0;         // number of the last request: late answers to earlier ones are dropped

// the query
async function take(given) {
  if (!given) return;
  leave();
  file = given; row = null; crop = null; bitmap = null;
  let made = null;
  try { made = await createImageBitmap(given); } catch { /* raw or unknown to the browser, not to the server */ }
  if (file !== given || row !== null) return;  // meanwhile another query was chosen
  bitmap = made;
  $('picture').hidden = $('cropped').hidden = bitmap === null;
  $('hint').textContent = bitmap === null ? `${given.name || 'The image'} cannot be shown here, so the whole image is searched. Or` : 'Another one?';
  draw();
  $('go').disabled = false;
  search();
}

function draw() {
  if (!bitmap) return;
  const canvas = $('picture'), scale = Math.min(1, 280 / bitmap.width, 420 / bitmap.height);
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const pen = canvas.getContext('2d');
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  if (!crop) return;
  const [x, y, w, h] = crop.map(value => value * scale);
  pen.fillStyle = 'rgb(0 0 0 / 55%)';
  pen.beginPath();
  pen.rect(0, 0, canvas.width, canvas.height);
  pen.rect(x, y, w, h);
  pen.fill('evenodd');
  pen.strokeStyle = '#fff';
  pen.lineWidth = 2;
  pen.strokeRect(x, y, w, h);
}

function place(event) {
  const box = $('picture').getBoundingClientRect();
  const inside = (value, size) => Math.min(Math.max(value, 0), size);
  return [inside((event.clientX - box.left) / box.width * bitmap.width, bitmap.width),
    inside((event.clientY - box.top) / box.height * bitmap.height, bitmap.height)];
}

let corner = null;
$('picture').addEventListener('pointerdown', event => { corner = place(event); $('picture').setPointerCapture(event.pointerId); });
$('picture').addEventListener('pointermove', event => {
  if (!corner) return;
  const [x, y] = place(event);
  crop = [Math.min(x, corner[0]), Math.min(y, corner[1]), Math.abs(x - corner[0]), Math.abs(y - corner[1])];
  draw();
});
$('picture').addEventListener('pointerup', () => {
  if (corner && crop && (crop[2] < 8 || crop[3] < 8)) crop = null;  // a click
  corner = null;
  draw();
  search();
});
$('picture').addEventListener('pointercancel', () => { corner = null; });
let pause = 0;
$('picture').addEventListener('keydown', event => {  // the same without a mouse
  const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!direction || !bitmap) return;
  event.preventDefault();
  const { width, height } = bitmap;
  let [x, y, w, h] = crop || [width / 4, height / 4, width / 2, height / 2];
  if (crop) {
    const [across, down] = [direction[0] * Math.max(1, width / 40), direction[1] * Math.max(1, height / 40)];
    if (event.shiftKey) [w, h] = [Math.min(Math.max(w + across, 8), width - x), Math.min(Math.max(h + down, 8), height - y)];
    else [x, y] = [Math.min(Math.max(x + across, 0), width - w), Math.min(Math.max(y + down, 0), height - h)];
  }
  crop = [x, y, w, h];
  draw();
  clearTimeout(pause);
  pause = setTimeout(search, 500);
});
$('whole').addEventListener('click', () => { crop = null; draw(); search(); });

function body() {
  if (!crop) return Promise.resolve(file);
  const [x, y, w, h] = crop.map(Math.round), canvas = document.createElement('canvas');
  canvas.width = Math.max(1, w);
  canvas.height = Math.max(1, h);
  canvas.getContext('2d').drawImage(bitmap, x, y, w, h, 0, 0, canvas.width, canvas.height);
  return new Promise(done => canvas.toBlob(done, 'image/png'));
}

for (const id of ['file', 'photo']) $(id).addEventListener('change', event => { take(event.target.files[0]); event.target.value = ''; });
addEventListener('dragover', event => { event.preventDefault(); $('drop').classList.add('over'); });
addEventListener('dragleave', () => $('drop').classList.remove('over'));
addEventListener('drop', event => { event.preventDefault(); $('drop').classList.remove('over'); take(event.dataTransfer.files[0]); });
addEventListener('paste', event => take([...event.clipboardData.files][0]));

// searching
function leave() {  // the results belong to the query before: an answer would be saved for the wrong pair
  $('gallery').inert = true;
  if ($('compare').open) $('compare').close();
}

async function search() {
  if (!file && row === null) return;
  const number = ++asked, values = new URLSearchParams();
  for (const [name, value] of new FormData($('filters'))) if (value) values.append(name, value);
  $('status').textContent = 'Searching…';
  leave();
  try {
    let response;
    if (row !== null) {
      values.delete('modality');
      response = await fetch(`similar/${row}?${values}`);
    } else {
      const content = await body();
      if (content.size > MAX_BYTES) throw new Error('The image has more than 10 MB: crop it, or save it as JPEG.');
      response = await fetch(`search?${values}`, { method: 'POST', body: content });
    }
    const given = await response.json();
    if (number !== asked) return;
    if (!response.ok) throw new Error(given.todo ? `${given.error}. ${given.todo}.` : given.error);
    answer = given;
    list();
    if (innerWidth < 736) $('status').scrollIntoView();
  } catch (error) {
    if (number !== asked) return;
    answer = null;
    $('gallery').replaceChildren();
    $('warnings').hidden = $('absent').hidden = true;
    $('status').textContent = error instanceof TypeError ? 'The server does not answer.' : error.message;
  }
  $('gallery').inert = false;
}
$('filters').addEventListener('submit', event => { event.preventDefault(); search(); });
$('filters').addEventListener('change', search);

function about(hit) {
  const time = hit.time && (hit.time_from === 'file time' ? `${hit.time} (file time)` : hit.time);
  return [hit.same && `${hit.same} same person`, hit.camera && `camera ${hit.camera}`, time, hit.modality].filter(Boolean);
}

function element(tag, text, kind) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function list() {
  const guess = answer.guessed ? ' (guessed; choose another modality if this is wrong)' : '';
  const from = row !== null ? `Images similar to ${answer.query}, ${answer.modality}` : `The query was embedded as ${answer.modality}${guess}`;
  const count = answer.hits.length === 1 ? '1 result' : `${answer.hits.length} results`;
  $('status').textContent = answer.hits.length ? `${from}. ${count}.` : `${from}. No image matches the filters.`;
  $('warnings').replaceChildren(...answer.warnings.map(text => element('li', text)));
  $('warnings').hidden = !answer.warnings.length;
  $('absent').textContent = answer.absent;
  $('absent').hidden = !answer.absent;
  $('gallery').replaceChildren(...answer.hits.map((hit, position) => {
    const item = document.createElement('li'), button = element('button', '', hit.label), image = new Image();
    button.type = 'button';
    image.src = `image/${hit.row}`;
    image.alt = '';
    image.loading = 'lazy';
    image.addEventListener('error', () => image.replaceWith(element('span', 'missing or changed since it was indexed')), { once: true });
    button.title = hit.path;
    button.append(image, element('span', `${position + 1}. ${hit.score.toFixed(3)}`, 'score'), ...about(hit).map(text => element('span', text)));
    button.addEventListener('click', () => open(position));
    item.append(button);
    return item;
  }));
}

$('gallery').addEventListener('keydown', event => {
  const buttons = [...$('gallery').querySelectorAll('button')], at = buttons.indexOf(document.activeElement);
  if (at < 0) return;
  const top = buttons[0].getBoundingClientRect().top;
  const columns = buttons.filter(button => button.getBoundingClientRect().top === top).length;
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
  const next = event.key === 'Home' ? 0 : event.key === 'End' ? buttons.length - 1 : step && at + step;
  if (next === undefined || !buttons[next]) return;
  event.preventDefault();
  buttons[next].focus();
});

// two images side by side
function open(position) {
  shown = position;
  const hit = answer.hits[position];
  if (row !== null) $('left').src = `image/${row}?large=1`;
  else if (bitmap) body().then(content => { $('left').src = URL.createObjectURL(content); });
  else $('left').removeAttribute('src');
  $('left-about').textContent = `Query: ${row !== null ? answer.query : answer.modality}`;
  $('right').src = `image/${hit.row}?large=1`;
  $('right-about').textContent = [`${position + 1}. score ${hit.score.toFixed(3)}`, ...about(hit), hit.path].join(', ');
  $('answer').textContent = hit.label ? `Saved: ${hit.label === 'same' ? 'same person' : 'not the same'}.` : '';
  $('previous').disabled = position === 0;
  $('next').disabled = position === answer.hits.length - 1;
  if (!$('compare').open) $('compare').showModal();
}

async function label(same) {
  const position = shown, own = answer, hit = own.hits[position];
  try {
    const response = await fetch('label', { method: 'POST', body: JSON.stringify({ query: row === null && file.name ? `${answer.query} ${file.name}` : answer.query, row: hit.row, same }) });
    if (!response.ok) throw new Error((await response.json()).error);
    hit.label = same ? 'same' : 'different';
    if (answer !== own) return;
    $('gallery').querySelectorAll('button')[position].className = hit.label;
    if (shown === position) $('answer').textContent = `Saved: ${same ? 'same person' : 'not the same'}.`;
  } catch (error) {
    $('answer').textContent = `Not saved (result ${position + 1}): ${error.message}`;
  }
}

function again() {
  row = answer.hits[shown].row;
  $('compare').close();
  $('hint').textContent = 'The query is a result. Drop another image, or';
  $('picture').hidden = $('cropped').hidden = true;
  $('go').disabled = false;
  search().then(() => $('gallery').querySelector('button')?.focus());
}

const actions = {
  same: () => label(true), different: () => label(false), similar: again, close: () => $('compare').close(),
  previous: () => shown > 0 && open(shown - 1), next: () => shown < answer.hits.length - 1 && open(shown + 1),
};
for (const [id, act] of Object.entries(actions)) $(id).addEventListener('click', act);
const keys = { s: 'same', n: 'different', f: 'similar', ArrowLeft: 'previous', ArrowRight: 'next' };
$('compare').addEventListener('keydown', event => {
  const act = !event.ctrlKey && !event.metaKey && !event.altKey && actions[keys[event.key]];
  if (act) { event.preventDefault(); act(); }
});
$('compare').addEventListener('close', () => $('gallery').querySelectorAll('button')[shown]?.focus());
