"""Who watches a run is called in order, with what it asks for; one that fails is named and never stops the run."""

from __future__ import annotations

import errno
import os
import sys

import pytest

from vireid.errors import WriteFailed
from vireid.plugin_manager.manager import Hooks, PluginManager, hookimpl
from vireid.plugin_manager.observers import Observers


class Watcher:
    def __init__(self, calls: list[str], name: str, error: BaseException | None = None) -> None:
        self.calls, self.name, self.error = calls, name, error

    @hookimpl
    def step_ended(self, progress: object) -> None:
        self.calls.append(f'{self.name} step {progress}')
        if self.error:
            raise self.error

    @hookimpl(trylast=True)
    def run_ended(self, run: object, finished: bool) -> None:
        self.calls.append(f'{self.name} ended {run} {finished}')

    def epoch_ended(self) -> None:
        raise AssertionError('not marked: never called')


def test_each_is_called_in_order_with_what_it_names():
    calls: list[str] = []

    class Early:
        @hookimpl(tryfirst=True)
        def step_ended(self) -> None:
            calls.append('early')

    observers = Observers(Hooks, [('a', Watcher(calls, 'a')), ('b', Watcher(calls, 'b')), ('e', Early())])
    observers.step_ended(run='r', progress=1, record={})
    observers.epoch_ended(run='r', progress=1)
    observers.run_ended(run='r', finished=True)
    assert calls == ['early', 'a step 1', 'b step 1', 'a ended r True', 'b ended r True']


def test_one_that_fails_is_named_once_and_left_out_and_the_others_go_on(capsys):
    calls: list[str] = []
    bad, good = Watcher(calls, 'bad', ValueError('no disk')), Watcher(calls, 'good')
    observers = Observers(Hooks, [("plugin 'bad'", bad), ('logger Good', good)])
    for step in (1, 2):
        observers.step_ended(run='r', progress=step, record={})
    observers.run_ended(run='r', finished=True)
    assert calls == ['bad step 1', 'good step 1', 'good step 2', 'good ended r True']
    assert capsys.readouterr().err == (
        "plugin 'bad' failed in step_ended: ValueError: no disk; it is disabled for the rest of this run\n"
    )


def test_ctrl_c_passes_through():
    observers = Observers(Hooks, [('a', Watcher([], 'a', KeyboardInterrupt()))])
    with pytest.raises(KeyboardInterrupt):
        observers.step_ended(run='r', progress=1, record={})


def test_a_broken_connection_costs_the_logger_that_had_it_and_never_the_run(capsys):
    """What is printed to a closed pipe is another thing: see tests/console/test_streams.py."""
    calls: list[str] = []
    broken = BrokenPipeError(errno.EPIPE, 'Broken pipe')
    observers = Observers(Hooks, [('logger W', Watcher(calls, 'w', broken)), ('b', Watcher(calls, 'b'))])
    for step in (1, 2):
        observers.step_ended(run='r', progress=step, record={})
    assert calls == ['w step 1', 'b step 1', 'b step 2']
    assert 'logger W failed in step_ended: BrokenPipeError: [Errno 32] Broken pipe' in capsys.readouterr().err


def test_one_that_fails_where_nobody_reads_what_it_says_is_left_out_all_the_same(monkeypatch):
    class Gone:
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, 'stderr', Gone())
    calls: list[str] = []
    observers = Observers(Hooks, [('a', Watcher(calls, 'a', ValueError())), ('b', Watcher(calls, 'b'))])
    for step in (1, 2):
        observers.step_ended(run='r', progress=step, record={})
    assert calls == ['a step 1', 'b step 1', 'b step 2']


def test_what_is_no_hook_is_no_attribute():
    with pytest.raises(AttributeError):
        Observers(Hooks, []).step_begun()


def test_a_plugin_that_fails_does_not_stop_a_run(small_sysu, tmp_path, make_small, capsys):
    from vireid.launch.launch import train
    from vireid.plugin_manager.manager import create_manager

    class Bad:
        @hookimpl
        def step_ended(self, record: dict) -> None:
            record['nothing']

    manager: PluginManager = create_manager()
    manager.register(Bad(), 'bad')
    results = train(make_small(small_sysu, 'training.epochs=1', manager=manager), tmp_path)
    assert results.rows()
    assert capsys.readouterr().err.count("plugin 'bad' failed in step_ended: KeyError: 'nothing'") == 1


def test_a_full_disk_stops_the_run_when_all_have_been_called():
    class Full:
        @hookimpl
        def run_ended(self) -> None:
            raise OSError(errno.ENOSPC, 'No space left on device')

    class Last:
        calls = 0

        @hookimpl
        def run_ended(self) -> None:
            Last.calls += 1

    observers = Observers(Hooks, [('the log', Full()), ('the bar', Last())])
    for calls in (1, 2):  # it is not left out: the disk may be fixed
        with pytest.raises(WriteFailed, match=os.strerror(errno.ENOSPC)):
            observers.run_ended()
        assert Last.calls == calls
