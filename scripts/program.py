"""Runs a program of `make run` in place of this process: `python -m scripts.program <command …>`.

First it kills what is left of an earlier start: if a server was killed, a child may survive and
hold its port. The marks in the environment say which program this is.
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

from scripts.services.marks import PROGRAM, STATE, marked_kill


def main() -> NoReturn:
    marked_kill(Path(os.environ[STATE]), os.environ[PROGRAM])
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
