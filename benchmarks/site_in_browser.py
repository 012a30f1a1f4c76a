"""Opens every page of the docs site in headless Chromium, as a reader would, and says what is wrong with it.

First it reads the pages as files: every link, image, and anchor has to lead somewhere within the site. Then it opens
each page at the width of a phone and of a desktop, in light and dark: requests to other machines, messages of the
console, sideways scrolling, accessibility (axe-core), and the bytes that a first visit loads. Last, it searches, and
switches between light and dark. Needs Chromium, the Python package `playwright`, and `axe.min.js` of the npm package
`axe-core`. Screenshots of some pages lie in OUT. The exit status is 0 only if nothing failed.

`make site` builds the site.
"""

from __future__ import annotations

import argparse
import re
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from playwright.sync_api import Browser, Page, sync_playwright
from report_in_browser import AXE, CONTRAST, OVERFLOW, WIDTHS, Findings, find_axe

LARGEST = 1_000_000  # bytes of a first visit: the page, its styles, scripts, and images, and the search index
SHOWN = ('index.html', 'first-model.html', 'reference/components/losses.html', 'reference/objects.html')
SEARCHES = {'mINP': 'protocols.html', 'GLFM': 'reference/components/necks.html'}  # and a page among the results
SCHEMES = {'light': 'default', 'dark': 'slate'}  # of the system, and what the theme calls them


class Links(HTMLParser):
    """The addresses and the anchors of a page.

    Attributes:
        addresses: of its links, images, styles, and scripts.
        anchors: the `id` and `name` of its elements.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ('href', 'src') and value is not None:
                self.addresses.append(value)
            elif value and (name == 'id' or (name == 'name' and tag == 'a')):
                self.anchors.add(value)


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without a line per request."""

    def log_message(self, *_: object) -> None:
        pass


def check_links(site: Path, findings: Findings) -> None:
    """Checks every address of every page against the files of the site."""
    pages = {path: Links(path.read_text(encoding='utf-8')) for path in sorted(site.rglob('*.html'))}
    outside: Counter[str] = Counter()
    dead, checked = [], 0
    for path, links in pages.items():
        for address in links.addresses:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                outside[parts.netloc or parts.scheme] += 1
                continue
            checked += 1
            base = site if parts.path.startswith('/') else path.parent
            target = (base / unquote(parts.path).lstrip('/')).resolve() if parts.path else path.resolve()
            target = target / 'index.html' if target.is_dir() else target
            known = pages.get(
                site / target.relative_to(site.resolve()) if target.is_relative_to(site.resolve()) else target
            )
            if not target.is_file() or (parts.fragment and known and unquote(parts.fragment) not in known.anchors):
                dead.append(f'{path.relative_to(site)}: {address}')
    findings.check(
        not dead,
        'files',
        f'links of {len(pages)} pages',
        f'{checked:,} checked; ' + ('; '.join(dead[:10]) or 'none is dead'),
    )
    findings.add(
        'note', 'files', 'links to other sites, not checked', ', '.join(f'{k} {v}' for k, v in outside.items())
    )


def look(
    browser: Browser, address: str, name: str, width: int, scheme: str, axe: str, out: Path, findings: Findings
) -> int:
    """Opens a page in a window of its own; returns the bytes that it loads."""
    where = f'{name}, {width} {scheme}'
    context = browser.new_context(
        viewport={'width': width, 'height': WIDTHS[width]},
        color_scheme=scheme,  # type: ignore[arg-type]
        bypass_csp=True,
    )
    page = context.new_page()
    foreign, messages, sizes = set(), [], {}
    page.on('request', lambda r: None if r.url.startswith((address, 'data:', 'blob:')) else foreign.add(r.url))
    page.on('console', lambda m: messages.append(m.text) if m.type in ('error', 'warning') else None)
    page.on('pageerror', lambda error: messages.append(f'uncaught: {error}'))
    page.on('response', lambda r: sizes.setdefault(r.url, int(r.headers.get('content-length', 0))))
    try:
        page.goto(address + name, wait_until='networkidle', timeout=60_000)
        wide, inner, past = page.evaluate(OVERFLOW)
        if wide > inner or past:
            findings.add('FAIL', where, 'sideways scrolling', f'{wide} of {inner} px: {", ".join(past)}')
        if name in SHOWN:
            page.screenshot(path=out / f'{name.replace("/", "_").removesuffix(".html")}_{width}_{scheme}.png')
        page.evaluate(axe)
        violations, _, _ = page.evaluate(AXE)
        for rule in violations:
            places = '; '.join(f'{node["target"]} {node["summary"]}' for node in rule['nodes'][:2])
            findings.add('FAIL', where, f'axe: {rule["id"]} ({rule["impact"]}), {rule["count"]} places', places)
        _, low = page.evaluate(CONTRAST)
        if low:
            findings.add('note', where, 'contrast where axe cannot tell', ', '.join(low[:5]))
        for what, found in {'requests to other machines': foreign, 'console': messages}.items():
            if found:
                findings.add('FAIL', where, what, ' | '.join(sorted(found)[:5]))
    finally:
        context.close()
    return sum(sizes.values())


def search(page: Page, address: str, findings: Findings) -> None:
    """Searches for each word and follows a result."""
    for word, wanted in SEARCHES.items():
        page.goto(address + 'index.html', wait_until='networkidle')
        page.get_by_role('textbox', name='Search').click()
        page.keyboard.type(word, delay=40)
        page.wait_for_selector('.md-search-result__link', timeout=20_000)
        page.wait_for_timeout(500)
        found = page.locator('.md-search-result__link').evaluate_all('links => links.map(l => l.href)')
        findings.check(
            any(wanted in link for link in found), 'search', word, f'{len(found)} results, {wanted} among them'
        )
        page.locator('.md-search-result__link').first.click()
        page.wait_for_load_state('networkidle')
        findings.check(page.locator('article', has_text=word).count() > 0, 'search', f'{word}: first result', page.url)


def switch(page: Page, address: str, findings: Findings) -> None:
    """Switches between light and dark, which a later page remembers."""
    page.goto(address + 'index.html', wait_until='networkidle')
    read = 'document.body.dataset.mdColorScheme'
    seen = [page.evaluate(read)]
    for _ in range(2):
        page.locator('form[data-md-component=palette] label:not([hidden])').click()
        seen.append(page.evaluate(read))
    page.goto(address + 'protocols.html', wait_until='networkidle')
    kept = page.evaluate(read) == seen[-1]
    findings.check(set(seen) == set(SCHEMES.values()) and kept, 'switch', 'light and dark', ' -> '.join(seen))


def opened(site: Path) -> Iterator[str]:
    """Serves the site on this machine alone; yields its address."""
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}/'
    server.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('site', type=Path, metavar='SITE', help='the built site')
    parser.add_argument('out', type=Path, metavar='OUT', help='folder for the screenshots')
    parser.add_argument('--axe', type=Path, help='axe.min.js; by default that of a node_modules folder here or above')
    parser.add_argument('--chromium', help='by default `chromium` of PATH')
    parser.add_argument('--pages', default='', help='open only pages whose path matches this regular expression')
    args = parser.parse_args()
    chromium, axe = shutil.which(args.chromium or 'chromium'), find_axe(args.axe)
    if not (args.site / 'index.html').is_file():
        parser.error(f'there is no {args.site}/index.html; run `make site`')
    if chromium is None:
        parser.error('there is no chromium on PATH; install it or give --chromium')
    if axe is None:
        parser.error(f'there is no {args.axe or "node_modules/axe-core"}; `npm install axe-core`, or give --axe')
    args.out.mkdir(parents=True, exist_ok=True)
    findings = Findings()
    check_links(args.site, findings)
    names = [path.relative_to(args.site).as_posix() for path in sorted(args.site.rglob('*.html'))]
    names = [name for name in names if re.search(args.pages, name)]
    sizes: dict[str, int] = {}
    with sync_playwright() as playwright:
        hosts = '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'
        browser = playwright.chromium.launch(executable_path=chromium, args=[hosts, '--disable-background-networking'])
        for address in opened(args.site):
            for name in names:
                for width in WIDTHS:
                    for scheme in SCHEMES:
                        sizes[name] = look(
                            browser, address, name, width, scheme, axe.read_text(encoding='utf-8'), args.out, findings
                        )
                print(f'{name}  {sizes[name] / 1e6:.2f} MB', flush=True)
            page = browser.new_page(color_scheme='light')
            search(page, address, findings)
            switch(page, address, findings)
        browser.close()
    views = len(names) * len(WIDTHS) * len(SCHEMES)
    findings.add('note', 'pages', 'opened', f'{len(names)} pages, {views} views; what is not listed passed')
    for name in sorted(sizes, key=lambda name: -sizes[name])[:3]:
        findings.check(sizes[name] <= LARGEST, name, 'bytes of a first visit', f'{sizes[name]:,}')
    print(
        f'\n{findings.table()}\n\n{findings.failed} failed'
        if findings.failed
        else f'\n{findings.table()}\n\nnothing failed'
    )
    raise SystemExit(bool(findings.failed))


if __name__ == '__main__':
    main()
