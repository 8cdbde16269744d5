"""`python -m aam_nb.cli`: the same command line, for launchers of several processes such as torchrun."""

import sys

from aam_nb.cli import main

sys.exit(main())
