"""Applies a fine-tuned model to new texts. Short, so that the logic can be tested: see `morphbert.cli`."""

import sys

from morphbert.cli.predict import main

if __name__ == "__main__":
    sys.exit(main())
