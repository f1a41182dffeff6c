import pytest

from mmrun.errors import ConfigError
from mmrun.models.fusions.conv import Cnn
from tests.models.fusions.rows import DIMS


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cnn(DIMS, align="cubic"), "fusion.align: 'cubic' is none of nearest, linear, attention"),
    ],
)
def test_errors_name_the_key(make, message):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message
