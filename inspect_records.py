"""Shows and checks record files. Short, so that the logic can be imported and tested: see `morphbert.cli`."""

import sys

from morphbert.cli.inspect_records import main

if __name__ == "__main__":
    sys.exit(main())
