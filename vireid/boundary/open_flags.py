"""Flags of `os.open` for files from outside, by platform."""

from __future__ import annotations

import os
import sys

if sys.platform == 'win32':
    # bytes stay as they are; ordinary paths lead to no links, pipes or devices
    BINARY, NO_FOLLOW, NO_BLOCK = os.O_BINARY, 0, 0
else:
    # rejects links; opens pipes without waiting for a writer, and terminals without becoming their process
    BINARY, NO_FOLLOW, NO_BLOCK = 0, os.O_NOFOLLOW, os.O_NONBLOCK | os.O_NOCTTY
