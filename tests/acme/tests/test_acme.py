import advbench_acme
import pytest

from advbench.testing import checks


@pytest.mark.parametrize("check", checks(advbench_acme))
def test_conforms(check):
    check()
