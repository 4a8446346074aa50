"""A Valkey Cluster of three real nodes on the loopback address, none of which has a replica."""

from functools import partial
from pathlib import Path
from typing import Any

import redis

from scripts.services.account import Account
from scripts.services.packages import programs_install
from scripts.services.ports import ADDRESS, port_choose
from scripts.services.state import Record, State
from scripts.services.valkey import Valkey
from scripts.waiting import await_condition
from tests.waits import LIMIT_S

SLOTS = 16_384
NODES = 3

SETTINGS = """
cluster-enabled yes
cluster-config-file nodes.conf
cluster-port {port}
cluster-node-timeout 1000
# An unavailable node affects only its own slots.
cluster-require-full-coverage no
"""


class Node:
    """One node; it keeps its ports and its data when it is killed and started again."""

    def __init__(self, state: State, number: int, password: str) -> None:
        self.name = f"cluster-{number}"
        self.port = port_choose()
        self.bus_port = port_choose()
        self._state = state
        self._record = Record(password=password)
        self.client: Any = redis.Redis(port=self.port, password=password)

    @property
    def _valkey(self) -> Valkey:
        account = Account.current()
        home = self._state.home(self.name, account)
        valkey = Valkey(home, account=account, record=self._record)
        valkey.more = SETTINGS.format(port=self.bus_port)
        return valkey

    def start(self) -> None:
        """Returns when the node answers."""
        programs = programs_install()
        valkey = self._valkey
        valkey.prepare(programs)
        valkey.launch(programs, self.port)
        valkey.await_ready(programs, self.port)

    def kill(self) -> None:
        """Kills the node with SIGKILL."""
        self._valkey.kill()

    def erase(self) -> None:
        self._valkey.kill()
        self._state.home_remove(self.name)

    def shards(self, number: int) -> list[int]:
        """Which of the first `number` shards have their stream on this node."""
        held = {key.decode() for key in self.client.scan_iter(match="ingest:{*}")}
        return [shard for shard in range(number) if f"ingest:{{{shard}}}" in held]

    def knows_all(self) -> bool:
        """Whether the node is in a cluster with all slots and all nodes."""
        said = self.client.execute_command("CLUSTER INFO")
        return (said["cluster_state"], said["cluster_known_nodes"]) == ("ok", str(NODES))


class Cluster:
    """Nodes with a third of the slots each. `url` names all of them, as INGEST_STREAM_URL does."""

    def __init__(self, folder: Path) -> None:
        password = Record().password
        state = State(folder)
        self.nodes = [Node(state, number, password) for number in range(NODES)]
        hosts = ",".join(f"{ADDRESS}:{node.port}" for node in self.nodes)
        self.url = f"valkey+cluster://:{password}@{hosts}/0"

    def up(self) -> None:
        """Starts the nodes, empties them and joins them."""
        first, *others = self.nodes
        for number, node in enumerate(self.nodes):
            node.erase()
            node.start()
            low, high = SLOTS * number // NODES, SLOTS * (number + 1) // NODES - 1
            node.client.execute_command("CLUSTER ADDSLOTSRANGE", low, high)
        for node in others:
            first.client.execute_command("CLUSTER MEET", ADDRESS, node.port, node.bus_port)
        self.await_whole()

    def await_whole(self) -> None:
        """Returns when every node sees every other one."""
        for node in self.nodes:
            await_condition(partial(node.knows_all), LIMIT_S, f"{node.name} to join")

    def waiting(self, shard: int) -> int:
        """How many entries the shard's stream holds."""
        (node,) = (one for one in self.nodes if shard in one.shards(shard + 1))
        return int(node.client.xlen(f"ingest:{{{shard}}}"))

    def erase(self) -> None:
        """Kills the nodes and removes their data."""
        for node in self.nodes:
            node.erase()
