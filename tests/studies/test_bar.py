"""`vireid.studies.bar`: the progress of one of several runs, where the output is not a terminal."""

from __future__ import annotations

from types import SimpleNamespace

from vireid.core.types import Progress
from vireid.studies.bar import Bar


def lines_of(bar: Bar, capsys) -> list[str]:
    bar.run_started(SimpleNamespace(progress=Progress(0, 0, 5, 10)))
    bar.step_ended(Progress(0, 4, 5, 10))
    bar.evaluating('embedding images', 1024, 6775)
    bar.run_ended()
    return capsys.readouterr().out.splitlines()


def test_training_and_evaluation_print_lines_of_their_run(capsys):
    lines = lines_of(Bar('agw seed 0', every=0), capsys)
    assert lines == ['agw seed 0: step 4 of 10', 'agw seed 0: embedding images, 1,024 of 6,775']


def test_there_is_at_most_one_line_in_each_interval(capsys):
    assert lines_of(Bar('agw seed 0', every=1000), capsys) == []


def test_a_run_that_is_scored_again_shows_it_too(capsys):
    """There is no training that would start the bar."""
    bar = Bar('agw seed 0, sysu/official', every=0)
    bar.evaluating('scoring trials', 3, 40)
    bar.run_ended()
    assert capsys.readouterr().out == 'agw seed 0, sysu/official: scoring trials, 3 of 40\n'
