"""What a reconcile tells the gateway, and when."""

from __future__ import annotations

import pytest

from hatchway.errors import Conflict
from tests.controller.world import Lab


async def test_the_gateway_is_told_only_what_is_new(lab: Lab) -> None:
    await lab.live()
    before = lab.gateway.applied
    for _ in range(3):
        await lab.look()
    assert lab.gateway.applied == before
    await lab.deploy(networking={"endpoint": "/flowers"})
    await lab.look()
    assert lab.gateway.applied == before + 1
    assert [route.endpoint for route in lab.gateway.table.routes] == ["/flowers"]


async def test_what_the_gateway_did_not_take_is_told_again(lab: Lab) -> None:
    await lab.live()
    await lab.deploy(networking={"endpoint": "/flowers"})
    lab.gateway.refuses = True
    for _ in range(2):
        with pytest.raises(Conflict):
            await lab.look()
    lab.gateway.refuses = False
    await lab.look()
    assert [route.endpoint for route in lab.gateway.table.routes] == ["/flowers"]
