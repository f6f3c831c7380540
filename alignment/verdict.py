r"""What to think of a displacement: the doubts, in the order in which they count, each with what to try.

No single number tells a right answer from a wrong one. A search says how far the best displacement stands out from
unrelated ones, and from the runner-up; the curvature says in which directions there is anything to see; the scatter of
the gradient says how well the minimum is known. The thresholds hold unrelated photographs, noise, stripes and repeating
textures apart from pairs that share a scene; ``benchmarks/adversarial.py`` counts how well.

Where all that is well, the parts of the frame are asked, see `alignment.rivals`: a scene that moves in part, or twice,
has one displacement for each part, and the correlation stands out at the one with the most contrast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rivals import Votes

# the best displacement stands out from unrelated ones by this many standard deviations of theirs
SIGNIFICANT = 6.0
# and the runner-up by less than this share of it
DISTINCT = 0.8
# the gap that this makes between the best and the runner-up
DISTINCT_GAP = SIGNIFICANT * (1 - DISTINCT)
# correlated images that nevertheless do not stand out repeat themselves, or have no structure along a direction
SIMILAR = 0.5
SIMILAR_EDGES = 0.8
# the standard error, in pixels, of a precise answer
PRECISE = 0.05
# a precise fit needs no other evidence if this many of its own uncertainties make up the correlation
EXACT = 100.0
# pixels, and the share of the frame's short side: a standard error beyond their sum is no answer
VAGUE = 0.35
VAGUE_SHARE = 0.001
# and in place of the first of them for an answer that only a second attempt gave
SURE = 0.2
# the share of the largest curvature of the loss below which the smallest one is none
CONDITION = 0.005
# a rival that this share as many tiles prefer as prefer the displacement itself makes it ambiguous
CONTESTED = 0.25
# the share of tiles that a displacement explains from which on no rival can have so many
SETTLED = 1 / (1 + CONTESTED)
# the share of the tiles that have to agree for the others to be heard: below, noise speaks
HEARD = 0.25

# standard deviations of chance by which a rival fits markedly better, and by which it has to fit worse to be ruled out
# where noise leaves the tiles a say
MARKED = 3.0
RULED_OUT = 2.0

MESSAGES = {
    "converged": "converged",
    "not converged": "the descent had not arrived when its steps were used up; allow more steps, or use method='auto'",
    "local minimum": "descent ended in a minimum that a search does not confirm: it sees the best displacement near "
    "({there_x:.0f}, {there_y:.0f}) px; give an init near it, or use method='auto'",
    "at bound": "the best displacement lies at the bound of the search; allow a larger max_shift",
    "ambiguous": "another displacement, ({x:.1f}, {y:.1f}) px, fits almost as well; the content may repeat itself: "
    "give init and a smaller max_shift",
    "flat": "the images have no structure along {direction}, so that the displacement along it is not determined; "
    "use a window with structure in both directions",
    "low overlap": "only {overlap:.0%} of the frame overlaps at the best displacement; use images that share more, "
    "or a smaller max_shift",
    "no correlation": "at no displacement do the images agree better than unrelated ones would; check that they show "
    "the same scene, or try features='edges'",
}

CONTESTED_MESSAGE = (
    "another displacement, ({x:.0f}, {y:.0f}) px, fits {share:.0%} of the frame better: part of the scene moved by "
    "itself, or repeats itself; mask that part, or give init and a smaller max_shift"
)
BETTER_MESSAGE = (
    "at another displacement the parts of the frame, taken together, fit as well within chance; the content may repeat "
    "itself: give init and a smaller max_shift"
)
BORDER_MESSAGE = (
    "the images agree near the borders of the frame only, and in its middle no better than unrelated ones would; check "
    "that they show the same scene, or mask the frame"
)

# what is added where error bars are wider than noise would make them
WIDENED = (
    "; what the images do not share does not look like noise (something moved, or looks different), and the error bars "
    "are widened to its scatter over the image"
)
# pixels: below this standard error nobody needs to know
VISIBLE = 0.01


@dataclass(frozen=True)
class Evidence:
    """What a registration knows of its own end.

    Attributes
    ----------
    shape : (int, int)
        Of the images.
    ncc : float
        The correlation at the displacement found.
    hessian, covariance : ndarray of shape (2, 2)
        Of the negative correlation, and of the displacement.
    score : float
        By how many standard deviations of unrelated displacements the best one of the search stands out.
    ambiguity : float
        The runner-up's score as a share of the best one's.
    runner_up : (dx, dy, loss) or None
    strayed_from : (dx, dy) or None
        The displacement that a search sees, where a descent ended elsewhere.
    arrived, beyond_bound, of_edges : bool
        Whether the descent converged, left the box it was given, looked at edges.
    like_noise : bool
        Whether what the images do not share looks like independent noise.
    overlap, min_overlap : float
        The shares of the frame that overlap, and that must.
    """

    shape: tuple[int, int]
    ncc: float
    hessian: NDArray[np.float64]
    covariance: NDArray[np.float64]
    score: float
    ambiguity: float
    runner_up: tuple[float, float, float] | None
    strayed_from: tuple[float, float] | None
    arrived: bool
    beyond_bound: bool
    overlap: float
    min_overlap: float
    of_edges: bool
    like_noise: bool = True

    @property
    def spread(self) -> float:
        """The largest standard error along any direction, in pixels."""
        if not np.isfinite(self.covariance).all():
            return math.inf
        return math.sqrt(max(float(np.linalg.eigvalsh(self.covariance)[1]), 0.0))

    @property
    def visibly_unlike_noise(self) -> bool:
        """Whether the images differ by more than noise, and by so much that it shows in the error bars."""
        return not self.like_noise and self.spread >= VISIBLE

    @property
    def flat(self) -> bool:
        """Whether along some direction there is nothing to see."""
        low, high = np.linalg.eigvalsh(self.hessian)
        # a poor correlation, which chance can bring about, has to be located the more precisely
        most = (VAGUE + VAGUE_SHARE * min(self.shape)) * min(1.0, max(self.ncc, 0.0) / SIMILAR)
        return bool(self.spread > most or low < CONDITION * high)

    @property
    def ambiguous(self) -> bool:
        """Whether another displacement fits almost as well."""
        return self.ambiguity > DISTINCT and self.runner_up is not None

    @property
    def exact(self) -> bool:
        """Whether the fit is so close that it is its own evidence.

        Edges have to correlate well too: those of a repeating pattern can fit as closely at a wrong place.
        """
        close = exactness(self.ncc, self.hessian, self.covariance) >= EXACT
        return close and self.spread <= PRECISE and (not self.of_edges or self.ncc >= SIMILAR_EDGES)

    @property
    def related(self) -> bool:
        """Whether the images show one scene at all, wherever in it."""
        return self.score >= SIGNIFICANT or self.exact or (self.ncc >= SIMILAR and (self.flat or self.ambiguous))


def verdict(evidence: Evidence) -> tuple[str, str]:
    """Return the status and its sentence: the first doubt that applies, or "converged"."""
    e = evidence
    details: dict[str, Any] = {"overlap": e.overlap, "direction": direction(e.hessian)}
    if e.runner_up is not None:
        details.update(x=e.runner_up[0], y=e.runner_up[1])
    if e.strayed_from is not None:
        details.update(there_x=e.strayed_from[0], there_y=e.strayed_from[1])
    doubts = {
        "no correlation": not e.related,
        "flat": e.flat,
        "ambiguous": e.ambiguous,
        "local minimum": e.strayed_from is not None,
        "at bound": e.beyond_bound,
        "low overlap": e.overlap < e.min_overlap,
        "not converged": not e.arrived,
    }
    status = next((doubt for doubt, applies in doubts.items() if applies), "converged")
    message = MESSAGES[status].format(**details)
    return status, message + WIDENED if status == "converged" and e.visibly_unlike_noise else message


def contested(votes: Votes, scale: float = 1.0) -> tuple[str, str] | None:
    """Return the status and its sentence if the tiles of a frame speak against a displacement, else None.

    Parameters
    ----------
    votes : Votes
    scale : float
        The pixels of the images in one of the level on which the tiles voted.
    """
    if votes.middle < votes.chance:
        return "no correlation", BORDER_MESSAGE
    # where few agree, single tiles that do not are heard no more than those that do: only all of them, taken together
    heard = votes.agreeing >= HEARD or votes.possible > votes.against
    if votes.rival is not None and heard and votes.possible >= CONTESTED * votes.preferring:
        x, y = (scale * v for v in votes.rival)
        return "ambiguous", CONTESTED_MESSAGE.format(x=x, y=y, share=votes.against)
    ruled_out = -RULED_OUT if votes.agreeing >= HEARD else 0.0
    return ("ambiguous", BETTER_MESSAGE) if votes.better >= ruled_out else None


def direction(hessian: NDArray[np.float64]) -> str:
    """Return the direction in which a loss changes least, in words.

    Examples
    --------
    >>> direction(np.diag([1.0, 5.0])), direction(np.array([[2.0, -1.0], [-1.0, 2.0]]))
    ('x', '45 degrees from x to y')
    """
    weakest = np.linalg.eigh(hessian)[1][:, 0]
    angle = math.degrees(math.atan2(weakest[1], weakest[0])) % 180
    return "x" if min(angle, 180 - angle) < 15 else "y" if abs(angle - 90) < 15 else f"{angle:.0f} degrees from x to y"


def exactness(ncc: float, hessian: NDArray[np.float64], covariance: NDArray[np.float64]) -> float:
    r"""Return how many of the fit's own uncertainties make up the correlation.

    Notes
    -----
    .. math:: \sqrt{\rho / \lambda_{\max}(H \Sigma)}

    with H the Hessian of the negative correlation (:math:`\mathrm{MSE} \approx 2 \sigma^2 (1 - \rho)` turns that of
    the MSE into it). An error of one standard deviation changes a loss by half of H times its covariance; at a chance
    maximum of two unrelated images that is of the order of the correlation itself.
    """
    if not np.isfinite(covariance).all() or not ncc > 0:
        return 0.0
    change = float(np.linalg.eigvals(hessian @ covariance).real.max())
    return math.sqrt(ncc / max(change, 1e-30))
