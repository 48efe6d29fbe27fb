"""Pretrains BERT on TFRecords. Short, so that the logic can be imported and tested: see `morphbert.cli`."""

import sys

from morphbert.cli.run_pretraining import main

if __name__ == "__main__":
    sys.exit(main())
