"""What is known of a plugin."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PluginInfo:
    """One line of `vireid plugins`.

    Attributes:
        name: entry-point name, or the file's path.
        version: version of the distribution that contains it; empty for a file.
        distribution: name of that distribution; empty for a file.
        components: how many names it registered.
        commands: the commands it adds to the command line.
        configs: its folders of configs.
        observes: whether it watches runs.
        status: `active`, `disabled` (by the user), `broken` (it raised), `conflict` (a name is taken) or `incompatible`
            (its hooks do not fit).
        reason: why it is not active; empty if it is.
    """

    name: str
    version: str
    distribution: str
    components: int = 0
    commands: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    observes: bool = False
    status: str = 'active'
    reason: str = ''

    def line(self) -> str:
        """Says what is wrong with it, in one line."""
        source = f' ({self.distribution} {self.version})' if self.distribution else ''
        reason = ' '.join(self.reason.split())  # whatever the plugin raised may have lines of its own
        return f'plugin {self.name!r}{source} is {self.status}: {reason}'


@dataclass(frozen=True)
class Command:
    """A command that a plugin adds to the command line: its module, what `--help` says of it, and whose it is."""

    module: str
    help: str
    plugin: str
