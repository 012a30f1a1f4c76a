"""Imports of a process that has just begun."""

import gc

import pytest

from vireid.cli.startup import importing


def test_no_garbage_is_collected_meanwhile_and_it_is_again_afterwards():
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_error_within_restores_it_too():
    with pytest.raises(ImportError), importing():
        raise ImportError
    assert gc.isenabled()


def test_who_has_turned_it_off_finds_it_off():
    gc.disable()
    try:
        with importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
