"""Exports a trained model. Short, so that the logic can be imported and tested: see `morphbert.cli`."""

import sys

from morphbert.cli.export_model import main

if __name__ == "__main__":
    sys.exit(main())
