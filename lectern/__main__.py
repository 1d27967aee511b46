"""`python -m lectern`."""

from __future__ import annotations

import sys

from lectern.cli import main

if __name__ == "__main__":
    sys.exit(main())
