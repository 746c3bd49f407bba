"""A broker of each kind, for one body of contract tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.brokers.party import MemorySite, Party, RabbitSite, Site


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    made: Site
    if request.param == "memory":
        made = MemorySite()
    else:
        made = RabbitSite(request.getfixturevalue("vhost_url"))
    yield made
    made.close()


@pytest.fixture
def party(site: Site) -> Party:
    return site.connect()
