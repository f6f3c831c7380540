"""Two images compared by grey levels, fine structure or edges, and which of these to believe.

Each attempt is one feature followed from the coarsest level to the finest. What converges is asked of the tiles of the
frame before it is believed, see `alignment.rivals`: a scene that moves in part has a displacement for each part.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ._checks import UndefinedLossError, both
from .arrival import End, finish, hat_result, nothing_to_compare, smooth_result
from .journey import Journey, descend_on, objective_of, search, start, window_of
from .losses import NCC, noise_of
from .options import Options
from .pyramid import Masked, halve, smooth
from .result import Registration
from .rivals import Votes, vote
from .search import Peak, phase_peak
from .tones import tone_curve
from .verdict import CONTESTED_MESSAGE, DISTINCT_GAP, HEARD, MARKED, SETTLED, SIGNIFICANT, SURE, VAGUE_SHARE, contested
from .views import FRAME, Both, Pair, Views, cropped

# how many levels to try the last steps on
_LEVELS_TRIED = 3
# a phase correlation is taken of the finest level that is not larger than this along its short side; it counts if its
# peak is as high over the scatter, the next one as low, and the correlation of a runner-up elsewhere not as good:
# then the texture repeats itself
_PHASED = 640
_PHASE_SIGNIFICANT = 30.0
_PHASE_DISTINCT = 0.4
_REPEATING = 0.7
_REPEATING_ITSELF = 0.85
# the tiles vote, and a curve of tones is taken, on the finest level that is not larger than this along its short side
_VOTING = 400
# a correlation of images that are the same
_SAME = 0.99
# how often a curve of tones and a displacement take turns, and pixels: how little it then moves
_TURNS = 4
_AGREED = 0.05
# pixels of the level on which the tiles vote: from there, a descent stays within so many
_SAME_PLACE = 2.0
# blurred intensities that correlate less than this are not one scene in one light: their edges say more
_ALIKE = 0.96


class Comparison:
    """Two images, and what attempts by each of the features made of them; each is made once.

    Parameters
    ----------
    both : Both
        The views of the two images.
    options : Options
        Their `features` are what `best` is asked for.
    """

    def __init__(self, both: Both, options: Options) -> None:
        self.both, self.options = both, options
        self._searched: dict[str, Journey | UndefinedLossError] = {}
        self._attempted: dict[str, Registration] = {}

    def best(self) -> Registration:
        """Return the attempt by the feature that is asked for, or by the first that convinces, asked of the tiles."""
        if not self.options.searches:
            return self.asked(self.by("intensity" if self.options.features == "auto" else self.options.features))
        if self.options.features == "auto":
            return self._elected(self._choice())
        return self._elected(self.asked(self.by(self.options.features)))

    def by(self, features: str) -> Registration:
        """Return where an attempt by one of the features leads; the tiles of the frame have not been asked yet."""
        if features not in self._attempted:
            options = replace(self.options, features=features)
            try:
                first = 0 if options.method == "exhaustive" else self._coarsest
                begin = self._search(features) if options.searches else start(self.both, first, options)
                found = self._descended(options, first, begin)
            except UndefinedLossError as error:
                found = nothing_to_compare(self.both.shape, str(error), options)
            self._attempted[features] = found
        return self._attempted[features]

    def asked(self, found: Registration) -> Registration:
        """Return a result, its status changed if the parts of the frame speak against it."""
        if not found.success:
            return found
        compared = "edges" if found.options["features"] == "edges" else "intensity"
        votes, scale = self._votes(found, compared)
        doubt = None if votes is None else contested(votes, scale)
        if doubt is None and votes is not None and votes.agreeing < 1 and compared == "edges":
            # grey levels that differ may agree with nothing, but what moved in them moved
            votes, scale = self._votes(found, "intensity")
            if votes is not None and votes.middle > 0:
                doubt = contested(votes._replace(middle=math.inf, better=-math.inf), scale)
        return found if doubt is None else replace(found, success=False, status=doubt[0], message=doubt[1])

    def _elected(self, found: Registration) -> Registration:
        """Return what most of the frame shows, if that is another displacement than the one with the most contrast.

        It stays ambiguous: of a texture that repeats itself, chance decides what most tiles prefer.
        """
        features = found.options["features"]
        if found.status != "ambiguous" or features == "toned":
            return found
        compared = "edges" if features == "edges" else "intensity"
        votes, scale = self._votes(found, compared)
        if votes is None or votes.majority is None:
            return found
        options = replace(self.options, features=features)
        there = self._among(votes.majority.showing, round(math.log2(scale)), votes.majority.rival, options)
        if there is None or not there.success:
            return found
        again, _ = self._votes(there, compared)
        if again is None or again.majority is not None:
            return found
        message = CONTESTED_MESSAGE.format(x=found.dx, y=found.dy, share=votes.majority.others)
        runner_up = found.dx, found.dy, found.loss
        return replace(there, success=False, status="ambiguous", message=message, runner_up=runner_up)

    def _among(
        self, pixels: NDArray[np.bool_], level: int, at: tuple[float, float], options: Options
    ) -> Registration | None:
        """Return where a descent leads from a displacement, all in pixels of a level, that looks at some pixels only.

        None where it leads elsewhere.
        """
        scale = 2**level
        reference = self.both.reference.levels[0]
        used = np.zeros(reference.image.shape, np.uint8)
        fine = np.kron(pixels, np.ones((scale, scale), np.uint8))
        used[: fine.shape[0], : fine.shape[1]] = fine
        part = Views(Masked(reference.image, both(reference.mask, used)), options.smooth)
        try:
            some = Comparison(Both(part, self.both.moving, self.both.threads), options)
            there = some._descended(options, level, Journey(*at))
        except UndefinedLossError:
            return None
        return there if math.dist((there.dx / scale, there.dy / scale), at) <= _SAME_PLACE else None

    def _choice(self) -> Registration:
        """Return the first attempt that converges; one after the first has to be well determined as well."""
        first: Registration | None = None
        for attempt in self._attempts():
            found = self.asked(attempt)
            if found.success and (first is None or _sure(found)):
                if found.options["features"] == "edges" and (better := self._through_a_curve(found)):
                    return better
                return found if found.options["features"] == "intensity" else self._unless_the_same(found)
            first = first or found
        assert first is not None
        return self._through_a_curve(first) or first

    def _unless_the_same(self, found: Registration) -> Registration:
        """Return a result, unless grey levels fit exactly and do not tell: then a part of what they show tells no more.

        The edges of stripes, as the grid of pixels sees them, may differ along the stripes.
        """
        plain = self.by("intensity")
        return plain if plain.ncc >= _SAME and plain.status in ("flat", "ambiguous") else found

    def _through_a_curve(self, found: Registration) -> Registration | None:
        """Return what grey levels say once a curve has turned those of one image into those of the other, if one does.

        Edges whose tones are bent are not where they were. The curve follows from the displacement and this from the
        curve, so that they take turns until they agree.
        """
        for _ in range(_TURNS):
            better = self._turned(found)
            if better is None:
                return None
            moved, found = math.hypot(better.dx - found.dx, better.dy - found.dy), better
            if moved <= _AGREED:
                return found if found.success and _sure(found) else None
        return None

    def _turned(self, found: Registration) -> Registration | None:
        """Return the attempt by the levels that a curve has turned, as it fits at a displacement.

        A curve of four numbers is as well known from a coarse level of a large image.
        """
        level = self._finest_within(_VOTING)
        at = found.dx / 2**level, found.dy / 2**level
        top, bottom, left, right = (side // 2**level for side in found.window)
        curve = tone_curve(*self.both.smoothed(level, "intensity"), at, (top, bottom, left, right))
        if curve is None or not curve.tells:
            return None
        turned = Views(curve(self.both.moving.levels[0]), self.options.smooth)
        levels = Comparison(Both(self.both.reference, turned, self.both.threads), self.options)
        better = levels.asked(levels.by("intensity"))
        return replace(better, options={**better.options, "features": "toned"})

    def _attempts(self) -> Iterator[Registration]:
        """Compare what the two images may share: their intensities, their fine structure or their edges.

        Intensities, if they are alike; else, where phases agree, the fine structure there; else what stands out more.
        """
        try:
            begin = self._search("intensity")
        except UndefinedLossError:
            yield self.by("intensity")
            return
        alike = self._alike(begin)
        distinct = begin.gap >= DISTINCT_GAP
        if alike and distinct:
            yield self.by("intensity")
            yield self.by("edges")
        else:
            # noise hides likeness; what differs by nothing else is alike nevertheless
            if distinct and self.by("intensity").success and _differs_by_noise(self.by("intensity")):
                yield self.by("intensity")
            yield from self._by_phase("fine", begin)
            enough = max(DISTINCT_GAP, begin.gap) if alike else min(DISTINCT_GAP, begin.gap)
            for features in ("edges", "intensity") if self._edges_stand_out(enough) else ("intensity", "edges"):
                yield self.by(features)
        for features in ("fine", "edges"):
            yield from self._by_phase(features, begin)

    def _edges_stand_out(self, enough: float) -> bool:
        """Say whether the edges tell the best displacement from the next."""
        try:
            return self._search("edges").gap >= enough
        except UndefinedLossError:
            return False

    def _by_phase(self, features: str, seen: Journey) -> Iterator[Registration]:
        """Yield where a phase correlation leads, if it stands out and a descent confirms it."""
        # images that agree and yet do not tell where have too few frequencies for phases to tell
        repeats = seen.correlation > _REPEATING_ITSELF or (
            seen.runner_up is not None and seen.runner_up[2] < -_REPEATING
        )
        if repeats:
            return
        level = self._finest_within(_PHASED)
        peak = phase_peak(*(image.image for image in cropped(self.both.levels[level])))
        if peak.score < _PHASE_SIGNIFICANT or peak.ambiguity > _PHASE_DISTINCT or not self._within_reach(peak, level):
            return
        score = SIGNIFICANT * peak.score / _PHASE_SIGNIFICANT
        begin = Journey(peak.dx, peak.dy, score=score, ambiguity=peak.ambiguity, passes=1)
        options = replace(self.options, features=features)
        try:
            found = self._descended(options, level, begin)
        except UndefinedLossError:
            return
        # what ends elsewhere followed something that the phases do not see
        near = max(abs(found.dx - 2**level * peak.dx), abs(found.dy - 2**level * peak.dy)) <= 2**level
        if found.success and near and _sure(found):
            yield found

    def _within_reach(self, peak: Peak, level: int) -> bool:
        """Say whether a displacement, in pixels of a level, is one of those asked for."""
        return all(
            abs(2**level * d - centre) <= most
            for d, centre, most in zip((peak.dx, peak.dy), self.options.init, self.options.max_shift, strict=True)
        )

    @property
    def _coarsest(self) -> int:
        return len(self.both.reference.levels) - 1

    def _finest_within(self, pixels: int) -> int:
        """Return the finest level that is not larger than this along its short side, or the coarsest."""
        sides = [min(level.image.shape) for level in self.both.reference.levels]
        return next((n for n, side in enumerate(sides) if side <= pixels), self._coarsest)

    def _search(self, features: str) -> Journey:
        """Return the beginning of an attempt, where a search sees the best displacement."""
        if features not in self._searched:
            first = 0 if self.options.method == "exhaustive" else self._coarsest
            try:
                self._searched[features] = search(self.both, first, replace(self.options, features=features))
            except UndefinedLossError as error:
                self._searched[features] = error
        found = self._searched[features]
        if isinstance(found, UndefinedLossError):
            raise found
        return replace(found, rows=[])

    def _descended(self, options: Options, first: int, journey: Journey) -> Registration:
        """Descend level by level from the first one, and judge where that led."""
        both = self.both
        seen: list[Pair] = []
        for level in range(first, -1, -1):
            if level < first:
                journey.dx, journey.dy = 2 * journey.dx, 2 * journey.dy
            seen = [*seen, both.featured(level, options.features)][-_LEVELS_TRIED:]
            if level == 0 < first and options.method == "auto" and options.kernel != "hat":
                # the level above has come so near that the last steps need no walk before them
                end = finish(seen, journey, options)
                if end is not None and end.arrived:
                    return smooth_result(end, both.shape, journey, options)
            noise = None
            if level == 0 and options.noise is not None:
                noise = noise_of(*both.levels[0], options.noise, smooth=options.smooth)
            objective = objective_of(both.smoothed(level, options.features), journey, options, noise)
            descend_on(objective, journey, level, options)
        last: End | None = None if options.kernel == "hat" else finish(seen, journey, options)
        if last is None:  # too small for nine taps, if they were wanted
            return hat_result(objective, journey, options)
        return smooth_result(last, both.shape, journey, options)

    def _alike(self, journey: Journey) -> bool:
        """Say whether the images show one scene in one light: whether they correlate once noise is smoothed away."""
        coarsest = self.both.levels[0 if self.options.method == "exhaustive" else self._coarsest]
        blurred = [halve(smooth(image, 1.0)) for image in coarsest]
        dx, dy = journey.dx / 2, journey.dy / 2
        window = window_of(blurred[0].image.shape, dx, dy)
        try:
            return NCC.of(*blurred, domain=window).value(dx, dy) <= -_ALIKE
        except UndefinedLossError:
            return False

    def _votes(self, found: Registration, compared: str) -> tuple[Votes | None, int]:
        """Return how the tiles of the finest level vote on which noise leaves them something to say, and its scale."""
        votes, scale = None, 1
        for level in range(self._finest_within(_VOTING), self._coarsest + 1):
            here = self._votes_on(level, found, compared)
            if here is None or (votes is not None and here.middle < votes.middle):
                break
            votes, scale = here, 2**level
            if contested(votes) is None or votes.agreeing >= HEARD or votes.better > MARKED:
                break
        return votes, scale

    def _votes_on(self, level: int, found: Registration, compared: str) -> Votes | None:
        """Let the tiles of one level vote on a displacement."""
        reference, moving = self.both.toneless(level, compared)
        height, width = reference.image.shape
        (cx, cy), (mx, my), scale = self.options.init, self.options.max_shift, 2**level
        return vote(
            reference,
            moving,
            (found.dx / scale, found.dy / scale),
            margin=(round(FRAME * height), round(FRAME * width)),
            within=(((cx - mx) / scale, (cy - my) / scale), ((cx + mx) / scale, (cy + my) / scale)),
            settled=SETTLED,
        )


def _sure(found: Registration) -> bool:
    """Say whether a result is determined well enough to make up for what spoke against it."""
    top, bottom, left, right = found.window
    return max(found.stderr) <= SURE + VAGUE_SHARE * min(bottom - top, right - left)


def _differs_by_noise(found: Registration) -> bool:
    """Say whether the two images differ by nothing but independent noise."""
    return math.isfinite(found.goodness_of_fit) and math.isinf(found.degrees_of_freedom)
