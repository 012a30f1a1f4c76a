'use strict';
const $ = id => document.getElementById(id);
let question = null;   // what the server asks
let taking = null;     // the group whose tracks are looked at one by one; null while candidates are
let chosen = new Set();  // positions of candidates, or numbers of tracks that do not belong
let pending = null;    // an answer that contradicts another one
let busy = false;

function element(tag, text, kind) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function button(text, act, kind) {
  const made = element('button', text, kind);
  made.type = 'button';
  made.addEventListener('click', act);
  return made;
}

const percent = share => share < 0.01 ? '< 1%' : share > 0.99 ? '> 99%' : `${Math.round(100 * share)}%`;
const rows = group => group.tracks.map(track => track.row);
const several = (number, noun) => `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`;
const heads = number => `${number.toLocaleString('en')} ${number === 1 ? 'person' : 'people'}`;

// images of a track: all that are given, or the middle one
function pictures(track, all) {
  const shown = all ? track.images : [track.images[Math.floor(track.images.length / 2)]];
  return shown.map(row => {
    const image = new Image();
    image.src = `image/${row}`;
    image.alt = '';
    image.title = track.name;
    image.addEventListener('error', () => image.replaceWith(element('span', 'missing or changed')), { once: true });
    return image;
  });
}

const about = track => [track.camera && `camera ${track.camera}`, track.modality, track.time].filter(Boolean).join(', ');

function strip(group, most) {  // at most so many tracks, spread over the group
  const list = element('span', '', 'tracks'), count = group.tracks.length;
  const shown = group.tracks.filter((_, place) => count <= most || Math.floor(place * most / count) !== Math.floor((place - 1) * most / count));
  list.append(...shown.map(track => {
    const item = element('span', '', `track ${track.modality}`);
    item.append(...pictures(track, count === 1));
    return item;
  }));
  if (count > most) list.append(element('small', `and ${count - most} more`));
  return list;
}

function facts(group) {
  const cameras = [...new Set(group.tracks.map(track => track.camera).filter(Boolean))];
  return [group.name, group.modalities.join(' and '), several(group.tracks.length, 'track'), cameras.length && `camera ${cameras.join(', ')}`].filter(Boolean).join(', ');
}

// the question
function asked() {
  const only = kind => question.candidates.every(group => group.modalities.join() === kind);
  const own = question.group.modalities.join(' and ');
  const others = ['infrared', 'visible'].find(only);
  const who = question.group.name || `this ${own} person`;
  return others && others !== own ? `Which of these ${others} groups show ${who}?` : `Which of these groups show ${who}?`;
}

function show() {
  const match = !taking && question.kind === 'match', done = !taking && question.kind === 'done';
  $('everybody').hidden = true;
  $('ask').hidden = false;
  $('progress').textContent = `${heads(question.people)} of both modalities, ${question.named} of ${several(question.tracks, 'track')} named.`;
  $('notes').replaceChildren(...question.notes.map(text => element('li', text)));
  $('notes').hidden = !question.notes.length;
  $('text').textContent = done ? 'Everything is answered.' : match ? asked() : `Do these tracks show one person${taking?.name ? `, ${taking.name}` : ''}?`;
  $('hint').textContent = done ? question.summary.join('. ') + '.' : match
    ? `Press the numbers of all groups that do${question.candidates.length > 9 ? ' (0 for 10)' : ''}, then Enter. Likely groups are already chosen.`
    : `Choose the tracks that do not belong, then press Enter${question.certainty < 1 && !taking ? ` (certainty that all belong: ${percent(question.certainty)})` : ''}.`;
  const group = taking || question.group;
  if (done) $('group').replaceChildren();
  else if (match) $('group').replaceChildren(strip(group, 24), element('p', facts(group), 'soft'));
  else $('group').replaceChildren(tracks(group));
  $('candidates').replaceChildren(...(match ? question.candidates.map(candidate) : []));
  $('save').hidden = done;
  $('none').hidden = !match;
  $('split').hidden = !match || question.group.tracks.length < 2;
  $('skip').hidden = $('rename').hidden = done || taking !== null;
  $('undo').disabled = !question.undo;
  $('leave').hidden = taking === null;
  $('naming').hidden = true;
  mark();
}

function candidate(group, position) {
  const item = document.createElement('li');
  const pick = button('', () => toggle(position), 'pick');
  const head = element('strong', `${position + 1}. ${percent(group.certainty)} sure `);
  head.append(element('span', '', 'mark'));
  pick.append(head, strip(group, 8), element('small', facts(group)));
  item.append(pick);
  if (group.tracks.length > 1) {
    const part = button(`${position + 1} is not one person`, () => take(group), 'small');
    item.append(part);
  }
  return item;
}

function tracks(group) {
  const list = element('ol', '', 'tracks');
  list.append(...group.tracks.map((track, place) => {
    const item = document.createElement('li'), pick = button('', () => toggle(track.row), `track ${track.modality}`);
    pick.append(...pictures(track, true), element('small', `${place + 1}. ${about(track)}`));
    item.append(pick);
    return item;
  }));
  return list;
}

function mark() {  // what is chosen
  const match = !taking && question.kind === 'match', group = taking || question.group;
  if (match) {
    $('candidates').querySelectorAll('.pick').forEach((pick, position) => {
      pick.setAttribute('aria-pressed', chosen.has(position));
      pick.querySelector('.mark').textContent = chosen.has(position) ? '✓' : '';
    });
  } else if (group) {
    $('group').querySelectorAll('button').forEach((pick, place) => pick.setAttribute('aria-pressed', chosen.has(group.tracks[place].row)));
  }
  const numbers = [...chosen].sort((a, b) => a - b).map(position => position + 1).join(', ');
  const text = match ? (chosen.size ? `${numbers}: this person` : 'None of these')
    : chosen.size ? `Remove ${several(chosen.size, 'track')}` : 'One person';
  $('save').replaceChildren(`${text} `, element('kbd', 'Enter'));
  $('save').disabled = !match && group && chosen.size === group.tracks.length;
}

function toggle(value) {
  if (!chosen.delete(value)) chosen.add(value);
  mark();
}

function take(group) {  // looks at the tracks of a group one by one
  taking = group;
  chosen = new Set();
  show();
  $('text').focus();
  scrollTo(0, 0);
}

function leave() {
  taking = null;
  choose();
  show();
}

function choose() {
  chosen = new Set((question.candidates || []).flatMap((group, position) => group.certainty >= 0.5 ? [position] : []));
}

function settle(given) {
  question = given;
  taking = null;
  choose();
  show();
  $('text').focus({ preventScroll: true });
  scrollTo(0, 0);
}

function complain(text, confirm) {
  $('problem').textContent = text;
  $('problem').hidden = !text;
  $('confirm').hidden = !confirm;
  if (confirm) $('anyway').focus();
}

function wait(now) {
  busy = now;
  document.querySelector('main').setAttribute('aria-busy', now);
}

async function send(answer) {
  if (busy) return;
  wait(true);
  complain('');
  pending = null;
  const given = { version: question.version, rows: [], same: [], different: [], name: '', despite: false, ...answer };
  try {
    const response = await fetch('answer', { method: 'POST', body: JSON.stringify(given) });
    const content = await response.json();
    if (response.ok) settle(content);
    else if (content.contradiction) {
      pending = given;
      complain(`This contradicts what is known: ${content.error}.`, true);
    } else {
      if (content.contradiction === false) settle(await (await fetch('question')).json());
      complain(content.todo ? `${content.error}. ${content.todo}.` : `${content.error}.`);
    }
  } catch {
    complain('The server does not answer, so this answer was not saved. Start vireid label again; earlier answers are safe.');
  }
  wait(false);
}

function save() {
  const match = !taking && question.kind === 'match', group = taking || question.group;
  if (question.kind === 'done' && !taking) return;
  if (match) {
    const part = wanted => question.candidates.filter((_, position) => chosen.has(position) === wanted).map(rows);
    send({ kind: 'people', rows: rows(group), same: part(true), different: part(false) });
  } else if (chosen.size < group.tracks.length) {
    const out = rows(group).filter(row => chosen.has(row));
    send({ kind: 'people', rows: rows(group).filter(row => !chosen.has(row)), different: out.length ? [out] : [] });
  }
}

function rename() {
  $('naming').hidden = false;
  $('name').value = (taking || question.group).name;
  $('name').focus();
  $('name').select();
}

$('naming').addEventListener('submit', event => {
  event.preventDefault();
  send({ kind: 'name', rows: rows(taking || question.group), name: $('name').value });
});

// the people so far
async function everybody() {
  const given = await (await fetch('people')).json();
  question.version = given.version;
  $('ask').hidden = true;
  $('everybody').hidden = false;
  $('everybody-text').textContent = given.people.length ? `${heads(given.people.length + given.more)} so far` : 'Nobody is named yet';
  $('list').replaceChildren(...given.people.map(person));
  $('merge').disabled = true;
  $('everybody-text').focus();
}

function person(group) {
  const item = document.createElement('li'), form = element('form', '', 'naming'), label = element('label', 'Name ');
  const name = document.createElement('input'), tick = document.createElement('input'), check = element('label', ' choose', 'check');
  name.value = group.name;
  name.maxLength = 60;
  label.append(name);
  tick.type = 'checkbox';
  tick.setAttribute('aria-label', `choose ${group.name} to merge`);
  tick.group = group;
  tick.addEventListener('change', () => { $('merge').disabled = ticked().length < 2; });
  check.prepend(tick);
  const submit = element('button', 'Save the name', 'small');
  form.append(label, submit);
  form.addEventListener('submit', event => { event.preventDefault(); send({ kind: 'name', rows: rows(group), name: name.value }); });
  const part = button('Not one person', () => take(group), 'small');
  part.hidden = group.tracks.length < 2;
  item.append(form, strip(group, 8), element('small', facts(group)), check, part);
  return item;
}

const ticked = () => [...$('list').querySelectorAll('input[type=checkbox]')].filter(tick => tick.checked).map(tick => tick.group);

function merge() {
  const [first, ...others] = ticked();
  if (others.length) send({ kind: 'people', rows: rows(first), same: others.map(rows) });
}

// buttons and keys
const actions = {
  save, split: () => take(question.group), none: () => { chosen = new Set(); save(); }, skip: () => send({ kind: 'skip', rows: rows(question.group) }),
  undo: () => send({ kind: 'undo' }), rename, leave, people: everybody, return: () => { leave(); $('text').focus(); }, merge,
  anyway: () => pending && send({ ...pending, despite: true }), back: () => { pending = null; complain(''); $('text').focus(); },
};
for (const [id, act] of Object.entries(actions)) $(id).addEventListener('click', act);
const keys = { n: 'none', x: 'split', s: 'skip', u: 'undo', r: 'rename', p: 'people', a: 'anyway', Enter: 'save' };
addEventListener('keydown', event => {
  if (!question || event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches('input:not([type=checkbox])');
  let id = typing ? null : keys[event.key];
  if (event.key === 'Escape') id = pending ? 'back' : !$('everybody').hidden ? 'return' : taking ? 'leave' : null;
  if (event.key === 'Escape' && typing && !id) { $('naming').hidden = true; $('text').focus(); return; }
  if (event.key === 'Enter' && event.target.matches('button, a, input')) return;  // the browser does that
  if (pending && !['anyway', 'back'].includes(id)) return;
  if (!typing && !pending && /^[0-9]$/.test(event.key) && !$('ask').hidden) {
    const position = (Number(event.key) || 10) - 1, group = taking || question.group;
    if (!taking && question.kind === 'match') position < question.candidates.length && toggle(position);
    else if (group && position < group.tracks.length) toggle(group.tracks[position].row);
    return;
  }
  if (id && $(id).checkVisibility() && !$(id).disabled) { event.preventDefault(); $(id).click(); }
});
fetch('question').then(async response => response.ok ? settle(await response.json()) : complain((await response.json()).error), () => complain('The server does not answer.'));
