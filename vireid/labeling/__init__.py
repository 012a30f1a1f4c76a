"""Labeling: groups the tracks of unnamed crops, asks who is who, and writes the table of the people."""

from __future__ import annotations
