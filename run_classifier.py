"""Fine-tunes a model on labelled sentences. Short, so that the logic can be tested: see `morphbert.cli`."""

import sys

from morphbert.cli.run_classifier import main

if __name__ == "__main__":
    sys.exit(main())
