"""What enters the keys of stored results: code and versions."""

from mmrun import code_version
from mmrun.data.preprocess.image import Pixels
from mmrun.training import reuse


def test_a_package_of_mmrun_has_a_digest_of_its_own():
    data = code_version.digest_package(("data",))
    assert data == code_version.digest_package(("data",))
    assert data != code_version.digest_package(("models",)) != code_version.digest_package()
    assert code_version.digest_package() != code_version.digest_package(without=("run",))


def test_only_what_computes_nothing_is_left_out_of_the_keys_of_stages():
    assert reuse.UNRELATED == ("api.py", "cli", "deploy", "evaluation", "results", "search")


def test_the_code_of_a_class_of_ours_is_that_of_its_package():
    assert code_version.digest_code_of(Pixels, ("data",)) == [code_version.digest_package(("data",))]


def test_other_versions_of_a_library_change_the_key_of_a_result(monkeypatch):
    versions = code_version.library_versions()
    assert versions["timm"] is not None
    assert versions["python"].startswith("3.")
    key = reuse.result_key({})
    assert reuse.result_key({}) == key
    monkeypatch.setattr(code_version, "library_versions", lambda: {**versions, "timm": "0.1"})
    assert reuse.result_key({}) != key
