import pytest

from mmrun.augment_overrides import rewrite_augmentation
from mmrun.errors import ConfigError

KINDS = {"photo": "image", "scan": "image", "text": "text"}
ALL_KINDS = ("image", "text", "audio")
LIGHT = {"augment": "light", "augment.image": "light", "augment.text": "light"}


def rewrite(*overrides, choices=LIGHT):
    return rewrite_augmentation(overrides, KINDS, ALL_KINDS, choices, {} if choices else None)


def test_a_modality_gets_an_augmentation_of_its_own():
    assert rewrite("seed=1", "augment.photo=trivial") == ["seed=1", "augment.by_modality.photo=trivial"]
    assert rewrite("augment.photo=null") == ["augment.by_modality.photo=null"]


def test_a_kind_is_all_modalities_of_that_kind():
    overrides = ["augment=light", "augment.image=trivial", "augment.text.drop=0.1"]  # text is a modality as well
    assert rewrite(*overrides) == overrides


def test_a_key_of_a_modality_changes_a_copy_of_the_augmentation_of_its_kind():
    copied = ["augment.by_modality.photo=light", "augment.by_modality.photo.flip=0.5"]
    assert rewrite("augment.photo.flip=0.5") == copied
    assert rewrite("augment.photo.flip=0.5", "augment.photo.crop=1")[2:] == ["augment.by_modality.photo.crop=1"]
    chosen = rewrite("augment.image=strong", "augment.photo.flip=0.5")
    assert chosen[1] == "augment.by_modality.photo=strong"
    own = rewrite("augment.photo=strong", "augment.photo.flip=0.5")
    assert own == ["augment.by_modality.photo=strong", "augment.by_modality.photo.flip=0.5"]


def test_a_choice_for_a_kind_needs_no_other_augmentation():
    assert rewrite("augment.image=trivial", choices={}) == ["augment=none", "augment.image=trivial"]
    assert rewrite("seed=1", choices={}) == ["seed=1"]


@pytest.mark.parametrize(
    ("override", "choices", "message"),
    [
        (
            "augment.phto=light",
            LIGHT,
            "augment.phto=light: no modality or kind 'phto'; did you mean 'photo'? (there are photo, scan, text, "
            "image, audio)",
        ),
        (
            "augment.scan.flip=0.5",
            {},
            "augment.scan.flip=0.5: scan has no augmentation; choose one with augment.scan=NAME (`mmrun options "
            "augment.image` lists them)",
        ),
        (
            "augment.image.flip=0.5",
            {},
            "augment.image.flip=0.5: image has no augmentation; choose one with augment.image=NAME (`mmrun options "
            "augment.image` lists them)",
        ),
    ],
)
def test_what_cannot_be_augmented_is_refused(override, choices, message):
    with pytest.raises(ConfigError) as error:
        rewrite(override, choices=choices)
    assert str(error.value) == message
