"""`python -m mmrun` is `mmrun`."""

import sys

from mmrun.cli import main

if __name__ == "__main__":
    sys.exit(main())
