"""How many images a target is tried on before it is attacked."""

from __future__ import annotations

import pytest
import torch

from advbench import Examples
from advbench.target.target import PHOTOS, SAMPLE, sample


@pytest.mark.parametrize(("side", "count"), [(28, SAMPLE), (224, PHOTOS)])
def test_large_photos_are_tried_on_fewer_of_them(side: int, count: int) -> None:
    images = torch.zeros(SAMPLE + 1, 3, 1, 1, dtype=torch.uint8).expand(-1, -1, side, side)
    ids = torch.arange(len(images))
    assert sample(Examples(images, ids, ids)).ids.tolist() == list(range(count))
    assert len(sample(Examples(images[:3], ids[:3], ids[:3]))) == 3
