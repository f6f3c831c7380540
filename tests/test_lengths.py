"""Lengths that Fourier transforms like."""

from __future__ import annotations

from alignment.lengths import fast_length

FAST = sorted(2**i * 3**j * 5**k for i in range(11) for j in range(7) for k in range(5))


def test_it_is_the_nearest_product_of_two_three_and_five():
    for start in range(1, 500):
        assert fast_length(start) == min(length for length in FAST if length >= start)
        assert fast_length(start, step=-1) == max(length for length in FAST if length <= start)
