#!/usr/bin/env python3
"""Same as `vireid train`."""

import sys

from vireid.cli import main, train

sys.exit(main(sys.argv[1:], command=train))
