"""A hub, and the command line in an empty folder."""

from types import SimpleNamespace

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http

from mmrun import hub as hub_module
from mmrun.deploy import card_metrics
from tests.deploy.fake_hub import TOKEN, FakeHub
from tests.end_to_end.conftest import shell as shell


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that the user is logged in to. huggingface_hub does not wait between its attempts; cards are quick."""
    server = FakeHub()
    hub_module.is_hub_reachable.cache_clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
    template = server.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub_cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no_token"))
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(card_metrics, "RESAMPLES", 5)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    _http.close_session()
    yield server
    _http.close_session()
    server.close()
    hub_module.is_hub_reachable.cache_clear()
