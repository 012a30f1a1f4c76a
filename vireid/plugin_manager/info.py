"""Records of plugins and their commands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PluginInfo:
    """One line of `vireid plugins`.

    Attributes:
        name: the entry-point name, or the path of a file.
        version: version of the distribution that contains it; empty for a file.
        distribution: name of that distribution; empty for a file.
        components: number of components it registered.
        commands: the commands it adds to the command line.
        configs: its folders of configs.
        observes: whether it has callbacks for runs.
        status: `active`, `disabled` (by the user), `broken` (it raised), `conflict` (a name is taken) or `incompatible`
            (its hooks do not match this vireid).
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
        """Returns one line that says why the plugin cannot be used."""
        source = f' ({self.distribution} {self.version})' if self.distribution else ''
        reason = ' '.join(self.reason.split())  # an exception of the plugin may have several lines
        return f'plugin {self.name!r}{source} is {self.status}: {reason}'


@dataclass(frozen=True)
class Command:
    """A command that a plugin adds to the command line: its module, its `--help` text, and the name of the plugin."""

    module: str
    help: str
    plugin: str
