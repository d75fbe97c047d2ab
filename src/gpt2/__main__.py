"""`python -m gpt2`: the command line."""

import sys

from gpt2.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
