#!/usr/bin/env python3
"""Same as `vireid test`."""

import sys

from vireid.cli import main, test

sys.exit(main(sys.argv[1:], command=test))
