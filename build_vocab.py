"""Learns a vocabulary from raw text. Short, so that the logic can be imported and tested: see `morphbert.cli`."""

import sys

from morphbert.cli.build_vocab import main

if __name__ == "__main__":
    sys.exit(main())
