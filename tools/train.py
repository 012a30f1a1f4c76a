#!/usr/bin/env python3
"""Same as `vireid train`."""

import sys

from vireid.cli import main

sys.exit(main(['train', *sys.argv[1:]]))
