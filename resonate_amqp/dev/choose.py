"""Which broker to work with: the one that was named, else a private node, else a container."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol

from resonate_amqp.dev.binaries import installed
from resonate_amqp.dev.broker import PrivateBroker
from resonate_amqp.dev.container import ContainerBroker
from resonate_amqp.dev.foreign import ForeignBroker
from resonate_amqp.errors import BrokerError
from resonate_amqp.settings import PREFIX

TEST_URL = PREFIX + "TEST_URL"


class ChosenBroker(Protocol):
    """A broker that answers, however it came to run."""

    @property
    def url(self) -> str:
        """The url of a virtual host that exists."""

    def new_vhost(self) -> str:
        """The url of a virtual host that nobody used before."""

    def discard_vhost(self, url: str) -> None:
        """Give back what `new_vhost` gave."""

    def stop(self) -> None:
        """End what was started, and remove what was made."""


def choose(environ: Mapping[str, str] = os.environ) -> ChosenBroker:
    """A running broker: that of RESONATE_AMQP_TEST_URL, a private node, or a container.

    Raises BrokerError when there is none, naming what would help, and when the first that there
    is does not come up.
    """
    if environ.get(TEST_URL):
        return ForeignBroker(environ[TEST_URL])
    if installed():
        private = PrivateBroker()
        private.start()
        return private
    container = ContainerBroker()
    try:
        container.start()
    except BrokerError as error:
        raise BrokerError(
            f"no broker: {TEST_URL} is not set, rabbitmq-server is not installed "
            f"(`make system` installs it), and no container could be started ({error})"
        ) from error
    return container
