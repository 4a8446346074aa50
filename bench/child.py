"""A generator as a process of its own: a job on its stdin, a result on its stdout."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import msgspec

Result = TypeVar("Result")


class PinnedJob(Protocol):
    """Any job; it runs on these cores, on all if there are none."""

    cores: list[int]


Job = TypeVar("Job", bound=PinnedJob)


async def child_run(module: str, job: object, result: type[Result]) -> Result:
    """Does the job in a process that runs the module, and returns what happened."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(msgspec.json.encode(job))
    if process.returncode != 0:
        raise RuntimeError("the generator failed")
    return msgspec.json.decode(output, type=result)


def child_main(kind: type[Job], run: Callable[[Job], Coroutine[Any, Any, object]]) -> None:
    """What such a process does: the job that it is given."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=kind)
    if job.cores:
        os.sched_setaffinity(0, job.cores)
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(run(job))))
