"""Killed at moments chosen by seed, in every phase, a resumed run ends as one that was left alone, bit for bit.

The long version: `python benchmarks/faults.py --kills 200`.
"""

from __future__ import annotations

import re

import faults
import pytest
import torch


@pytest.mark.long
def test_a_kill_in_each_phase_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr('sys.argv', ['faults.py', '--kills', '4', '--seed', '0'])
    monkeypatch.setenv('VIREID_START_METHOD', 'fork')  # each run would start a server of its own
    threads = torch.get_num_threads()
    try:
        status = faults.main()  # what it kills are processes that it forks
    finally:
        torch.set_num_threads(threads)
    out, err = capfd.readouterr()
    assert status == 0, out + err
    last = out.splitlines()[-1]
    assert last.startswith('4 of 4 killed runs ended as the uninterrupted one, bit for bit'), last
    assert re.findall(r'1 (\w+) \(of', last) == ['step', 'between', 'saving', 'scoring']
