"""Results of registration made to order."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from alignment import datasets, register
from alignment.channels import Pair

PAIRS = (Pair("red", "green"), Pair("blue", "green"), Pair("red", "blue"))


@functools.cache
def some_registration():
    """Return a result to make others of."""
    return register(*datasets.shifted_pair(shape=(60, 70)))


def registration(dx, dy, stderr=0.1, *, success=True, ncc=0.9):
    """Return a result of registration with given displacement and error bars."""
    status, message = ("converged", "converged") if success else ("ambiguous", "it repeats itself")
    covariance = np.diag(np.broadcast_to(stderr, 2) ** 2.0)
    changes = {"dx": dx, "dy": dy, "loss": -ncc, "ncc": ncc, "covariance": covariance}
    return replace(some_registration(), **changes, success=success, status=status, message=message)
