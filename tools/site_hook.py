"""The hook of mkdocs (`mkdocs.yml`): adds the generated pages of the site, and makes links of the repository work."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import site_links
import site_reference
from interface_table import BEGIN, END
from mkdocs.structure.files import File, Files

RECORDS = ('CHANGELOG.md', 'docs/decisions.md')
_paths: dict[str, str] = {}  # files of the repository by the page that they become
_components: dict[str, str] = {}  # page and anchor of each component


def on_config(config: Any) -> Any:
    """Puts all pages of a folder where the navigation names the folder."""

    def expanded(entry: Any) -> Any:
        if isinstance(entry, str) and entry.endswith('/'):
            return [entry + name for name in site_reference.folder(entry)]
        if isinstance(entry, dict):
            return {title: expanded(below) for title, below in entry.items()}
        return [expanded(below) for below in entry] if isinstance(entry, list) else entry

    config.nav = expanded(config.nav)
    return config


def on_files(files: Files, config: Mapping[str, Any]) -> Files:
    """Adds pages for files outside docs/, and the reference."""
    own = [f'docs/{file.src_uri}' for file in files.documentation_pages()]
    top = [path.name for path in sorted(site_links.ROOT.glob('*.md')) if path.name != 'README.md']
    outside = site_links.linked_pages([*own, *top])
    _paths.clear()
    _paths.update({site_links.site_path(path): path for path in [*own, *outside] if path.endswith('.md')})
    pages = dict(site_reference.pages())
    for path in outside:
        if path.endswith('.md'):
            pages[site_links.site_path(path)] = (site_links.ROOT / path).read_text(encoding='utf-8')
        elif path != 'README.md':
            pages[site_links.site_path(path)] = site_links.source(path)
    for uri, text in pages.items():
        files.append(File.generated(config, uri, content=text))  # type: ignore[arg-type]
    _components.clear()
    _components.update(site_reference.component_places())
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrites the links of files of the repository, and leaves records of its development out of the search."""
    path = _paths.get(page.file.src_uri)
    if path in RECORDS:
        page.meta['search'] = {'exclude': True}
    if path is None:
        return markdown
    before, begin, rest = site_links.for_site(markdown, path).partition(BEGIN)
    # the site has this list on a page of its own
    return before + ('[Interfaces](reference/interfaces.md).' + rest.partition(END)[2] if begin else '')


def on_page_content(html: str, page: Any, files: Files, **_: Any) -> str:
    """Links the name of a component in running text to its description; an empty header cell is no header."""

    def linked(match: re.Match[str]) -> str:
        uri, _, anchor = _components.get(match[1], '').partition('#')
        if not uri or uri == page.file.src_uri:
            return match[0]
        address = files.get_file_from_path(uri).url_relative_to(page.file)  # type: ignore[union-attr]
        return f'<a href="{address}#{anchor}">{match[0]}</a>'

    html = re.sub(r'<th\b([^>]*)></th>', r'<td\1></td>', html)
    # neither in a link, a heading, nor a block of code
    parts = re.split(r'(<(a|pre|h[1-6])\b.*?</\2>)', html, flags=re.DOTALL)
    return ''.join(
        part if index % 3 == 1 else '' if index % 3 == 2 else re.sub(r'<code>(\w+)</code>', linked, part)
        for index, part in enumerate(parts)
    )


def on_post_page(output: str, **_: Any) -> str:
    """Names the regions that the theme leaves without a name, for screen readers."""
    output = re.sub('(class="md-search" [^>]*role="dialog")', r'\1 aria-label="Search"', output)
    title = r'(<label class="md-nav__title"[^>]*>\s*<span[^>]*></span>\s*([^<]+?)\s*</label>)'
    return re.sub(rf'aria-labelledby="__nav_[\d_]+_label"([^>]*>\s*){title}', r'aria-label="\3"\1\2', output)


def on_post_template(output_content: str, **_: Any) -> str:
    """The same for the page of a missing address."""
    return on_post_page(output_content)


def on_post_build(config: Mapping[str, Any]) -> None:
    """Takes the markup of code out of the search index, which every visit loads: it is a tenth of it.

    Tables are paragraphs then: a result shows those paragraphs that match, and everything outside of them.
    """
    path = Path(config['site_dir']) / 'search' / 'search_index.json'
    index = json.loads(path.read_text(encoding='utf-8'))
    for entry in index['docs']:
        text = re.sub('</?code>', '', entry['text'])
        entry['text'] = re.sub(r'(^|</(?:p|ul|ol|pre)>)\s*([^<\s][^<]*)', r'\1<p>\2</p>', text)
    path.write_text(json.dumps(index, ensure_ascii=False, separators=(',', ':')), encoding='utf-8')
