"""Makes TFRecords from text. Short, so that the logic can be imported and tested: see `morphbert.cli`."""

import sys

from morphbert.cli.create_pretraining_data import main

if __name__ == "__main__":
    sys.exit(main())
