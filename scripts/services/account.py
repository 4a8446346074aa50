"""The account that the services run as."""

import ctypes
import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypedDict

from scripts.services.errors import UnsupportedSystemError


class Identity(TypedDict, total=False):
    """The arguments of `subprocess` that change a child's identity."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """The account that runs the services: `nobody` when root starts them, else the person's own.

    PostgreSQL refuses to run as root.
    """

    name: str
    uid: int
    gid: int
    switched: bool

    @classmethod
    def current(cls) -> Self:
        if os.geteuid() != 0:
            return cls(str(os.geteuid()), os.geteuid(), os.getegid(), switched=False)
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError as error:
            raise UnsupportedSystemError("The system has no user `nobody`.") from error
        return cls(nobody.pw_name, nobody.pw_uid, nobody.pw_gid, switched=True)

    @property
    def identity(self) -> Identity:
        if not self.switched:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def command(self, argv: list[str]) -> list[str]:
        """The command line that becomes `argv` as this account."""
        if not self.switched:
            return argv
        drop = [f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        return ["setpriv", *drop, "--", *argv]

    @contextmanager
    def file_access(self) -> Iterator[None]:
        """Let this thread read files as this account, including `/proc`.

        In a container, even root may not see the working folder of another account's process.
        """
        if not self.switched:
            yield
            return
        system = ctypes.CDLL(None)
        # The group first: only root may change it.
        system.setfsgid(self.gid)
        system.setfsuid(self.uid)
        try:
            yield
        finally:
            system.setfsuid(os.geteuid())
            system.setfsgid(os.getegid())

    def can_enter(self, folder: Path) -> bool:
        """True if this account can enter `folder`; the kernel decides, so ACLs count too."""
        if not self.switched:
            return os.access(folder, os.X_OK)
        enter = subprocess.run(
            ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)],
            cwd="/",
            stderr=subprocess.DEVNULL,
            check=False,
            **self.identity,
        )
        return enter.returncode == 0

    def owns(self, path: Path) -> bool:
        """True if this account owns `path`."""
        return path.stat().st_uid == self.uid

    def give(self, path: Path) -> None:
        """Make this account the owner of `path` and everything below it."""
        if not self.switched:
            return
        os.chown(path, self.uid, self.gid)
        for folder, folders, files in os.walk(path):
            for name in folders + files:
                os.chown(Path(folder, name), self.uid, self.gid, follow_symlinks=False)
