"""Fine-tunes a model to tell relations of entities. Short, so that the logic can be tested: see `morphbert.cli`."""

import sys

from morphbert.cli.run_re import main

if __name__ == "__main__":
    sys.exit(main())
