"""The label page in headless Chromium, by keyboard alone and with a mouse; axe-core.

    vireid label DIR --port 8123 &
    python benchmarks/label_page.py http://127.0.0.1:8123/ OUT --axe axe.min.js

DIR should be a copy: answers are given. Needs Chromium, playwright and axe-core. Screenshots of 1,280 and 390 pixels,
light and dark, are written to OUT.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright
from search_page import FLAGS, check


def text(page: Page) -> str:
    return page.locator('#text').inner_text()


def answered(page: Page, key: str) -> None:
    with page.expect_response(lambda response: response.url.endswith('/answer')) as given:
        page.keyboard.press(key)
    assert given.value.status == 200, given.value.text()
    expect(page.locator('main')).to_have_attribute('aria-busy', 'false')
    expect(page.locator('#problem')).to_be_hidden()


def by_keyboard(page: Page) -> None:
    """Answers, skips, splits, names and undoes; what is undone was never there."""
    before = page.locator('#progress').inner_text()
    answered(page, 'Enter')
    after = page.locator('#progress').inner_text()
    assert after != before, after
    answered(page, 's')
    answered(page, 'n')
    for _ in range(2):
        answered(page, 'u')
    assert page.locator('#progress').inner_text() == after
    page.keyboard.press('r')
    page.keyboard.type('Anna')
    answered(page, 'Enter')
    page.keyboard.press('p')
    expect(page.locator('#list')).to_be_visible()
    assert 'Anna' in [each.input_value() for each in page.locator('#list .naming input').all()]
    page.keyboard.press('Escape')
    expect(page.locator('#text')).to_be_focused()
    answered(page, 'u')
    answered(page, 'u')
    assert page.locator('#progress').inner_text() == before


def by_mouse(page: Page, axe: Path | None, out: Path, name: str) -> None:
    expect(page.locator('#candidates li').first).to_be_visible()
    page.wait_for_load_state('networkidle')
    check(page, axe, 'question')
    page.screenshot(path=out / f'{name}.png', full_page=True)
    first = page.locator('.pick').first
    pressed = first.get_attribute('aria-pressed')
    first.click()
    assert first.get_attribute('aria-pressed') != pressed
    first.click()
    page.keyboard.press('1')
    assert first.get_attribute('aria-pressed') != pressed
    split = page.locator('.small').first
    if split.count():
        split.click()
        expect(page.locator('#text')).to_contain_text('Do these tracks show one person')
        page.keyboard.press('1')
        page.wait_for_load_state('networkidle')
        check(page, axe, 'split')
        page.screenshot(path=out / f'{name}_split.png', full_page=True)
        page.keyboard.press('Escape')
    with page.expect_response(lambda response: response.url.endswith('/answer')):
        page.locator('#save').click()
    expect(page.locator('main')).to_have_attribute('aria-busy', 'false')
    page.locator('#people').click()
    page.wait_for_load_state('networkidle')
    check(page, axe, 'people')
    page.screenshot(path=out / f'{name}_people.png', full_page=True)
    page.locator('#return').click()
    with page.expect_response(lambda response: response.url.endswith('/answer')):
        page.locator('#undo').click()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('address')
    parser.add_argument('out', type=Path)
    parser.add_argument('--axe', type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    problems: list[Any] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path='/usr/bin/chromium', args=FLAGS)
        for width, scheme in ((1280, 'light'), (1280, 'dark'), (390, 'light'), (390, 'dark')):
            # axe-core is injected past the page's Content-Security-Policy
            context = browser.new_context(
                viewport={'width': width, 'height': 844}, color_scheme=scheme, bypass_csp=args.axe is not None
            )
            page = context.new_page()
            page.on('pageerror', lambda error: problems.append(str(error)))
            page.on('console', lambda said: problems.append(said.text) if said.type == 'error' else None)
            page.goto(args.address)
            expect(page.locator('#text')).not_to_have_text('Loading…')
            by_keyboard(page)
            by_mouse(page, args.axe, args.out, f'{width}_{scheme}')
            wide = page.evaluate('document.documentElement.scrollWidth')
            assert wide <= width, (width, wide)
            context.close()
        first, second = (browser.new_page(), browser.new_page())  # with the policy; two windows on one folder
        for page in (first, second):
            page.goto(args.address)
            expect(page.locator('#text')).not_to_have_text('Loading…')
        answered(first, 's')
        second.keyboard.press('Enter')
        expect(second.locator('#problem')).to_contain_text('another window')
        assert text(first) == text(second)
        answered(second, 'u')
        browser.close()
    assert not problems, json.dumps(problems, indent=1)
    print(f'nothing fails; look at {args.out}')


if __name__ == '__main__':
    main()
