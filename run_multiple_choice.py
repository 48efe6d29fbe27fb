"""Fine-tunes a model to choose among candidates. Short, so that the logic can be tested: see `morphbert.cli`."""

import sys

from morphbert.cli.run_multiple_choice import main

if __name__ == "__main__":
    sys.exit(main())
