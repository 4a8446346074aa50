import pytest

from scripts.services import Name, Services
from scripts.services.ports import port_choose
from tests.scripts.services.running import NAMES, listen, ports


@pytest.mark.parametrize("name", NAMES)
def test_another_port_is_chosen_and_remembered_when_taken(services: Services, name: Name) -> None:
    old = ports(services)[name]
    assert old is not None
    services.stop(name)

    with listen(old):
        services.start(name)
        new = ports(services)[name]
        assert new != old
    services.stop(name)
    services.start(name)

    assert ports(services)[name] == new


def test_first_free_port_is_chosen() -> None:
    with listen() as taken, listen() as free:
        free_port = free.getsockname()[1]
        free.close()
        assert port_choose(taken.getsockname()[1], free_port) == free_port
        assert port_choose(taken.getsockname()[1]) != taken.getsockname()[1]
