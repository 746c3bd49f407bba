"""A RabbitMQ node in a container, for machines that have Docker and no rabbitmq-server."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, urlsplit

from resonate_amqp.dev.vhosts import Vhosts, amqp_url
from resonate_amqp.errors import BrokerError

if TYPE_CHECKING:
    from testcontainers.community.rabbitmq import RabbitMqContainer

IMAGE = "rabbitmq:4"
DOCKER = "unix:///var/run/docker.sock"

_PORT = 5672
_KNOCK_TIMEOUT = 5.0


class ContainerBroker:
    """A RabbitMQ container that belongs to this process; its data goes with it."""

    def __init__(self, image: str = IMAGE) -> None:
        self._image = image
        self._container: RabbitMqContainer | None = None
        self._vhosts = Vhosts(lambda expression: self.control("eval", expression))

    @property
    def url(self) -> str:
        """The url of the virtual host `/`; raises BrokerError when the container does not run."""
        return self._url("/")

    def start(self) -> None:
        """Start the container and wait until the broker answers; does nothing when it runs.

        Raises BrokerError when the extra `dev` is not installed, when Docker does not answer, or
        when the image cannot be run.
        """
        if self._container is not None:
            return
        container = _container(self._image)
        try:
            container.start()
        except Exception as error:
            container.stop()
            raise BrokerError(f"the container of {self._image} did not start: {error}") from error
        self._container = container

    def stop(self) -> None:
        """Remove the container."""
        container, self._container = self._container, None
        if container is not None:
            container.stop()
            self._vhosts = Vhosts(lambda expression: self.control("eval", expression))

    def new_vhost(self) -> str:
        """The url of a virtual host that nobody used before."""
        return self._url(self._vhosts.take())

    def discard_vhost(self, url: str) -> None:
        """Give back what `new_vhost` gave; the node removes it some time later."""
        self._vhosts.discard(unquote(urlsplit(url).path.removeprefix("/")))

    def control(self, *arguments: str) -> str:
        """What `rabbitmqctl` prints in the container; raises BrokerError when it fails."""
        code, output = self._running().exec(["rabbitmqctl", "--quiet", *arguments])
        text: str = output.decode(errors="replace")
        if code != 0:
            raise BrokerError(
                f"`rabbitmqctl {' '.join(arguments)}` failed ({code}): {text.strip()}"
            )
        return text

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _url(self, vhost: str) -> str:
        container = self._running()
        port = int(container.get_exposed_port(_PORT))
        return amqp_url(container.get_container_host_ip(), port, vhost)

    def _running(self) -> RabbitMqContainer:
        if self._container is None:
            raise BrokerError(f"the container of {self._image} is not running: call start() first")
        return self._container


def _container(image: str) -> RabbitMqContainer:
    try:
        from docker.errors import DockerException
        from testcontainers.community.rabbitmq import RabbitMqContainer
        from testcontainers.core.docker_client import get_docker_host
    except ImportError as error:
        raise BrokerError(
            "testcontainers is not installed: `pip install 'resonate-amqp[dev]'`"
        ) from error
    try:
        _knock(get_docker_host() or DOCKER)
        # Named in full: what is left out is read from the variables of a RabbitMQ nearby.
        return RabbitMqContainer(image, port=_PORT, username="guest", password="guest", vhost="/")
    except (DockerException, OSError) as error:
        raise BrokerError(
            f"Docker does not answer ({error}); start it, or install rabbitmq-server"
        ) from error


def _knock(host: str) -> None:
    """Raise OSError when nobody listens: docker-py leaves its socket open after such a failure."""
    path = host.removeprefix("unix://")
    if path != host:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_KNOCK_TIMEOUT)
            probe.connect(path)
