"""Opens a `report.html` in headless Chromium, as a user's browser would, and says what is wrong with it.

At the width of a telephone and of a desktop, in light and dark: requests, messages of the console, sideways scrolling,
images, accessibility (axe-core); then the ranking lists and the scatter are used, and the page is printed to A4.
Needs Chromium, the Python package `playwright`, `axe.min.js` of the npm package `axe-core`, and poppler's `pdftoppm`
to look at the printed pages. What it draws lies in OUT. The exit status is 0 only if nothing failed.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, CDPSession, ConsoleMessage, Error, Page, Request, Route, sync_playwright

WIDTHS = {390: 844, 1280: 800}  # and the height of that window
SCHEMES = ('light', 'dark')
TALLEST = 16_000  # Chromium draws at most 16,384 pixels into one image
KINDS = ('best', 'worst', 'random')
NONSENSE = 'zq-no-such-image-qz'
PATIENCE = 3.0  # seconds that a page may take to answer what a user does
FAILS = ('serious', 'critical')

OPEN_ALL = "document.querySelectorAll('details').forEach(d => { d.open = true })"
LOAD_ALL = """async () => {
  const images = [...document.images].filter(i => i.getAttribute('src'));
  images.forEach(i => { i.loading = 'eager' });
  await Promise.race([Promise.allSettled(images.map(i => i.decode())), new Promise(r => setTimeout(r, 10000))]);
  const broken = images.filter(i => !i.naturalWidth).map(i => (i.alt || '(no alt)') + ' ' + i.src.slice(-60));
  return [images.length, broken];
}"""
OVERFLOW = """() => {  // names the innermost of those that reach past the edge, with what encloses them
  const past = e => {
    const inside = getComputedStyle(e).overflowX === 'visible' ? e.scrollWidth : 0;  // such as a long word
    const box = e.getBoundingClientRect();
    if (Math.max(box.right, box.left + inside) + scrollX <= innerWidth + 0.5) return false;
    for (let p = e.parentElement; p && p !== document.body; p = p.parentElement)
      if (getComputedStyle(p).overflowX !== 'visible') return false;
    return true;
  };
  const wide = new Set([...document.body.querySelectorAll('*')].filter(past));
  const name = e => e.tagName.toLowerCase() + (e.id ? '#' + e.id : '') + [...e.classList].map(c => '.' + c).join('');
  const path = e => (e.parentElement === document.body ? '' : path(e.parentElement) + ' > ') + name(e);
  const inner = [...wide].filter(e => ![...e.children].some(c => wide.has(c)));
  return [document.documentElement.scrollWidth, innerWidth, [...new Set(inner.map(path))].slice(0, 4)];
}"""
AXE = """async () => {
  const root = document.documentElement, clear = e => getComputedStyle(e).backgroundColor === 'rgba(0, 0, 0, 0)';
  // axe takes a page without a background for white, in dark too: give it the one that the browser draws
  if (clear(root) && clear(document.body)) root.style.backgroundColor = 'Canvas';
  const found = await axe.run(document, {resultTypes: ['violations', 'incomplete'], iframes: false, elementRef: true});
  window.unsureOfContrast = found.incomplete.filter(r => r.id === 'color-contrast')
    .flatMap(r => r.nodes.map(n => n.element));
  const short = r => ({id: r.id, impact: r.impact, help: r.help, count: r.nodes.length, nodes: r.nodes.slice(0, 5)
    .map(n => ({target: n.target.flat().join(' '), summary: (n.failureSummary || '').replace(/\\s+/g, ' ')}))});
  return [found.violations.map(short), found.incomplete.map(short), found.passes.length];
}"""
# axe cannot tell what lies behind the text of a drawing: compare it with the background of what encloses it
CONTRAST = """() => {
  const ctx = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const paint = (below, color) => {
    ctx.fillStyle = `rgb(${below})`; ctx.fillRect(0, 0, 1, 1);
    ctx.fillStyle = color; ctx.fillRect(0, 0, 1, 1);
    return [...ctx.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = rgb => rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const low = [];
  for (const text of window.unsureOfContrast) {
    const style = getComputedStyle(text), above = [];
    for (let e = text; e; e = e.parentElement) above.unshift(getComputedStyle(e).backgroundColor);
    const ground = above.reduce(paint, [255, 255, 255]);
    const ink = paint(ground, text.ownerSVGElement ? style.fill : style.color);
    const [a, b] = [light(ground), light(ink)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push(`${text.textContent.trim().slice(0, 30)} (${ratio.toFixed(1)})`);
  }
  return [window.unsureOfContrast.length, low];
}"""
QUERIES = """() => [...document.querySelectorAll('#rankings article.query')].map(a => ({
  kinds: (a.dataset.kinds || '').split(/\\s+/).filter(Boolean), hidden: a.hidden, drawn: a.getClientRects().length > 0
}))"""
WORDS = """() => {
  const a = document.querySelector('#rankings article.query');
  const spoken = [...a.querySelectorAll('[alt], [title]')].map(e => (e.alt || '') + ' ' + (e.title || ''));
  return [a.dataset.identity || '', a.innerText.replace(/\\s+/g, ' '), spoken.join(' ')];
}"""
POINTS = """() => {  // those whose middle a mouse reaches, two with different thumbnails if there are
  const points = [...document.querySelectorAll('#embedding svg [data-thumb]')], found = [];
  for (const [index, e] of points.slice(0, 500).entries()) {
    if (found.length && found[0].thumb === e.dataset.thumb) continue;
    e.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'});
    const r = e.getBoundingClientRect(), hit = document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2);
    if (hit && e.contains(hit)) found.push({index, thumb: e.dataset.thumb});
    if (found.length === 2) break;
  }
  return [points.length, found.map(f => f.index)];
}"""
MIDDLE = """index => {
  const e = document.querySelectorAll('#embedding svg [data-thumb]')[index];
  e.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'});
  const r = e.getBoundingClientRect();
  return [r.x + r.width / 2, r.y + r.height / 2];
}"""
FOCUS = """index => {
  const e = document.querySelectorAll('#embedding svg [data-thumb]')[index];
  e.focus({focusVisible: true});
  return document.activeElement === e;
}"""
CARD = """() => {
  const card = document.querySelector('#hover-card');
  const drawn = e => e.getClientRects().length > 0 && getComputedStyle(e).visibility === 'visible';
  const img = card && [...card.querySelectorAll('img')].find(i => i.naturalWidth > 0 && drawn(i));
  if (!img) return null;
  const r = card.getBoundingClientRect();
  return [img.src, r.left >= -1 && r.top >= -1 && r.right <= innerWidth + 1 && r.bottom <= innerHeight + 1];
}"""


@dataclass
class Findings:
    """What was looked at: rows of a state (`ok`, `FAIL`, `note`, `not there`), where, what, and details."""

    rows: list[tuple[str, str, str, str]] = field(default_factory=list)
    printed: set[str] = field(default_factory=set)  # what axe said of places, so that it is there once

    def add(self, state: str, where: str, what: str, details: object = '') -> None:
        self.rows.append((state, where, what, str(details)))

    def check(self, passed: bool, where: str, what: str, details: object = '') -> None:
        self.add('ok' if passed else 'FAIL', where, what, details)

    def missing(self, where: str, what: str) -> None:
        print(f'not there: {what} ({where})')
        self.add('not there', where, what)

    @property
    def failed(self) -> int:
        return sum(state == 'FAIL' for state, *_ in self.rows)

    def table(self) -> str:
        widths = [max(len(row[column]) for row in self.rows) for column in range(3)]
        return '\n'.join(
            '  '.join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3][:300]]).rstrip()
            for row in self.rows
        )


class Heard:
    """What a page asked for and said while it was open; what is neither the file nor a data URI is blocked."""

    def __init__(self, page: Page, address: str) -> None:
        self.address = address
        self.requests: dict[str, None] = {}
        self.messages: list[str] = []
        page.context.route('**/*', self._route)
        page.on('request', self._request)
        page.on('websocket', lambda socket: self.requests.setdefault(socket.url))
        page.on('console', self._console)
        page.on('pageerror', lambda error: self.messages.append(f'uncaught: {error}'))
        page.on('crash', lambda _: self.messages.append('the page crashed'))

    def _own(self, url: str) -> bool:
        return url.split('#')[0] == self.address or url.startswith('data:')

    def _route(self, route: Route) -> None:
        if self._own(route.request.url):
            route.continue_()
        else:
            route.abort()

    def _request(self, request: Request) -> None:
        if not self._own(request.url):
            self.requests.setdefault(request.url)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ('error', 'warning', 'assert'):
            self.messages.append(f'{message.type}: {message.text}')


def until(read: Callable[[], Any], passed: Callable[[Any], bool]) -> Any:
    """Reads until it has passed, or a user would have given up; returns what was read last."""
    end = time.monotonic() + PATIENCE
    while not passed(value := read()) and time.monotonic() < end:
        time.sleep(0.05)
    return value


def screenshot(page: Page, out: Path, name: str) -> list[Path]:
    """Draws the whole page; one taller than `TALLEST` becomes several images."""
    width, height = page.evaluate('[innerWidth, document.documentElement.scrollHeight]')
    if height <= TALLEST:
        page.screenshot(path=out / f'{name}.png', full_page=True)
        return [out / f'{name}.png']
    paths = []
    for index, top in enumerate(range(0, height, TALLEST), 1):
        paths.append(out / (f'{name}.png' if index == 1 else f'{name}_{index}.png'))
        clip: Any = {'x': 0, 'y': top, 'width': width, 'height': min(TALLEST, height - top)}
        page.screenshot(path=paths[-1], full_page=True, clip=clip)
    return paths


def look(page: Page, where: str, out: Path, findings: Findings) -> None:
    """Images, sideways scrolling, and a screenshot; in the end every `<details>` is open."""
    count, broken = page.evaluate(LOAD_ALL)
    details = f'{len(broken)} of {count} do not: {broken[:5]}' if broken else count
    findings.check(not broken, where, 'images load', details)
    paths = screenshot(page, out, 'report_' + where.replace(' ', '_'))
    findings.add('ok', where, 'screenshot', ', '.join(path.name for path in paths))
    opened = page.locator('details:not([open])').count()
    for state in ['as it opens', 'all details open'] if opened else ['as it opens']:
        if state != 'as it opens':
            page.evaluate(OPEN_ALL)
        scroll, inner, wide = page.evaluate(OVERFLOW)
        details = f'{scroll} px in {inner}' + (f', past the edge: {", ".join(wide) or "?"}' if scroll > inner else '')
        findings.check(scroll <= inner, where, f'no sideways scrolling, {state}', details)


def accessibility(page: Page, session: CDPSession, axe: str, where: str, findings: Findings) -> None:
    # by the debugger's way in: a page's content security policy forbids a script tag
    session.send('Runtime.evaluate', {'expression': axe})
    violations, unsure, passed = page.evaluate(AXE)
    failing = [rule for rule in violations if rule['impact'] in FAILS]
    for rule in violations:
        state = 'FAIL' if rule in failing else 'note'
        findings.add(state, where, f'axe: {rule["id"]}', f'{rule["impact"]}, {rule["count"]} places: {rule["help"]}')
        print(f'axe, {where}: {rule["impact"]} {rule["id"]}: {rule["help"]} ({rule["count"]} places)')
        places = '\n'.join(f'    {node["target"]}\n        {node["summary"]}' for node in rule['nodes'])
        print('    as printed before' if places in findings.printed else places)
        findings.printed.add(places)
    if not failing:
        findings.add('ok', where, 'axe: nothing serious or critical', f'{passed} rules passed')
    for rule in [rule for rule in unsure if rule['id'] != 'color-contrast']:
        targets = ', '.join(node['target'] for node in rule['nodes'][:3])
        findings.add('note', where, f'axe cannot tell: {rule["id"]}', f'{rule["count"]} places: {targets}')
    count, low = page.evaluate(CONTRAST)
    if count:
        details = f'{len(low)} of {count} texts below 4.5 if nothing else is drawn behind them: {", ".join(low[:5])}'
        findings.add(
            'note' if low else 'ok', where, 'contrast where axe cannot tell', details if low else f'{count} texts'
        )


def use_rankings(page: Page, where: str, identity: str | None, findings: Findings) -> None:
    """Chooses each kind of query and searches, as the section `#rankings` promises."""
    if not page.locator('#rankings').count():
        findings.missing(where, 'section #rankings')
        return
    parts = ('#rank-search', '#rank-kind', '#rank-count', 'article.query')
    if lacking := [part for part in parts if not page.locator(f'#rankings {part}').count()]:
        findings.add('FAIL', where, 'rankings have their parts', f'#rankings lacks {", ".join(lacking)}')
        return
    queries = page.evaluate(QUERIES)
    everything = set(range(len(queries)))
    of_kind = {kind: {i for i, query in enumerate(queries) if kind in query['kinds']} for kind in KINDS}
    of_kind['all'] = everything
    options = page.locator('#rank-kind option').evaluate_all('options => options.map(o => o.value)')
    findings.check(set(of_kind) <= set(options), where, 'rank-kind: its values', ', '.join(options))

    def choose(kind: str) -> None:
        if kind in options:
            page.select_option('#rank-kind', kind)

    def after(what: str, right: Callable[[set[int]], bool], wanted: str) -> set[int]:
        queries, words = until(
            lambda: (page.evaluate(QUERIES), page.inner_text('#rank-count')),
            lambda found: right(_indices(found[0], 'hidden', False)) and _says(found[1], found[0]),
        )
        shown, drawn = _indices(queries, 'hidden', False), _indices(queries, 'drawn', True)
        findings.check(right(shown), where, f'rankings: {what}', f'{len(shown)} of {len(queries)} shown; {wanted}')
        if not _says(words, queries):
            findings.add('FAIL', where, f'rank-count: {what}', f'{len(shown)} are shown, it says {words!r}')
        if drawn != shown:
            details = f'{len(drawn - shown)} are drawn though hidden, {len(shown - drawn)} not drawn though not hidden'
            findings.add('FAIL', where, f'hidden is not drawn: {what}', details)
        return shown

    page.fill('#rank-search', '')
    choose('all')
    after('all', lambda shown: shown == everything, 'every one wanted')
    for kind in KINDS:
        choose(kind)
        after(kind, of_kind[kind].__eq__, f'those {len(of_kind[kind])} of that kind wanted')
    choose('all')
    marked, text, spoken = page.evaluate(WORDS)
    named = re.search(r'(?i)\b(?:identity|person|id)\b[\s:#]*([\w-]+)', text) or re.search(r'\b(\d+)\b', text)
    identity = identity or marked or (named[1] if named else None)
    if identity is None:
        findings.add('FAIL', where, 'rankings: identity', 'cannot read it from the first article; give --identity')
    else:
        page.fill('#rank-search', identity)
        searched = after(
            f'search {identity!r}',
            lambda shown: 0 in shown and (shown < everything or len(everything) == 1),
            'the first at least, and not all, wanted',
        )
        choose('worst')
        both = searched & of_kind['worst']
        after(f'search {identity!r}, worst', lambda shown: shown == both, f'those {len(both)} that are both wanted')
        choose('all')
    if file := re.search(r'[\w./-]+\.(?:jpe?g|png|bmp)\b', f'{text} {spoken}'):
        page.fill('#rank-search', file[0])
        after(f'search {file[0]!r}', lambda shown: 0 in shown, 'the first at least wanted')
    page.fill('#rank-search', NONSENSE)
    after('search nonsense', lambda shown: not shown, 'none wanted')
    page.fill('#rank-search', '')
    after('search cleared', lambda shown: shown == everything, 'every one wanted')
    live = page.locator('#rank-count').evaluate("e => !!e.closest('[aria-live], [role=status], output')")
    if not live:
        findings.add('note', where, 'rank-count', 'neither aria-live nor role=status: a screen reader hears nothing')


def _indices(queries: list[dict[str, Any]], key: str, value: bool) -> set[int]:
    return {index for index, query in enumerate(queries) if query[key] == value}


def _says(words: str, queries: list[dict[str, Any]]) -> bool:
    count, plain = len(_indices(queries, 'hidden', False)), re.sub(r'(?<=\d)[,\u2009\u202f](?=\d{3})', '', words)
    return str(count) in re.findall(r'\d+', plain) or (not count and bool(re.search(r'(?i)\bno(ne)?\b', plain)))


def use_embedding(page: Page, where: str, findings: Findings) -> None:
    """Points at the scatter with the mouse, the keyboard and, on a telephone, a finger."""
    if not page.locator('#embedding').count():
        findings.missing(where, 'section #embedding')
        return
    count, reached = page.evaluate(POINTS)
    if not count or not page.locator('#hover-card').count():
        lacking = '#hover-card' if count else '[data-thumb] within an svg of #embedding'
        findings.add('FAIL', where, 'embedding has its parts', f'lacks {lacking}')
        return

    stays: set[str] = set()

    def point(index: int, way: str) -> list[Any] | None:
        page.mouse.move(0, 0)
        page.evaluate('document.activeElement.blur()')
        x, y = page.evaluate(MIDDLE, index)
        old = until(lambda: page.evaluate(CARD), lambda card: card is None)
        if old:
            stays.add(way)
        if way == 'focus' and not page.evaluate(FOCUS, index):
            return None
        if way == 'hover':
            page.mouse.move(x, y, steps=3)
        elif way == 'tap':
            page.touchscreen.tap(x, y)
        new = until(lambda: page.evaluate(CARD), lambda card: card and (old is None or card[0] != old[0]))
        return None if old and new and old[0] == new[0] and len(reached) > 1 else new

    # in turns on two points: what stayed from the one before is told from what came
    ways = {'hover': 0, 'focus': -1} | ({'tap': 0} if where.startswith(str(min(WIDTHS))) else {})
    cards = {
        way: point(reached[turn] if reached else 0, way) if reached or way == 'focus' else None
        for way, turn in ways.items()
    }
    details = f'{count} points; ' + ', '.join(f'{way}: {"yes" if card else "no"}' for way, card in cards.items())
    findings.check(bool(cards['hover'] or cards['focus']), where, 'embedding: hover or focus shows an image', details)
    for way in [way for way, card in cards.items() if not card]:
        reason = 'a mouse reaches no point' if way != 'focus' and not reached else 'no image'
        if way == 'focus' and not page.evaluate(FOCUS, 0):
            reason = 'the points cannot be focused: a keyboard does not reach them'
        findings.add('note', where, f'embedding: {way}', reason)
    for way in [way for way, card in cards.items() if card and not card[1]]:
        findings.add('note', where, f'embedding: {way}', '#hover-card lies partly outside the window')
    if cards['hover'] and len(reached) > 1:
        if stays:  # it may show the other point since the focus
            point(reached[0], 'hover')
        other = point(reached[1], 'hover')
        passed = other is not None and other[0] != cards['hover'][0]
        findings.check(
            passed, where, 'embedding: another point, another image', f'points {reached[0]} and {reached[1]}'
        )
    if stays:
        findings.add('note', where, 'embedding', '#hover-card stays when the mouse or the focus has left')


def print_to_pdf(page: Page, out: Path, shown: int, findings: Findings) -> None:
    """Prints as a browser does unless told otherwise: A4, a margin of about 1 cm, without backgrounds."""
    path = out / 'report.pdf'
    page.pdf(path=path, format='A4', margin={'top': '1cm', 'right': '1cm', 'bottom': '1cm', 'left': '1cm'})
    pages = count_pages(path)
    findings.check(pages != 0, 'print', 'report.pdf, A4', f'{pages or "?"} pages, {path.stat().st_size / 1e6:.1f} MB')
    if not (program := shutil.which('pdftoppm')):
        findings.add('note', 'print', 'pages as images', 'no pdftoppm (poppler-utils): look at report.pdf instead')
        return
    subprocess.run([program, '-png', '-r', '60', '-l', str(shown), str(path), str(out / 'page')], check=True)
    images = sorted(out.glob('page-*.png'))
    empty = [image.name for image in images if _one_color(image)]
    details = f'empty: {", ".join(empty)}' if empty else 'none is empty'
    findings.check(not empty, 'print', f'the first {len(images)} pages', details)


def count_pages(path: Path) -> int | None:
    """Returns how many pages a PDF has; None without a program or package that knows."""
    if program := shutil.which('pdfinfo'):
        told = subprocess.run([program, str(path)], capture_output=True, text=True, check=True).stdout
        return int(re.findall(r'(?m)^Pages:\s+(\d+)', told)[0])
    try:
        from pypdf import PdfReader
    except ImportError:
        return None
    return len(PdfReader(path).pages)


def _one_color(path: Path) -> bool:
    with Image.open(path) as image:
        low, high = image.convert('L').getextrema()
    return low == high


@contextmanager
def opened(browser: Browser, report: Path, width: int, scheme: str, findings: Findings) -> Iterator[Page]:
    """Yields the page, opened in a window of its own; then adds what was heard of it."""
    where, address = f'{width} {scheme}', report.resolve().as_uri()
    context = browser.new_context(
        viewport={'width': width, 'height': WIDTHS[width]},
        color_scheme=scheme,  # type: ignore[arg-type]
        service_workers='block',
        has_touch=width == min(WIDTHS),
    )
    page = context.new_page()
    page.set_default_timeout(20_000)
    heard = Heard(page, address)
    try:
        page.goto(address, wait_until='load', timeout=60_000)
        yield page
        page.wait_for_timeout(200)  # for what is said late
    except Error as error:  # the other windows are looked at all the same
        findings.add('FAIL', where, 'could be used', error.message.splitlines()[0])
    finally:
        for what, found in {
            'asks for nothing else': list(heard.requests),
            'console and page errors': list(dict.fromkeys(heard.messages)),
        }.items():
            findings.check(not found, where, what, f'{len(found)}: {" | ".join(found[:5])}' if found else 'none')
        context.close()


def inspect(browser: Browser, args: argparse.Namespace, axe: str) -> Findings:
    findings = Findings()
    for width in WIDTHS:
        for scheme in SCHEMES:
            where = f'{width} {scheme}'
            with opened(browser, args.report, width, scheme, findings) as page:
                if where == f'{max(WIDTHS)} light':
                    print_to_pdf(page, args.out, args.pages, findings)
                look(page, where, args.out, findings)
                accessibility(page, page.context.new_cdp_session(page), axe, where, findings)
                if scheme == 'light':
                    use_rankings(page, where, args.identity, findings)
                    use_embedding(page, where, findings)
                if where == f'{min(WIDTHS)} light':
                    # without it a telephone lays the page out as if it were 980 pixels wide
                    told = page.locator('meta[name=viewport][content*="width=device-width"]').count()
                    findings.check(told > 0, where, 'meta viewport', 'width=device-width' if told else 'missing')
    corners = {_corner(args.out / f'report_{min(WIDTHS)}_{scheme}.png') for scheme in SCHEMES}
    if len(corners) < len(SCHEMES):
        findings.add('note', 'dark', 'background', 'the page has the same in light and dark')
    return findings


def _corner(path: Path) -> Any:
    if not path.exists():
        return path  # that it could not be drawn is said already
    with Image.open(path) as image:
        return image.convert('RGB').getpixel((1, 1))


def find_axe(given: Path | None) -> Path | None:
    """Returns the given file, or that of a `node_modules` folder here or above."""
    folders = [Path.cwd(), *Path.cwd().parents]
    tried = [given] if given else [folder / 'node_modules' / 'axe-core' / 'axe.min.js' for folder in folders]
    return next((path for path in tried if path.is_file()), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('report', type=Path, metavar='REPORT.html')
    parser.add_argument('out', type=Path, metavar='OUT', help='folder for the screenshots, the PDF and its pages')
    parser.add_argument('--axe', type=Path, help='axe.min.js; by default that of a node_modules folder here or above')
    parser.add_argument('--chromium', help='by default `chromium` of PATH')
    parser.add_argument('--identity', help='what to search for; by default that of the first article')
    parser.add_argument('--pages', type=int, default=8, help='how many pages of the PDF are drawn')
    args = parser.parse_args()
    chromium, axe = shutil.which(args.chromium or 'chromium'), find_axe(args.axe)
    if not args.report.is_file():
        parser.error(f'there is no {args.report}')
    if chromium is None:
        parser.error(f'there is no {args.chromium or "chromium on PATH"}; install it or give --chromium')
    if axe is None:
        parser.error(f'there is no {args.axe or "node_modules/axe-core"}; `npm install axe-core`, or give --axe')
    args.out.mkdir(parents=True, exist_ok=True)
    for old in [
        *args.out.glob('report_*.png'),
        *args.out.glob('page-*.png'),
    ]:  # of a run before, to be mistaken for new
        old.unlink()
    with sync_playwright() as playwright:
        # what a page could reach past `Heard`, such as a preconnect, finds no host
        browser = playwright.chromium.launch(
            executable_path=chromium, args=['--host-resolver-rules=MAP * ~NOTFOUND', '--disable-background-networking']
        )
        version = browser.version
        findings = inspect(browser, args, axe.read_text(encoding='utf-8'))
        browser.close()
    print(f'\n{args.report} in Chromium {version}:\n\n{findings.table()}\n')
    print(f'{findings.failed} failed' if findings.failed else 'nothing failed')
    raise SystemExit(bool(findings.failed))


if __name__ == '__main__':
    main()
