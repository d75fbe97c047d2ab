"""`python -m gpt2`: the command line."""

from gpt2.cli.main import program

if __name__ == "__main__":
    program()
