"""The hook of mkdocs (`mkdocs.yml`): adds the generated pages of the site, and makes links of the repository work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import site_html
import site_links
import site_reference
from interface_table import BEGIN, END
from mkdocs.structure.files import File, Files

# about the project rather than its use; each visit loads the search index, whose size counts
RECORDS = ('CHANGELOG.md', 'CODE_OF_CONDUCT.md', 'docs/architecture.md', 'docs/decisions.md')
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
    """Adds pages for files outside docs/, and the reference. The start page stands for README.md."""
    own = [f'docs/{file.src_uri}' for file in files.documentation_pages()]
    top = [path.name for path in sorted(site_links.ROOT.glob('*.md'))]
    outside = [path for path in site_links.linked_pages([*own, *top]) if path != 'README.md']
    _paths.clear()
    _paths.update({site_links.site_path(path): path for path in [*own, *outside] if path.endswith('.md')})
    pages = dict(site_reference.pages())
    for path in outside:
        is_page = path.endswith('.md')
        text = (site_links.ROOT / path).read_text(encoding='utf-8') if is_page else site_links.source(path)
        pages[site_links.site_path(path)] = text
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
    """Links the names of components."""
    addresses = {}
    for name, place in _components.items():
        uri, _, anchor = place.partition('#')
        if uri != page.file.src_uri:
            addresses[name] = f'{files.src_uris[uri].url_relative_to(page.file)}#{anchor}'
    return site_html.link_components(site_html.mend_tables(html), addresses)


def on_post_page(output: str, **_: Any) -> str:
    """Names the regions of a page."""
    return site_html.name_regions(output)


def on_post_template(output_content: str, **_: Any) -> str:
    """The same for the page of a missing address."""
    return site_html.name_regions(output_content)


def on_post_build(config: Mapping[str, Any]) -> None:
    """Shortens the search index."""
    site_html.shorten_index(Path(config['site_dir']) / 'search' / 'search_index.json')
