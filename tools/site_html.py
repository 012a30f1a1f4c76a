"""Changes to the pages of the site after Markdown and the theme have made them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path


def link_components(html: str, addresses: Mapping[str, str]) -> str:
    """Links names of components in code to their description, except within links, headings, and blocks of code.

    Args:
        html: the content of a page.
        addresses: where each component is described, relative to the page.
    """

    def linked(match: re.Match[str]) -> str:
        address = addresses.get(match[1])
        return match[0] if address is None else f'<a href="{address}">{match[0]}</a>'

    parts = re.split(r'(<(?:a|pre|h[1-6])\b.*?</(?:a|pre|h[1-6])>)', html, flags=re.DOTALL)
    parts[::2] = [re.sub(r'<code>(\w+)</code>', linked, part) for part in parts[::2]]
    return ''.join(parts)


def mend_tables(html: str) -> str:
    """Makes cells of headers without text plain cells: for a screen reader, an empty header is none."""
    return re.sub(r'<th\b([^>]*)></th>', r'<td\1></td>', html)


def name_regions(html: str) -> str:
    """Names the regions of a page that the theme leaves without a name, for screen readers."""
    html = re.sub('(class="md-search" [^>]*role="dialog")', r'\1 aria-label="Search"', html)
    title = r'(<label class="md-nav__title"[^>]*>\s*<span[^>]*></span>\s*([^<]+?)\s*</label>)'
    return re.sub(rf'aria-labelledby="__nav_[\d_]+_label"([^>]*>\s*){title}', r'aria-label="\3"\1\2', html)


def shorten_index(path: Path) -> None:
    """Takes the markup of code out of the search index, which every visit loads: it is a tenth of it.

    Tables become paragraphs: a result shows the paragraphs that match, and everything outside of paragraphs.
    """
    index = json.loads(path.read_text(encoding='utf-8'))
    for entry in index['docs']:
        text = re.sub('</?code>', '', entry['text'])
        entry['text'] = re.sub(r'(^|</(?:p|ul|ol|pre)>)\s*([^<\s][^<]*)', r'\1<p>\2</p>', text)
    path.write_text(json.dumps(index, ensure_ascii=False, separators=(',', ':')), encoding='utf-8')
