"""Becomes a program of `make run`: `python -m scripts.program <command …>`.

First it kills what an earlier start of the program left: of a server that was killed, a child may
live on and hold the port. The marks in its environment say which program it is.
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
