"""rich on a terminal: its own escape sequences take effect, those in the text it prints are escaped."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderHook
from rich.file_proxy import FileProxy
from rich.segment import Segment

from vireid.boundary.showing import printable
from vireid.console.streams import terminal


class Terminal(Console):
    """A rich console on `sys.stdout` for text from outside: names of files, tasks and plugins.

    Args:
        **options: those of rich's `Console`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(file=terminal(), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yields the segments to write; all text is printable and has no links."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
                continue
            style = segment.style
            yield Segment(printable(segment.text), style.update_link(None) if style and style.link else style)

    def push_render_hook(self, hook: RenderHook) -> None:
        """Starts a progress bar; rich would interpret escape sequences in what others print meanwhile, so escape it."""
        super().push_render_hook(hook)
        for name in ('stdout', 'stderr'):
            stream = getattr(sys, name)
            if isinstance(stream, FileProxy):
                setattr(sys, name, _Shown(stream))  # rich later restores the original


class _Shown(FileProxy):
    """Prints while a progress bar is shown. Being a FileProxy, it is not wrapped again by another bar."""

    def __init__(self, proxy: FileProxy) -> None:
        self._proxy = proxy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._proxy, name)

    @property
    def rich_proxied_file(self) -> Any:
        return self._proxy.rich_proxied_file

    def write(self, text: str) -> int:
        self._proxy.write(printable(text.strip('\r')))
        return len(text)

    def flush(self) -> None:
        self._proxy.flush()

    def fileno(self) -> int:
        return self._proxy.fileno()

    def isatty(self) -> bool:
        return self._proxy.isatty()
