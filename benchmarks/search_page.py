"""The search page in headless Chromium: drop, crop, filter, search by a result, answer, by keyboard alone; axe-core.

    vireid serve INDEX --port 8123 &
    python benchmarks/search_page.py http://127.0.0.1:8123/ IMAGE OUT --axe axe.min.js

Needs Chromium, playwright and axe-core. Screenshots of 1,280 and 390 pixels, light and dark, are written to OUT.
"""

from __future__ import annotations

import argparse
import base64
import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-sync']
DROP = """
async ([bytes, name]) => {
  const data = Uint8Array.from(atob(bytes), c => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([data], name, { type: 'image/jpeg' }));
  dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, cancelable: true }));
}
"""


def drop(page: Page, image: Path) -> None:
    page.evaluate(DROP, [base64.b64encode(image.read_bytes()).decode(), image.name])
    expect(page.locator('#status')).to_contain_text('results', timeout=60_000)


def check(page: Page, axe: Path | None, where: str) -> None:
    if axe is None:
        return
    page.evaluate(axe.read_text())
    found = page.evaluate('axe.run()')['violations']
    told = [f'{each["id"]}: {each["help"]} {[node["target"] for node in each["nodes"]][:3]}' for each in found]
    assert not told, (where, told)


def by_mouse(page: Page, image: Path, axe: Path | None, out: Path, name: str) -> None:
    check(page, axe, 'empty')
    drop(page, image)
    expect(page.locator('#gallery button')).to_have_count(40)
    check(page, axe, 'results')
    page.screenshot(path=out / f'{name}.png', full_page=name.startswith('1280'))
    page.locator('#picture').scroll_into_view_if_needed()
    box = page.locator('#picture').bounding_box()
    assert box is not None
    with page.expect_response(lambda response: '/search' in response.url):
        page.mouse.move(box['x'] + 2, box['y'] + 2)
        page.mouse.down()
        page.mouse.move(box['x'] + box['width'] - 2, box['y'] + box['height'] / 2, steps=4)
        page.mouse.up()
    expect(page.locator('#status')).to_contain_text('40 results')
    page.locator('input[name=camera]').first.check()
    camera = page.locator('input[name=camera]').first.get_attribute('value')
    others = page.locator('#gallery button').filter(has_not_text=f'camera {camera}')
    expect(others).to_have_count(0, timeout=30_000)
    expect(page.locator('#gallery button')).to_have_count(40)
    page.locator('#gallery button').first.click()
    check(page, axe, 'compare')
    page.screenshot(path=out / f'{name}_compare.png')
    page.locator('#same').click()
    expect(page.locator('#answer')).to_have_text('Saved: same person.')
    page.locator('#similar').click()
    expect(page.locator('#status')).to_contain_text('Images similar to')


def by_keyboard(page: Page, image: Path) -> None:
    page.locator('#file').set_input_files(image)
    expect(page.locator('#status')).to_contain_text('results', timeout=60_000)
    for _ in range(60):
        page.keyboard.press('Tab')
        if page.evaluate("document.activeElement.matches('#gallery button')"):
            break
    page.keyboard.press('ArrowRight')
    page.keyboard.press('Enter')
    expect(page.locator('#right-about')).to_contain_text('2. score')
    page.keyboard.press('ArrowRight')
    expect(page.locator('#right-about')).to_contain_text('3. score')
    page.keyboard.press('n')
    expect(page.locator('#answer')).to_have_text('Saved: not the same.')
    page.keyboard.press('Escape')
    expect(page.locator('#compare')).not_to_be_visible()
    page.keyboard.press('Enter')
    page.keyboard.press('f')
    expect(page.locator('#status')).to_contain_text('Images similar to')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('address')
    parser.add_argument('image', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--axe', type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    host = args.address.split('?')[0]
    problems: list[Any] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path='/usr/bin/chromium', args=FLAGS)
        for width, scheme in ((1280, 'light'), (1280, 'dark'), (390, 'light'), (390, 'dark')):
            # axe-core is injected past the page's Content-Security-Policy
            context = browser.new_context(
                viewport={'width': width, 'height': 900}, color_scheme=scheme, bypass_csp=args.axe is not None
            )
            page = context.new_page()
            page.on('pageerror', lambda error: problems.append(str(error)))
            page.on('console', lambda said: problems.append(said.text) if said.type == 'error' else None)
            page.on(
                'request',
                lambda asked: problems.append(asked.url) if not asked.url.startswith((host, 'blob:')) else None,
            )
            page.goto(args.address)
            by_mouse(page, args.image, args.axe, args.out, f'{width}_{scheme}')
            page.goto(args.address)
            by_keyboard(page, args.image)
            wide = page.evaluate('document.documentElement.scrollWidth')
            assert wide <= width, (width, wide)
            context.close()
        context = browser.new_context()  # with the policy
        page = context.new_page()
        page.on('console', lambda said: problems.append(said.text) if said.type == 'error' else None)
        page.goto(args.address)
        drop(page, args.image)
        page.locator('#gallery button').first.click()
        browser.close()
    assert not problems, json.dumps(problems, indent=1)
    print(f'nothing fails; look at {args.out}')


if __name__ == '__main__':
    main()
