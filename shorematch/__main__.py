"""``python -m shorematch``: the command where no script is on the path."""

from shorematch.cli import main

if __name__ == "__main__":
    main()
