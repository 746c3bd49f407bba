"""Every exception of the package: one base, the caller's faults apart from the system's.

The text of each error names the thing, its state and the remedy; what a program may want to read
is an attribute as well.
"""

from __future__ import annotations


class ResonateError(Exception):
    """Base of every error this package raises."""


class UsageError(ResonateError):
    """The call was wrong: repeating it unchanged cannot succeed."""


class UnknownFunction(UsageError):
    """A function was named that is not registered here, and no target says where it is."""


class InvalidId(UsageError):
    """A promise id is empty, too long, or holds a character that ids may not hold."""


class InvalidTarget(UsageError):
    """A target is not one of the address forms of `wire.address`."""


class Conflict(UsageError):
    """The id is taken by another call."""


class Misfit(UsageError):
    """Something inside a value or a message is not what it has to be; `path` names the place."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.path, self.problem))


class Encoding(Misfit):
    """A value cannot be written as JSON, or a recorded value cannot be read.

    `path` names the place inside the value, as in `args[0].price`.
    """


class NonDeterminism(UsageError):
    """A replayed body issued another command than the one its promise recorded."""


class NotDurable(UsageError):
    """A body yielded something that is not a durable command."""


class Stopped(UsageError):
    """The instance was stopped and takes no further calls."""


class Malformed(Misfit):
    """A message is not what the protocol allows; `path` names the offending field."""


class ForeignVersion(Malformed):
    """A message is of another version of the protocol."""


class LedgerError(ResonateError):
    """The ledger did not answer, refused, or cannot use its database.

    After a missing answer the outcome is unknown; the same id may be called again.
    """


class LedgerUnavailable(LedgerError):
    """The ledger's database does not answer; nothing was recorded by this attempt."""


class Superseded(LedgerError):
    """Another ledger was promoted for the same queue; what this one had loaded is void."""


class SchemaError(LedgerError):
    """The database holds a schema that this release does not know."""


class BrokerError(ResonateError):
    """The broker cannot be reached, or lacks what a call needs."""


REMOTE_LINES = "Where it was raised:\n"
"""How the note begins by which a printed RemoteError shows its remote traceback."""


class RemoteError(ResonateError):
    """A durable function failed, somewhere.

    `type_name` is the name of the exception's type where it was raised, `remote_traceback` the
    text of its traceback there, or an empty string; it is printed as a note, below the message.
    """

    def __init__(self, message: str, type_name: str = "", remote_traceback: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.type_name = type_name
        self.remote_traceback = remote_traceback
        if remote_traceback:
            self.add_note(REMOTE_LINES + remote_traceback.rstrip("\n"))

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}" if self.type_name else self.message

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.message, self.type_name, self.remote_traceback))


class Canceled(RemoteError):
    """The promise was canceled."""


class TimedOut(RemoteError):
    """The promise was not settled before its deadline."""
