"""Synthetic people: a small visible-infrared data set without any person's picture in it.

`synthesize` writes a whole set in the folder layout of a real one. Below it, `person` draws who somebody is and `draw`
takes one picture of them. Nothing here imports torch.
"""

from __future__ import annotations

from vireid.launch.data_name import STAMP
from vireid.synth.generate import VERSION, Summary, synthesize
from vireid.synth.layouts import LAYOUTS
from vireid.synth.look import Look, person
from vireid.synth.picture import draw

__all__ = ['LAYOUTS', 'STAMP', 'VERSION', 'Look', 'Summary', 'draw', 'person', 'synthesize']
