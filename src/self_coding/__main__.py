"""`python -m self_coding`: the same as the console script."""

from self_coding.cli import main

if __name__ == "__main__":
    main()
