"""``python -m latticewatch``."""

import sys

from latticewatch.cli import main

if __name__ == "__main__":
    sys.exit(main())
