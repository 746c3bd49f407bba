"""The project's only app."""

from __future__ import annotations
