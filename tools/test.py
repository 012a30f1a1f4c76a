#!/usr/bin/env python3
"""Same as `vireid test`."""

import sys

from vireid.cli import main

sys.exit(main(['test', *sys.argv[1:]]))
