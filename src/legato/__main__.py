"""`python -m legato` is `legato`."""

import sys

from legato.cli.__main__ import main

sys.exit(main())
