"""The vote of the tiles: on scenes that move as a whole, in part, twice, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from alignment.pyramid import Masked, band_pass, smooth
from alignment.rivals import TILE, vote
from alignment.verdict import CONTESTED, SETTLED, contested

EVERYWHERE = ((-40.0, -40.0), (40.0, 40.0))


def texture(seed=0, size=260, width=1.2):
    """Return smooth noise without slow changes, in which every place looks different."""
    noise = Masked(np.random.default_rng(seed).normal(size=(size, size)))
    return band_pass(smooth(noise, width), 3.0).image


def cut(wide, dx=0, dy=0, shape=(128, 160)):
    """Cut out the middle, its content displaced."""
    top, left = (wide.shape[0] - shape[0]) // 2 - dy, (wide.shape[1] - shape[1]) // 2 - dx
    return wide[top : top + shape[0], left : left + shape[1]].copy()


def asked(reference, moving, at, *, margin=(0, 0), within=EVERYWHERE, settled=2.0, masks=(None, None)):
    return vote(
        Masked(reference, masks[0]), Masked(moving, masks[1]), at, margin=margin, within=within, settled=settled
    )


def in_part(share, moves=((7, -4), (-6, 9))):
    """Return a scene whose left part has the first displacement and whose right part has the second one."""
    wide = texture()
    reference = cut(wide)
    first, second = (cut(wide, *move) for move in moves)
    first[:, round(share * first.shape[1]) :] = second[:, round(share * first.shape[1]) :]
    return reference, first


def test_a_scene_that_moves_as_a_whole_has_no_rival():
    wide = texture()
    votes = asked(cut(wide), cut(wide, 7, -4), (7.0, -4.0))
    assert votes.rival is None
    assert votes.agreeing > 0.85  # some tiles left the frame
    assert votes.middle > 20
    assert contested(votes) is None


def test_what_is_settled_is_not_discussed():
    wide = texture()
    votes = asked(cut(wide), cut(wide, 1, 0), (1.0, 0.0), settled=SETTLED)
    assert votes.middle == np.inf
    assert contested(votes) is None


@pytest.mark.parametrize("at", [(7.0, -4.0), (-6.0, 9.0)])
def test_of_two_halves_each_is_the_rival_of_the_other(at):
    votes = asked(*in_part(0.5), at)
    assert votes.rival == ((-6.0, 9.0) if at == (7.0, -4.0) else (7.0, -4.0))
    assert votes.against > 0.3
    assert votes.preferring > 0.3
    status, message = contested(votes)
    assert status == "ambiguous"
    assert f"({votes.rival[0]:.0f}, {votes.rival[1]:.0f}) px" in message


@pytest.mark.parametrize("near", [(9, -2), (9, -3), (5, -2)])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_rival_near_by_in_a_soft_scene_is_where_it_is(near, seed):
    """What is left of its peak beside that of the displacement is elsewhere, where no tile wants to be."""
    wide = texture(seed, width=3.0)
    reference, moving = cut(wide), cut(wide, 7, -4)
    moving[:, 96:] = cut(wide, *near)[:, 96:]
    votes = asked(reference, moving, (7.0, -4.0))
    assert votes.rival == near
    assert contested(votes)[0] == "ambiguous"


def test_a_minority_is_contested_however_strong_its_contrast():
    """The part that moves by itself has five times the contrast: the correlation would follow it."""
    reference, moving = in_part(0.7)
    strong = np.where(np.arange(160) < 112, 1.0, 5.0)
    away = np.where(np.arange(160) < 106, 1.0, 5.0)
    votes = asked(reference * strong, moving * away, (-6.0, 9.0))
    assert votes.rival == (7.0, -4.0)
    assert votes.against > votes.preferring
    assert contested(votes)[0] == "ambiguous"
    assert votes.majority.rival == votes.rival
    assert (votes.majority.against, votes.majority.others) == (votes.against, votes.preferring)
    shown = votes.majority.showing
    assert shown.shape == reference.shape
    assert shown[:, :96].mean() > 0.9
    assert not shown[:, 112:].any()


def test_tiles_that_show_both_are_of_those_that_they_agree_with_better():
    reference, moving = in_part(0.7)
    moving[:, 112:] += 0.3 * cut(texture(), 7, -4)[:, 112:]
    votes = asked(reference, moving, (-6.0, 9.0))
    assert votes.majority.rival == (7.0, -4.0)
    assert votes.majority.showing[:, :96].mean() > 0.9
    assert not votes.majority.showing[:, 112:].any()


def test_a_majority_is_none_without_a_rival_and_where_most_tiles_agree():
    assert asked(*in_part(1.0), (7.0, -4.0)).majority is None
    votes = asked(*in_part(0.7), (7.0, -4.0))
    assert votes.rival == (-6.0, 9.0)
    assert votes.majority is None


def test_a_small_thing_that_moves_does_no_harm():
    votes = asked(*in_part(0.92), (7.0, -4.0))
    assert votes.against < CONTESTED * votes.preferring
    assert contested(votes) is None


def test_both_exposures_of_a_double_exposure_are_in_every_tile():
    """No tile correlates better with one than with the other: each wants both."""
    wide = texture()
    both = (cut(wide, 5, 3) + cut(wide, -8, -2)) / 2
    votes = asked(cut(wide), both, (5.0, 3.0))
    assert votes.rival == (-8.0, -2.0)
    assert votes.against > 0.8 * votes.preferring
    assert contested(votes)[0] == "ambiguous"


def test_a_neighbouring_period_is_no_better_and_not_settled():
    tile = np.random.default_rng(1).normal(size=(20, 20))
    wide = np.tile(tile, (13, 13))
    votes = asked(cut(wide), cut(wide, 3, 2), (23.0, 2.0), settled=SETTLED)
    assert votes.better >= 0
    assert contested(votes)[0] == "ambiguous"


def test_only_rivals_that_were_asked_for_count():
    reference, moving = in_part(0.5)
    votes = asked(reference, moving, (7.0, -4.0), within=((2.0, -9.0), (12.0, 1.0)))
    assert votes.rival is None


def test_unrelated_images_that_share_a_border_do_not_agree_in_the_middle():
    first, second = cut(texture(1)), cut(texture(2))
    for image in (first, second):
        image[:12] = image[-12:] = image[:, :12] = image[:, -12:] = 1
    votes = asked(first, second, (0.0, 0.0))
    assert votes.agreeing > 0.1
    assert abs(votes.middle) < 3
    assert contested(votes)[0] == "no correlation"


def test_the_margin_does_not_vote():
    """A frame that stays where it is, while the scene moves, is no rival."""
    wide = texture()
    reference, moving = cut(wide), cut(wide, 7, -4)
    frame = texture(3)[:128, :160]
    inside = np.zeros((128, 160), np.bool_)
    inside[14:-14, 14:-14] = True
    pair = (np.where(inside, reference, frame), np.where(inside, moving, frame))
    assert asked(*pair, (7.0, -4.0)).rival == (0.0, 0.0)
    assert asked(*pair, (7.0, -4.0), margin=(16, 16)).rival is None


def test_what_is_masked_does_not_vote():
    reference, moving = in_part(0.5)
    mask = np.ones(reference.shape, np.uint8)
    mask[:, 60:] = 0
    moving[:, 67:] = 1e6
    votes = asked(reference, moving, (7.0, -4.0), masks=(mask, np.roll(mask, 7, axis=1)))
    assert votes.rival is None


def test_what_is_masked_does_not_dilute_what_the_others_say():
    """Under noise that leaves each tile little to say, all of what is seen agrees as without a mask."""
    noise = np.random.default_rng(5).normal(size=(2, 128, 160))
    images = [
        cut(texture(), *move) + 2.5 * texture().std() * n for move, n in zip(((0, 0), (3, -2)), noise, strict=True)
    ]
    seen = np.ones((128, 160), np.uint8)
    seen[32:80] = 0
    whole, part = (asked(*images, (3, -2), masks=(mask, None)) for mask in (None, seen))
    assert whole.agreeing < 1
    share = (seen[16:112, 16:144] != 0).mean()  # of the middle
    assert part.middle == pytest.approx(whole.middle * np.sqrt(share), rel=0.25)


@pytest.mark.parametrize("level", [1e-30, 1.0, 1e80])
def test_the_size_of_the_grey_levels_does_not_matter(level):
    reference, moving = in_part(0.5)
    plain = asked(reference, moving, (7.0, -4.0))
    assert asked(reference * level, moving * level, (7.0, -4.0)).rival == plain.rival


def test_neither_do_images_of_nothing_crash_nor_small_ones_vote():
    nothing = np.zeros((80, 90))
    assert asked(nothing, nothing, (0.0, 0.0)).rival is None
    assert contested(asked(nothing, nothing, (0.0, 0.0)))[0] == "no correlation"
    small = texture()[: 3 * TILE - 1, :90]
    assert asked(small, small, (0.0, 0.0)) is None


def test_noise_alone_is_seldom_a_rival():
    """Forty pairs under noise as strong as the scene: a false alarm in a hundred, by design."""
    rng = np.random.default_rng(5)
    wide = texture()
    doubted = 0
    for _ in range(40):
        reference, moving = (image + rng.normal(0, wide.std(), image.shape) for image in (cut(wide), cut(wide, 4, 6)))
        doubted += contested(asked(reference, moving, (4.0, 6.0))) is not None
    assert doubted <= 1


def plain_behind(seed, strength, noise=0.35, shape=(224, 256)):
    """Return a scene fainter than the noise, a third of it behind a thing with contrast, and the two displacements."""
    rng = np.random.default_rng(seed)
    scene, thing = texture(seed, 340), texture(seed + 100, 340)
    scene *= strength / scene.std()
    thing *= 2 / thing.std()
    y, x = np.mgrid[: shape[0], : shape[1]]
    here, there = (np.hypot(x - 128 - dx, y - 112 - dy) < 74 for dx, dy in ((0, 0), (-11, 8)))
    images = (
        np.where(here, cut(thing, shape=shape), cut(scene, shape=shape)),
        np.where(there, cut(thing, -11, 8, shape=shape), cut(scene, 13, -9, shape=shape)),
    )
    return [image + smooth(Masked(rng.normal(0, noise, shape)), 1.0).image for image in images]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_scene_too_plain_for_a_tile_to_tell_is_told_by_all_of_them(seed):
    votes = asked(*plain_behind(seed, 0.06), (-11.0, 8.0))
    assert votes.rival is not None
    assert np.hypot(votes.rival[0] - 13, votes.rival[1] + 9) <= 1.5
    assert votes.possible > votes.against
    assert contested(votes)[0] == "ambiguous"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_where_there_is_nothing_behind_it_nothing_is_held_against_a_thing(seed):
    assert contested(asked(*plain_behind(seed, 0.0), (-11.0, 8.0))) is None


def test_what_lies_outside_of_one_of_the_images_says_nothing_of_which_fits_better():
    """Nothing lies beyond the frame, and so nothing agrees with that: it is not held against the rival."""
    wide = np.tile(texture(2)[:30, :30], (9, 9))
    assert asked(cut(wide), cut(wide, 3, 2), (3.0, 2.0)).better == pytest.approx(0, abs=0.1)


def test_between_the_two_exposures_of_a_double_exposure_either_is_better():
    """Coarser levels do not tell them apart, and see one."""
    wide = texture()
    both = (cut(wide, 6, 3) + cut(wide, 2, 5)) / 2
    assert asked(cut(wide), both, (4.0, 4.0)).better > 3


def test_the_best_of_all_displacements_of_unrelated_images_is_not_beyond_its_chance():
    beyond = 0
    for seed in range(20):
        first, second = cut(texture(2 * seed)), cut(texture(2 * seed + 1))
        spectrum = np.conj(np.fft.rfft2(first)) * np.fft.rfft2(second)
        surface = np.fft.irfft2(spectrum, first.shape)[:41, :41]
        dy, dx = np.unravel_index(surface.argmax(), surface.shape)
        votes = asked(first, second, (float(dx), float(dy)))
        beyond += votes.middle > votes.chance
    assert beyond <= 1
