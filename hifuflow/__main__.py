"""`python -m hifuflow COMMAND ...`: the same as the console script `hifuflow`."""

import sys

from hifuflow.study.command_line import main

if __name__ == "__main__":
    sys.exit(main())
