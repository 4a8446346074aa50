from scripts.services import Services
from tests.scripts.services.running import AS_ROOT, kept, write


def test_data_lies_elsewhere_when_the_clone_is_out_of_reach(private: Services) -> None:
    endpoints = private.up()
    write(endpoints, "private")
    place = private.state.folder / "postgres"
    link = place.readlink() if place.is_symlink() else None
    private.kill("postgres")
    private.start("postgres")

    assert kept(endpoints, "private")
    assert place.is_symlink() == AS_ROOT
    assert not AS_ROOT or place.readlink() == link
    private.erase()
    assert link is None or not link.exists()
    assert not place.is_symlink()
