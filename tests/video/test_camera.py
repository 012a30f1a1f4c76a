"""The number of a camera, as given on the command line."""

from __future__ import annotations

import re

import pytest

from vireid.errors import WrongValue
from vireid.video.camera import parse_camera


@pytest.mark.parametrize(('text', 'number'), [('3', 3), ('cam3', 3), ('Cam 03', 3)])
def test_a_number_or_the_name_of_a_folder(text, number):
    assert parse_camera(text) == number


@pytest.mark.parametrize('text', ['-2', '', 'door', 'cam', '3.5'])
def test_anything_else_is_refused(text):
    with pytest.raises(WrongValue, match=re.escape(repr(text))):
        parse_camera(text)
