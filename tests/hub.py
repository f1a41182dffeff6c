"""A hub at an address of the test."""

from collections.abc import Callable, Iterator

import pytest
from huggingface_hub import constants

from mmrun import hub as hub_module


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return a function that sets the address of the hub; the test counts as online."""
    hub_module.is_hub_reachable.cache_clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_module, "TIMEOUT", 0.3)
    yield lambda address: monkeypatch.setattr(constants, "ENDPOINT", address)
    hub_module.is_hub_reachable.cache_clear()
