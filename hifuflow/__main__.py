"""`python -m hifuflow COMMAND ...`: the same as the console script `hifuflow`."""

import sys

from hifuflow.study.commands import main

if __name__ == "__main__":
    sys.exit(main())
