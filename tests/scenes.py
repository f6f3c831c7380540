"""What the tests of noise and error bars share: scenes without noise, displaced exactly."""

from __future__ import annotations

import numpy as np


def scene(shape, dx=0.0, dy=0.0, blur=1.5, seed=0):
    """Return a random scene, displaced by turning its phases."""
    height, width = shape
    spectrum = np.fft.fft2(np.random.default_rng(seed).standard_normal(shape))
    ky, kx = 2 * np.pi * np.fft.fftfreq(height)[:, None], 2 * np.pi * np.fft.fftfreq(width)[None, :]
    levels = np.fft.ifft2(spectrum * np.exp(-(blur**2) * (kx**2 + ky**2) / 2 - 1j * (kx * dx + ky * dy))).real
    return levels / levels.std()
