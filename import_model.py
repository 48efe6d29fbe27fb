"""Imports a pretrained model. Short, so that the logic can be imported and tested: see `morphbert.cli`."""

import sys

from morphbert.cli.import_model import main

if __name__ == "__main__":
    sys.exit(main())
