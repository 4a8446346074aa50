import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.conf import LazySettings

from devices import valkey
from devices.valkey import async_connection
from monitoring.live import listener
from monitoring.live.listener import Listener
from monitoring.live.publisher import Publisher, tenant_group
from tests.conftest import Fleet
from tests.monitoring.live.listeners import (
    change,
    lock_out,
    nobody_can_tell_roles,
    run,
    visitor,
)
from tests.waits import LIMIT_S

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("valkey")]


class TestListener:
    def test_hears_the_own_tenant_only_and_the_latest_of_each_device(
        self, acme: Fleet, rival: Fleet
    ) -> None:
        async def hear() -> Any:
            heard = Listener(await visitor(acme), too_slow=pytest.fail)
            await heard.open()
            try:
                Publisher().publish(
                    [change(rival.device), change(acme.device), change(acme.device, "again")]
                )
                return await heard.next(LIMIT_S)
            finally:
                await heard.close()

        batch = run(hear)
        assert [(one["id"], one["reason"]) for one in batch.devices] == [(acme.device.pk, "again")]
        assert batch.message_id.endswith("-0")

    def test_has_a_batch_without_devices_if_nothing_changed(self, acme: Fleet) -> None:
        async def hear() -> Any:
            heard = Listener(await visitor(acme), too_slow=pytest.fail)
            await heard.open()
            batch = await heard.next(0.01)
            await heard.close()
            return batch

        assert run(hear).devices == []

    @pytest.mark.usefixtures("often_asked")
    def test_is_over_when_the_person_is_locked_out(self, acme: Fleet) -> None:
        async def hear() -> Any:
            heard = Listener(await visitor(acme), too_slow=pytest.fail)
            await heard.open()
            await lock_out(acme.manager)
            batch = await heard.next(LIMIT_S)
            await heard.close()
            return batch

        assert run(hear) is None

    @pytest.mark.usefixtures("often_asked")
    def test_is_over_for_who_is_locked_out_while_valkey_is_away(
        self, acme: Fleet, settings: LazySettings
    ) -> None:
        async def hear() -> Any:
            heard = Listener(await visitor(acme), too_slow=pytest.fail)
            await heard.open()
            await async_connection().aclose()
            valkey._of_loops.clear()
            settings.VALKEY_URL = "redis://127.0.0.1:1/0"
            await lock_out(acme.manager)
            batch = await heard.next(LIMIT_S)
            await heard.close()
            return batch

        assert run(hear) is None

    @pytest.mark.usefixtures("often_asked")
    def test_is_over_for_who_is_locked_out_after_the_database_failed(
        self, acme: Fleet, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def hear() -> Any:
            heard = Listener(await visitor(acme), too_slow=pytest.fail)
            await heard.open()
            async with nobody_can_tell_roles(caplog):
                pass
            await lock_out(acme.manager)
            batch = await heard.next(LIMIT_S)
            await heard.close()
            return batch

        assert run(hear) is None

    def test_who_takes_nothing_is_given_up(
        self, acme: Fleet, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.LIVE_COALESCE_S = 0
        monkeypatch.setattr(listener, "SLOW_AFTER_S", 0)

        async def hear() -> bool:
            given_up = asyncio.Event()
            heard = Listener(await visitor(acme), too_slow=given_up.set)
            await heard.open()
            publisher = Publisher()
            async with asyncio.timeout(LIMIT_S):
                while not given_up.is_set():
                    publisher.publish([change(acme.device)])
                    await asyncio.sleep(0.01)
            await heard.close()
            return given_up.is_set()

        assert run(hear)

    def test_who_hears_much_at_once_after_a_pause_is_not_given_up(
        self, acme: Fleet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listener, "SLOW_AFTER_S", 0.5)

        async def say_twice() -> None:
            layer: Any = get_channel_layer()
            for n in (1, 2):
                message = {"type": "devices.changed", "id": f"{n}-0", "devices": [{"id": n}]}
                await layer.group_send(tenant_group(acme.tenant.pk), message)
            await layer.flush()

        async def hear() -> Any:
            heard = Listener(await visitor(acme), too_slow=lambda: given_up.append(True))
            await heard.open()
            taking = asyncio.create_task(heard.next(LIMIT_S))
            await asyncio.wait([taking], timeout=0.6)
            with ThreadPoolExecutor() as others:  # the loop waits until both are sent
                others.submit(asyncio.run, say_twice()).result()
            batch = await taking
            await heard.close()
            return batch

        given_up: list[bool] = []
        assert run(hear).devices == [{"id": 1}, {"id": 2}]
        assert not given_up
