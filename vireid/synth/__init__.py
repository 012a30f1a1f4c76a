"""Synthetic people: a small visible-infrared dataset that contains no image of a real person.

`synthesize` writes a complete dataset in the folder layout of a real one. `person` draws the appearance of an identity,
and `draw` renders one image of it. Nothing here imports torch.
"""

from __future__ import annotations

from vireid.launch.data_name import STAMP
from vireid.synth.generate import VERSION, Summary, synthesize
from vireid.synth.layouts import LAYOUTS
from vireid.synth.look import Look, person
from vireid.synth.picture import draw

__all__ = ['LAYOUTS', 'STAMP', 'VERSION', 'Look', 'Summary', 'draw', 'person', 'synthesize']
