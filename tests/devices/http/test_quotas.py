from devices.http.quotas import Quota


def test_a_person_holds_so_many_and_others_find_one_too() -> None:
    quota = Quota()
    mine = [quota.take(1, most=2) for _ in range(2)]
    assert all(mine)
    assert quota.take(1, most=2) is None
    assert quota.take(2, most=2)


def test_all_people_together_hold_so_many() -> None:
    quota = Quota(at_once=2)
    held = [quota.take(person, most=2) for person in (1, 2)]
    assert all(held)
    assert quota.take(3, most=2) is None


def test_a_slot_is_free_once_it_is_given_back_or_nobody_refers_to_it() -> None:
    quota = Quota(at_once=1)
    slot = quota.take(1, most=1)
    assert slot
    slot.give_back()
    slot.give_back()

    forgotten = quota.take(2, most=1)
    assert forgotten
    assert quota.take(1, most=1) is None
    del forgotten

    assert quota.take(1, most=1)
