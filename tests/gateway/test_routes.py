import pytest

from hatchway.errors import Conflict
from hatchway.gateway.routes import Route, RouteTable


def test_two_apis_cannot_claim_one_endpoint() -> None:
    with pytest.raises(Conflict, match="the APIs iris and other both claim the endpoint /iris"):
        RouteTable((Route("iris", "/iris"), Route("other", "/iris")))


def test_an_api_is_listed_once() -> None:
    with pytest.raises(Conflict, match="listed twice"):
        RouteTable((Route("iris", "/iris"), Route("iris", "/other")))
