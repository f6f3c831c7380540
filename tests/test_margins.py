"""The margins beside an overlap: sums over pixels, counted one by one."""

from __future__ import annotations

import numpy as np
import pytest

from alignment import margins as margins_module
from alignment.gaussian import Gaussian
from alignment.margins import NO_MARGIN, Margins
from alignment.pyramid import Masked
from alignment.samplers import GaussianSampler, HatSampler

DOMAIN = (1, 8, 2, 11)
OVERLAPS = [None, (1, 8, 2, 11), (1, 5, 2, 11), (3, 8, 2, 11), (1, 8, 2, 3), (1, 8, 7, 11), (4, 6, 5, 10)]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kernel", ["hat", Gaussian(0.8)])
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_a_margin_is_all_of_the_domain_but_the_overlap(scene, kernel, overlap, masked):
    mask = np.asarray(scene((9, 12), 2) < 0.9, np.uint8) if masked else None
    images = Masked(scene((9, 12), 1), mask), Masked(scene((9, 12), 3))
    sampler = HatSampler(*images) if kernel == "hat" else GaussianSampler(*images, kernel)
    beside = np.zeros((9, 12), bool)
    beside[1:8, 2:11] = True
    if overlap is not None:
        beside[overlap[0] : overlap[1], overlap[2] : overlap[3]] = False
    if masked:
        beside &= sampler.used != 0
    levels = sampler.target[beside] - 0.25
    want = [levels.size, levels.sum(), (levels**2).sum()]
    np.testing.assert_allclose(Margins(sampler, DOMAIN, 0.25).beside(overlap), want, rtol=1e-12, atol=1e-14)


def test_each_is_summed_once_until_they_are_forgotten(scene, monkeypatch):
    margins = Margins(HatSampler(Masked(scene((9, 12))), Masked(scene((9, 12)))), DOMAIN, 0.0)
    first = margins.beside((1, 5, 2, 11))
    assert margins.beside((1, 5, 2, 11)) is first
    assert margins.beside(DOMAIN) is NO_MARGIN
    margins.clear()
    assert margins.beside((1, 5, 2, 11)) is not first
    monkeypatch.setattr(margins_module, "_KEPT", 2)
    for overlap in OVERLAPS:
        assert margins.beside(overlap) == Margins(margins._sampler, DOMAIN, 0.0).beside(overlap)
    assert len(margins._kept) <= 2
