"""`python -m aam_nb.cli`, as launchers of several processes call it."""

import sys

from aam_nb.cli import main

sys.exit(main())
