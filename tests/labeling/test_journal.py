"""Answers survive crashes: none is lost, none counts twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from vireid.errors import DamagedFile, WriteFailed
from vireid.labeling.journal import Journal, answer

WRITER = """
import sys
from pathlib import Path
from vireid.labeling.journal import Journal, answer
journal = Journal(Path(sys.argv[1]))
for number in range(len(journal.answers), 100_000):
    journal.append(answer('people', [str(number)], same=[['x' * 3000]]))
    print(number, flush=True)
"""


def test_answers_are_read_as_they_were_given(tmp_path):
    journal = Journal(tmp_path)
    given = [answer('people', ['a'], same=[['b'], ['c', 'd']], different=[['e']]), answer('name', ['a'], name='Zoë')]
    for each in given:
        journal.append(each)
    assert Journal(tmp_path).answers == given


def test_undo_takes_the_last_answer_back_and_again_the_one_before(tmp_path):
    journal = Journal(tmp_path)
    for kind in ('people', 'skip', 'undo', 'undo', 'undo', 'name'):
        journal.append(answer(kind, ['a'], name='x'))
    assert [(number, given['kind']) for number, given in journal.held()] == [(6, 'name')]


def test_a_line_that_a_crash_cut_off_is_removed_and_the_next_answer_is_a_line_of_its_own(tmp_path):
    Journal(tmp_path).append(answer('people', ['a']))
    with (tmp_path / 'answers.jsonl').open('a') as file:
        file.write('{"time": "2026')
    journal = Journal(tmp_path)
    assert [given['tracks'] for given in journal.answers] == [['a']]
    journal.append(answer('people', ['b']))
    assert [given['tracks'] for given in Journal(tmp_path).answers] == [['a'], ['b']]


def test_after_kill_9_every_confirmed_answer_is_there_once(tmp_path):
    confirmed = -1
    for lines in (1, 7, 20):
        writer = subprocess.Popen([sys.executable, '-c', WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(lines):
            confirmed = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        numbers = [int(given['tracks'][0]) for given in Journal(tmp_path).answers]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) > confirmed


@pytest.mark.parametrize(
    'line', ['{}', '[]', 'null', '{"time": 1}', '\x00', json.dumps({**answer('skip'), 'kind': 'other'}), '[' * 5000]
)
def test_a_damaged_line_is_named(tmp_path, line):
    Journal(tmp_path).append(answer('people', ['a']))
    with (tmp_path / 'answers.jsonl').open('a') as file:
        file.write(f'{line}\n')
    with pytest.raises(DamagedFile, match=r'answers\.jsonl .*line 2'):
        Journal(tmp_path)


def test_an_answer_that_cannot_be_saved_is_told(tmp_path):
    (tmp_path / 'answers.jsonl').symlink_to(tmp_path / 'other')
    with pytest.raises(WriteFailed, match=r'answers\.jsonl'):
        Journal(tmp_path).append(answer('people', ['a']))
    assert not (tmp_path / 'other').exists()
