"""Runs a generator as a separate process: it gets a job on stdin and writes a result to stdout."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import msgspec

Result = TypeVar("Result")


class PinnedJob(Protocol):
    """Any job; it runs on `cores`, or on all cores if the list is empty."""

    cores: list[int]


Job = TypeVar("Job", bound=PinnedJob)


async def child_run(module: str, job: object, result: type[Result]) -> Result:
    """Does the job in a process that runs the module; returns its result."""
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
    """The main function of such a process: reads a job, does it and writes the result."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=kind)
    if job.cores:
        os.sched_setaffinity(0, job.cores)
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(run(job))))
