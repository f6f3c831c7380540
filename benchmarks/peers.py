"""The tools side by side: each takes (reference, moving) and returns (dx, dy) in our sign.

``moving(x + dx, y + dy)`` lies on ``reference(x, y)``. Each tool is called as its documentation calls it, with its
defaults unless a better setting is well known; what was chosen stands in the function. The largest displacement that
can occur (`bounds`) is told only to the tools that cannot do without: template matching, and our second column.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Bounds = tuple[float, float]


class Answer(NamedTuple):
    """What a tool said.

    trusted is None where a tool has no opinion about its own answer.
    """

    dx: float
    dy: float
    trusted: bool | None = None
    remark: str = ""


class Peer(NamedTuple):
    """A tool: its name in the table, the module it needs, and the call."""

    name: str
    module: str
    call: Callable[[Image, Image, Bounds], Answer]

    def __call__(self, reference: Image, moving: Image, bounds: Bounds) -> Answer:
        """Ask the tool; one that gives up answers with NaN and its reason."""
        try:
            return self.call(reference, moving, bounds)
        except Exception as error:
            return Answer(np.nan, np.nan, False, f"{type(error).__name__}: {error}".split("\n")[0][:200])


def ours(reference: Image, moving: Image, bounds: Bounds) -> Answer:
    """`alignment.register` as it comes."""
    import alignment

    result = alignment.register(reference, moving)
    return Answer(result.dx, result.dy, result.success, result.status)


def ours_bounded(reference: Image, moving: Image, bounds: Bounds) -> Answer:
    """`alignment.register`, told how far to look, as template matching is."""
    import alignment

    result = alignment.register(reference, moving, max_shift=(bounds[0] + 1, bounds[1] + 1))
    return Answer(result.dx, result.dy, result.success, result.status)


def match_template(reference: Image, moving: Image, bounds: Bounds) -> Answer:
    """Normalised correlation of the reference's middle over the moving image, and a parabola along each axis."""
    import cv2

    my, mx = (min(int(np.ceil(m)) + 2, size // 2 - 8) for m, size in zip(bounds[::-1], reference.shape, strict=True))
    template = reference[my : reference.shape[0] - my, mx : reference.shape[1] - mx]
    surface = cv2.matchTemplate(moving, template, cv2.TM_CCOEFF_NORMED)
    _, _, _, (x, y) = cv2.minMaxLoc(surface)
    across, down = surface[y, max(x - 1, 0) : x + 2], surface[max(y - 1, 0) : y + 2, x]
    return Answer(x - mx + _vertex(across), y - my + _vertex(down))


def _vertex(values: NDArray[Any]) -> float:
    """Return where the parabola through three values has its top, against the middle one."""
    if len(values) < 3:
        return 0.0
    low, middle, high = (float(v) for v in values)
    bend = low - 2 * middle + high
    return 0.5 * (low - high) / bend if bend < 0 else 0.0


def phase_correlate(reference: Image, moving: Image, bounds: Bounds) -> Answer:
    """OpenCV's phase correlation under a Hann window.

    It pads to a size that suits its transform, and is half a pixel off where that size is odd: such frames are cut.
    """
    import cv2

    height, width = reference.shape
    while cv2.getOptimalDFTSize(height) % 2:
        height -= 1
    while cv2.getOptimalDFTSize(width) % 2:
        width -= 1
    # copies: phaseCorrelate writes into its inputs
    reference, moving = (np.array(image[:height, :width]) for image in (reference, moving))
    window = cv2.createHanningWindow((width, height), cv2.CV_32F)
    (dx, dy), _ = cv2.phaseCorrelate(reference, moving, window)
    return Answer(dx, dy)


def ecc(reference: Image, moving: Image, bounds: Bounds) -> Answer:
    """OpenCV's enhanced correlation coefficient from (0, 0)."""
    warp = _ecc(reference, moving, np.eye(2, 3, dtype=np.float32))
    return Answer(float(warp[0, 2]), float(warp[1, 2]))


def ecc_pyramid(reference: Image, moving: Image, bounds: Bounds) -> Answer:
    """The same from coarse to fine, down to 32 px along the short side."""
    import cv2

    levels = [(reference, moving)]
    while min(levels[-1][0].shape) >= 64:
        levels.append((cv2.pyrDown(levels[-1][0]), cv2.pyrDown(levels[-1][1])))
    warp = np.eye(2, 3, dtype=np.float32)
    for level, (B, A) in enumerate(reversed(levels)):
        if level:
            warp[:, 2] *= 2
        warp = _ecc(B, A, warp)
    return Answer(float(warp[0, 2]), float(warp[1, 2]))


def _ecc(reference: Image, moving: Image, warp: NDArray[np.float32]) -> NDArray[np.float32]:
    import cv2

    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-6)
    _, warp = cv2.findTransformECC(reference, moving, warp, cv2.MOTION_TRANSLATION, criteria, None, 5)
    return warp


def skimage_phase(reference: Image, moving: Image, bounds: Bounds) -> Answer:
    """scikit-image's phase correlation, normalised (its default), to 1/100 px."""
    return _skimage(reference, moving, "phase")


def skimage_plain(reference: Image, moving: Image, bounds: Bounds) -> Answer:
    """scikit-image's cross-correlation, not normalised, to 1/100 px."""
    return _skimage(reference, moving, None)


def _skimage(reference: Image, moving: Image, normalization: str | None) -> Answer:
    from skimage.registration import phase_cross_correlation

    move, *_ = phase_cross_correlation(reference, moving, upsample_factor=100, normalization=normalization)
    return Answer(-float(move[1]), -float(move[0]))


def simple_itk(reference: Image, moving: Image, bounds: Bounds) -> Answer:
    """SimpleITK: correlation, gradient descent with steps in pixels, translation, three resolutions."""
    import SimpleITK as sitk  # noqa: N813  (the name its own documentation gives it)

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=1.0, minStep=1e-4, numberOfIterations=200, gradientMagnitudeTolerance=1e-8
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SetInitialTransform(sitk.TranslationTransform(2), inPlace=False)
    found = method.Execute(sitk.GetImageFromArray(reference), sitk.GetImageFromArray(moving))
    dx, dy = found.GetParameters()
    return Answer(dx, dy)


def pystackreg(reference: Image, moving: Image, bounds: Bounds) -> Answer:
    """pystackreg (TurboReg), translation."""
    from pystackreg import StackReg

    matrix = StackReg(StackReg.TRANSLATION).register(reference, moving)
    return Answer(float(matrix[0, 2]), float(matrix[1, 2]))


def published(reference: Image, moving: Image, bounds: Bounds, *, steps: int = 30) -> Answer:
    """The published method: a spatial transformer with two trainable numbers, NCC on the whole frame, 30 Adam steps."""
    import torch

    B, A = (torch.from_numpy(image)[None, None] for image in (reference, moving))
    translation = torch.zeros(2, 1, requires_grad=True)
    optimiser = torch.optim.Adam([translation], lr=0.001)
    eye = torch.eye(2)
    centred_b = B - B.mean()
    centred_b = centred_b / centred_b.norm()
    for _ in range(steps):
        optimiser.zero_grad()
        theta = torch.cat([eye, translation], dim=1)[None]
        grid = torch.nn.functional.affine_grid(theta, list(B.shape), align_corners=False)
        shifted = torch.nn.functional.grid_sample(A, grid, align_corners=False)
        centred_a = shifted - shifted.mean()
        loss = -(centred_a * centred_b).sum() / centred_a.norm()
        loss.backward()
        optimiser.step()
    height, width = reference.shape
    x, y = translation.detach().flatten().tolist()
    return Answer(x * width / 2, y * height / 2)


def use_threads(count: int) -> None:
    """Let each tool that counts its threads use so many; ours uses one unless asked."""
    if importlib.util.find_spec("cv2"):
        import cv2

        cv2.setNumThreads(count)
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(count)
    if importlib.util.find_spec("SimpleITK"):
        import SimpleITK as sitk  # noqa: N813

        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count)


OURS = ("register", "register, bounded")
PEERS = (
    Peer("register", "alignment", ours),
    Peer("register, bounded", "alignment", ours_bounded),
    Peer("matchTemplate", "cv2", match_template),
    Peer("phaseCorrelate", "cv2", phase_correlate),
    Peer("ECC", "cv2", ecc),
    Peer("ECC pyramid", "cv2", ecc_pyramid),
    Peer("skimage phase", "skimage", skimage_phase),
    Peer("skimage plain", "skimage", skimage_plain),
    Peer("SimpleITK", "SimpleITK", simple_itk),
    Peer("pystackreg", "pystackreg", pystackreg),
    Peer("published (torch)", "torch", published),
)
DISTRIBUTIONS = {"cv2": "opencv-python-headless", "skimage": "scikit-image"}


def installed(only: list[str] | None = None) -> tuple[list[Peer], list[str]]:
    """Return the tools that can be called here, and a sentence for each that cannot."""
    wanted = [peer for peer in PEERS if not only or any(part.lower() in peer.name.lower() for part in only)]
    found = [peer for peer in wanted if importlib.util.find_spec(peer.module) is not None]
    missing = sorted({peer.module for peer in wanted} - {peer.module for peer in found})
    return found, [
        f"{module} is not installed, its columns are left out; pip install {DISTRIBUTIONS.get(module, module)}"
        for module in missing
    ]
