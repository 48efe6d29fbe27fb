"""Shows a pretraining run as an HTML page. Short, so that the logic can be imported and tested: see `morphbert.cli`."""

import sys

from morphbert.cli.training_report import main

if __name__ == "__main__":
    sys.exit(main())
