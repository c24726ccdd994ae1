"""`python -m loralab` is `loralab`."""

from loralab.cli import main

if __name__ == "__main__":
    main()
