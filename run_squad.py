"""Fine-tunes a model to find answers in paragraphs. Short, so that the logic can be tested: see `morphbert.cli`."""

import sys

from morphbert.cli.run_squad import main

if __name__ == "__main__":
    sys.exit(main())
