"""`python -m metamine` is `metamine`."""

import sys

from metamine.cli import main

sys.exit(main())
