"""Errors cross process boundaries, such as those of a pool, as what they are."""

from __future__ import annotations

import pickle

import pytest

from resonate_amqp import errors

RAISED = [
    errors.Conflict("taken"),
    errors.Encoding("args[0].price", "NaN is not a number"),
    errors.Malformed("promise.id", "missing"),
    errors.ForeignVersion("version", "it is another one"),
    errors.RemoteError("declined", "shop.Declined", "Traceback …"),
    errors.TimedOut("too late"),
]


@pytest.mark.parametrize("raised", RAISED, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling(raised: errors.ResonateError) -> None:
    copied = pickle.loads(pickle.dumps(raised))
    assert (type(copied), str(copied), vars(copied)) == (type(raised), str(raised), vars(raised))
