"""The last steps to a picture: its depth, its colours if asked for, and the metadata that say how it was made."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from .arguments import contrast_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..colour import Adjustment

DEPTHS = ("keep", "8", "16", "float")
_STORED = {"8": "uint8", "16": "uint16", "float": "float32"}


@dataclass(frozen=True)
class Finish:
    """What was asked for of the finished picture.

    Attributes
    ----------
    depth : str
        "keep", "8", "16" or "float".
    balance : str or None
    contrast : bool or (float, float)
    gamma : float
        As `alignment.colour.measure` takes them.
    """

    depth: str = "keep"
    balance: str | None = None
    contrast: bool | tuple[float, float] = False
    gamma: float = 1.0

    @classmethod
    def of(cls, args: argparse.Namespace) -> Finish:
        """Read it from the command line."""
        balance = None if args.balance in (None, "none") else args.balance
        return cls(args.dtype or "keep", balance, contrast_of(args), 1.0 if args.gamma is None else args.gamma)

    @classmethod
    def recorded(cls, args: argparse.Namespace, options: Mapping[str, Any]) -> Finish:
        """Read it from the command line, and where that is silent from the options of an earlier run."""
        said = cls.of(args)
        contrast = said.contrast if args.contrast or args.percentiles else _contrast(options.get("contrast"))
        depth, balance, gamma = (options.get(key) for key in ("dtype", "balance", "gamma"))
        return cls(
            said.depth if args.dtype else depth if depth in DEPTHS else "keep",
            said.balance if args.balance else balance if isinstance(balance, str) else None,
            contrast,
            said.gamma if args.gamma is not None else gamma if isinstance(gamma, int | float) else 1.0,
        )

    def options(self) -> dict[str, Any]:
        """Return what goes into a record."""
        contrast = list(self.contrast) if isinstance(self.contrast, tuple) else self.contrast
        return {"dtype": self.depth, "balance": self.balance, "contrast": contrast, "gamma": self.gamma}

    def stored(self, plate: str) -> str:
        """Return the dtype to store, for a plate of this dtype."""
        kept = "float32" if plate.startswith("float") else plate
        return _STORED.get(self.depth, kept)

    def colours(self, rgb: NDArray[Any], stored: str) -> tuple[NDArray[Any], Adjustment | None]:
        """Return the picture at its depth and with its colours, and what was done to them."""
        from ..colour import measure
        from ..imagefiles import as_float, to_dtype

        if self.balance is None and not self.contrast and self.gamma == 1.0:
            return rgb, None
        if stored == "uint16" and rgb.dtype == "uint8":
            rgb = to_dtype(rgb, stored)  # before, so that the finer levels take up the curve
        elif stored == "float32":
            rgb = as_float(rgb)
        adjustment = measure(rgb, balance=self.balance, contrast=self.contrast, gamma=self.gamma)
        return adjustment.apply(rgb), adjustment


def _contrast(value: Any) -> bool | tuple[float, float]:
    """Return what a record says about the contrast."""
    if isinstance(value, list) and len(value) == 2:
        return value[0], value[1]
    return value is True


def describe(
    source: Mapping[str, Any],
    shape: Sequence[int],
    reference: str,
    displacements: Mapping[str, tuple[float, float]],
    crop: Sequence[int],
    adjustment: Adjustment | None,
) -> str:
    """Say how a picture was made, in the words that are kept in the file."""
    from .. import __version__

    moves = ", ".join(f"{name} by dx {dx:+.3f}, dy {dy:+.3f} px" for name, (dx, dy) in displacements.items())
    top, bottom, left, right = crop
    lines = [
        f"Colour photograph composed by alignment {__version__} from three grey exposures of one plate.",
        f"Plate: {source['name']}, {shape[1]} x {shape[0]} px, SHA-256 {source['sha256']}.",
        f"The {reference} exposure stays; displaced are {moves}: aligned(x, y) = moving(x + dx, y + dy).",
        f"Shown: rows {top} to {bottom} and columns {left} to {right} of the plate.",
    ]
    if adjustment is None:
        lines.append("Colours: as scanned.")
    else:
        gains = ", ".join(f"{gain:.5f}" for gain in adjustment.gains)
        lines.append(
            f"Colours: red, green and blue times {gains}; then black {adjustment.black:.5f}, white "
            f"{adjustment.white:.5f}, gamma {adjustment.gamma:g}."
        )
    return "\n".join(lines)


def encode(
    file: BinaryIO,
    target: str,
    picture: NDArray[Any],
    stored: str,
    description: str,
    resolution: tuple[float, float] | None,
    *,
    colour_space: str | None = "srgb",
) -> None:
    """Write a picture with its depth, resolution, profile and description into an open file."""
    from ..imagefiles import encode_image

    encode_image(
        file,
        target,
        picture,
        dtype=stored,
        description=description,
        resolution=resolution,
        colour_space=colour_space,
    )
