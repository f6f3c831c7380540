"""Lengths of which a Fourier transform is quick: products of small primes."""

from __future__ import annotations


def fast_length(start: int, *, step: int = 1) -> int:
    """Return the nearest length without a prime factor above 5 from `start` on, upwards, or downwards.

    Parameters
    ----------
    start : int
        At least 1.
    step : {1, -1}
        Which way to look.

    Examples
    --------
    >>> fast_length(97), fast_length(128), fast_length(107, step=-1)
    (100, 128, 100)
    """
    length = start
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += step
