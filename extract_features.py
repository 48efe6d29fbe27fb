"""Writes hidden states of texts. Short, so that the logic can be imported and tested: see `morphbert.cli`."""

import sys

from morphbert.cli.extract_features import main

if __name__ == "__main__":
    sys.exit(main())
