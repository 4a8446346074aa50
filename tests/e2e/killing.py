"""Kills a part of the stack with SIGKILL and starts it again, as a supervisor would."""

from scripts.stack import Stack


def kill_ingest(stack: Stack) -> None:
    stack.kill("ingest")
    stack.start("ingest")


def kill_drain(stack: Stack) -> None:
    stack.kill("drain")
    stack.start("drain")


def kill_valkey(stack: Stack) -> None:
    stack.kill_service("valkey")
    stack.start_service("valkey")


def kill_postgres(stack: Stack) -> None:
    stack.kill_service("postgres")
    stack.start_service("postgres")
