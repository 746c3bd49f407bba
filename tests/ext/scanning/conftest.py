"""Fixtures of these tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ext.scanning.texts import Texts


@pytest.fixture
def texts(tmp_path: Path) -> Texts:
    return Texts(tmp_path)
