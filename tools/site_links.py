"""Links between the Markdown files of the repository, and the pages of the site that they become.

The Markdown works in the repository as it is. On the site, a file of docs/ keeps its place, another Markdown file
becomes a page below `project/`, and any other linked file or folder a page below `source/` that shows its text.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BLOCK = r'^(?P<fence> *(?:```+|~~~+)).*?^(?P=fence)[ \t]*$'
_INLINE = r'(?P<ticks>`+)(?!`).*?(?<!`)(?P=ticks)(?!`)'
_LINK = r'(?P<before>\]\(|\b(?:href|src)=")(?P<address>[^()\s"#]*)(?P<anchor>#[^()\s"]*)?(?P<after>[)"])'
_TOKEN = re.compile(f'{_BLOCK}|{_INLINE}|{_LINK}', re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r'^#{1,6} +(.*?)(?: +#+)?$', re.MULTILINE)


def links(markdown: str) -> Iterator[tuple[str, str]]:
    """Yields the (address, anchor) of each link and image that leads to a file of the repository, outside of code."""
    for match in _TOKEN.finditer(markdown):
        if match['after'] and not _is_external(match['address']):
            yield match['address'], (match['anchor'] or '')[1:]


def anchors(markdown: str) -> list[str]:
    """Returns the anchors of the headings in order, as GitHub names them."""
    text = re.sub(_BLOCK, '', markdown, flags=re.MULTILINE | re.DOTALL)
    return [slug(title) for title in _HEADING.findall(text)]


def slug(title: str) -> str:
    """Returns the anchor of a heading, as GitHub and the site name it."""
    shown = re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', title)
    return re.sub(r'[^\w\- ]', '', shown.lower()).strip().replace(' ', '-')


def target(page: str, address: str) -> str:
    """Returns the path of a linked file, relative to the repository.

    Args:
        page: path of the file with the link, relative to the repository.
        address: the link, relative to that file; empty for the file itself.
    """
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), address)) if address else page


def site_path(path: str) -> str:
    """Returns the path of the page, relative to docs/, that a file of the repository becomes."""
    if path.startswith('docs/'):
        return path.removeprefix('docs/')
    if path == 'README.md':
        return path  # the start page
    return f'project/{path}' if path.endswith('.md') else f'source/{path}.md'


def for_site(markdown: str, page: str) -> str:
    """Returns a file's Markdown with its links as the site needs them.

    Args:
        markdown: the text of the file.
        page: its path relative to the repository.
    """
    own = posixpath.dirname(site_path(page))

    def replaced(match: re.Match[str]) -> str:
        if not match['after'] or not match['address'] or _is_external(match['address']):
            return match[0]
        address = posixpath.relpath(site_path(target(page, match['address'])), own or '.')
        return f'{match["before"]}{address}{match["anchor"] or ""}{match["after"]}'

    return _TOKEN.sub(replaced, markdown)


def linked_pages(pages: list[str]) -> list[str]:
    """Returns files and folders outside docs/ that the given files link to, directly or through others.

    Args:
        pages: Markdown files, relative to the repository.
    """
    found = dict.fromkeys(pages)
    for page in (queue := list(pages)):
        if page.endswith('.md'):
            markdown = (ROOT / page).read_text(encoding='utf-8')
            new = {target(page, address): None for address, _ in links(markdown) if address}
            queue += [path for path in new if path not in found and not path.startswith('docs/')]
            found |= dict.fromkeys(queue)
    return [path for path in found if not path.startswith('docs/')]


def source(path: str) -> str:
    """Returns a page that shows a file, or all files of a folder."""
    place = ROOT / path
    files = [place] if place.is_file() else sorted(file for file in place.rglob('*') if _is_source(file))
    parts = ['---\nsearch:\n  exclude: true\n---', f'# {path}']
    for file in files:
        parts += [] if file == place else [f'## `{file.relative_to(place).as_posix()}`']
        text = file.read_text(encoding='utf-8').rstrip()
        language = {'.py': 'python', '.toml': 'toml', '.yaml': 'yaml', '.md': 'markdown'}.get(file.suffix, 'text')
        parts.append(f'~~~~~{language}\n{text}\n~~~~~')
    return '\n\n'.join(parts) + '\n'


def _is_source(file: Path) -> bool:
    built = any(part.startswith(('.', '__')) or part.endswith('.egg-info') or part == 'build' for part in file.parts)
    return file.is_file() and not (built and file.name != '__init__.py')


def _is_external(address: str) -> bool:
    return bool(re.match(r'[a-z][a-z+.-]*:', address))
