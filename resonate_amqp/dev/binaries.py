"""Where RabbitMQ's programs are on this machine."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from resonate_amqp.errors import BrokerError

# Debian's wrappers in /usr/sbin insist on root and change the user: the scripts behind them do not.
UNWRAPPED = Path("/usr/lib/rabbitmq/bin")


@dataclass(frozen=True, slots=True)
class Binaries:
    """The programs that a private node is made of."""

    server: Path
    control: Path
    epmd: Path


def find(unwrapped: Path | None = None) -> Binaries:
    """The programs installed here; raises BrokerError, naming the remedy, when one is missing."""
    place = unwrapped or UNWRAPPED
    path = str(place) if (place / "rabbitmq-server").exists() else None
    return Binaries(
        server=_program("rabbitmq-server", path),
        control=_program("rabbitmqctl", path),
        epmd=_program("epmd", None),
    )


def installed() -> bool:
    """Whether a private node can be started here."""
    try:
        find()
    except BrokerError:
        return False
    return True


def _program(name: str, path: str | None) -> Path:
    found = shutil.which(name, path=path)
    if found is None:
        raise BrokerError(
            f"{name} is not installed here: install rabbitmq-server 3.8 or later (`make system`, "
            "or `apt-get install rabbitmq-server`), or set RESONATE_AMQP_TEST_URL to a broker's url"
        )
    return Path(found)
