"""Fine-tunes a model to find entities in texts. Short, so that the logic can be tested: see `morphbert.cli`."""

import sys

from morphbert.cli.run_ner import main

if __name__ == "__main__":
    sys.exit(main())
