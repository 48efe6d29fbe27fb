"""Raw text → BERT's input format. Short, so that the logic can be imported and tested: see `morphbert.cli`."""

import sys

from morphbert.cli.prepare_corpus import main

if __name__ == "__main__":
    sys.exit(main())
