"""`python -m morphbert COMMAND …`: see `morphbert.cli.main`."""

import sys

from morphbert.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
