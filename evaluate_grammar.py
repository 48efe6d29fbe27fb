"""Scores grammar with minimal pairs. Short, so that the logic can be imported and tested: see `morphbert.cli`."""

import sys

from morphbert.cli.evaluate_grammar import main

if __name__ == "__main__":
    sys.exit(main())
