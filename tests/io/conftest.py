"""Fixtures of the shells to the world."""

from __future__ import annotations

import pytest

from rtmedia.io.waiting import Receiver


@pytest.fixture(params=["one call", "three calls"])
def each_way_of_reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on POSIX systems, and as where they have no `poll`."""
    if request.param == "three calls":
        monkeypatch.setattr(Receiver, "works_here", staticmethod(lambda: False))
    elif not Receiver.works_here():
        pytest.skip("this system reads in three calls only")
