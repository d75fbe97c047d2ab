"""`python -m llm_tokenizer`: the command line."""

import sys

from llm_tokenizer.cli import main

if __name__ == "__main__":
    sys.exit(main())
