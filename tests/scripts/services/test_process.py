import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from scripts.services import Name, Services, process
from scripts.services.account import Account
from tests.scripts.services.running import NAMES, alive, pids


@pytest.mark.parametrize("name", NAMES)
def test_stranger_lives_on_when_a_stale_pid_file_names_it(services: Services, name: Name) -> None:
    services.kill(name)
    file = {"postgres": "postgres/data/postmaster.pid", "valkey": "valkey/valkey.pid"}[name]
    stranger = subprocess.Popen(["sleep", "600"], **Account.current().identity)
    lines = (services.state.folder / file).read_text().splitlines()
    (services.state.folder / file).write_text("\n".join([str(stranger.pid), *lines[1:], ""]))

    services.start(name)
    services.stop(name)

    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_what_runs_in_a_removed_folder_is_killed_when_started_again(open_folder: Path) -> None:
    services = Services(open_folder / "removed")
    services.start("valkey")
    orphan = pids(services)["valkey"]
    shutil.rmtree(services.state.folder / "valkey")
    services.state.forget()

    services.start("valkey")

    assert orphan is not None
    assert process.wait_until(lambda: not alive(orphan), 10)
    services.erase()


def test_process_with_the_same_program_elsewhere_is_not_ours(tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "600"], cwd="/")

    process.processes_kill("sleep", tmp_path, Account.current())

    assert stranger.poll() is None
    stranger.send_signal(signal.SIGKILL)
    stranger.wait()
