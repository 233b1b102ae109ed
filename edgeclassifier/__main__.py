"""`python -m edgeclassifier`."""

import sys

from edgeclassifier.cli import main

if __name__ == "__main__":
    sys.exit(main())
