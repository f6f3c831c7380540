"""The loops that run over pixels; the only file of the package that knows Numba.

All jitted code lives here because Numba's cache on disk does not notice a change in a jitted function that was
imported from another file. A kernel takes plain numbers and arrays, checks nothing, and trusts its caller that
images are C-contiguous and of one floating dtype.

The displacement comes in split: (kx, ky) are its integer parts and (a, b) in [0, 1] the rest. A translation has the
same four bilinear weights at every pixel, so a row of the interpolated image is made of four *slices* of two rows of
the moving image. Slices that are all indexed from zero vectorise; a signed offset inside the index does not.

Sums over one row are taken in the dtype of the images, the rows are added in float64.
"""

from __future__ import annotations

import numba
import numpy as np

# Sums only vectorise where they may be reassociated. `nnan` and `ninf` must never join: non-finite values are tested
# for.
_FASTMATH = {"reassoc", "contract", "arcp", "nsz"}


def _jit(function):
    """Compile with the one policy of this package; without a folder to cache in, compile anew in each process."""
    try:
        return numba.njit(function, cache=True, nogil=True, fastmath=_FASTMATH, error_model="numpy")
    except RuntimeError:  # "no locator available": neither the package folder nor the user's cache can be written
        return numba.njit(function, nogil=True, fastmath=_FASTMATH, error_model="numpy")


@_jit
def interpolate(image, upper, lower, left, right, weights, out):
    r"""Write the weighted sum of four neighbours of every pixel: one kernel for the shift and both its slopes.

    Notes
    -----
    .. math:: out[y, x] = w_0 A[u_y, l_x] + w_1 A[u_y, r_x] + w_2 A[l_y, l_x] + w_3 A[l_y, r_x]

    where an index of -1 stands for a zero outside the frame.
    """
    first, last = _longest_run(left, right)
    width = last - first
    around = np.empty((4, out.shape[1]), image.dtype)
    for y in range(out.shape[0]):
        u_inside, l_inside = upper[y] >= 0, lower[y] >= 0
        row_u, row_l = image[max(upper[y], 0)], image[max(lower[y], 0)]
        ends = (0, first), (last, out.shape[1])
        if width > 0 and u_inside and l_inside:
            m0, m1 = left[first], right[first]
            _weigh_four(
                row_u[m0 : m0 + width], row_u[m1 : m1 + width], row_l[m0 : m0 + width], row_l[m1 : m1 + width], weights,
                out[y, first:last],
            )  # fmt: skip
        else:
            ends = (0, out.shape[1]), (0, 0)
        for begin, end in ends:
            for x in range(begin, end):
                around[0, x] = _pixel(row_u, left[x], u_inside)
                around[1, x] = _pixel(row_u, right[x], u_inside)
                around[2, x] = _pixel(row_l, left[x], l_inside)
                around[3, x] = _pixel(row_l, right[x], l_inside)
            p, q, s, t = around[0], around[1], around[2], around[3]
            # the very same sum, so that a pixel does not depend on where in the frame it lies
            _weigh_four(p[begin:end], q[begin:end], s[begin:end], t[begin:end], weights, out[y, begin:end])


@_jit
def _pixel(row, x, inside):
    """Return a pixel of a row, or zero where there is none."""
    return row[x] if inside and x >= 0 else row.dtype.type(0)


@_jit
def _longest_run(left, right):
    """Return where the longest run of pixels begins and ends whose neighbours exist and are neighbours themselves."""
    best = 0, 0
    first = 0
    for x in range(left.shape[0]):
        if left[x] < 0 or right[x] < 0:
            first = x + 1
        elif x > first and (left[x] != left[x - 1] + 1 or right[x] != right[x - 1] + 1):
            first = x
        if x + 1 - first > best[1] - best[0]:
            best = first, x + 1
    return best


@_jit
def _weigh_four(p, q, s, t, weights, out):
    """Write a weighted sum of four rows."""
    w0, w1, w2, w3 = weights
    for x in range(out.shape[0]):
        out[x] = w0 * p[x] + w1 * q[x] + w2 * s[x] + w3 * t[x]


@_jit
def sums_mse(reference, moving, rectangles, origin, fraction, used, usable):
    r"""Return the four sums behind the MSE and its gradient over each of some rectangles of the reference.

    Parameters
    ----------
    reference, moving : array of shape (M, N) and (P, Q)
    rectangles : int64 array of shape (K, 4)
        Each (top, bottom, left, right): rows and columns of the reference to sum over.
    origin : (row, column)
        The upper left neighbour, in the moving image, of the reference's pixel (0, 0). All four neighbours of every
        pixel of the rectangles lie inside the moving image.
    fraction : (a, b)
        The fractions of dx and dy, in the dtype of the images.
    used : uint8 array of shape (M, N) or None
        The mask of the reference's pixels.
    usable : uint8 array of shape (P - 1, Q - 1) or None
        The mask of the moving image's cells: 1 where all four corners may be used.

    Notes
    -----
    .. math:: \sum (e^2,\; e A_x,\; e A_y,\; 1), \qquad e = A^* - B

    with :math:`A_x, A_y` the slopes of A* along dx and dy.
    """
    a, b = fraction
    zero = moving.dtype.type(0)
    out = np.zeros((rectangles.shape[0], 4))
    for k in range(rectangles.shape[0]):
        top, bottom, left, right = rectangles[k]
        column = origin[1] + left
        width = right - left
        for y in range(top, bottom):
            n = origin[0] + y
            p = moving[n, column : column + width]
            q = moving[n, column + 1 : column + 1 + width]
            s = moving[n + 1, column : column + width]
            t = moving[n + 1, column + 1 : column + 1 + width]
            target = reference[y, left:right]
            ee = ex = ey = count = moving.dtype.type(0)
            if used is not None:
                pixels = used[y, left:right]
                cells = usable[n, column : column + width]
            for x in range(width):
                down_left = s[x] - p[x]
                down_right = t[x] - q[x]
                at_left = p[x] + b * down_left
                slope_x = q[x] + b * down_right - at_left
                slope_y = down_left + a * (down_right - down_left)
                e = at_left + a * slope_x - target[x]
                if used is not None:
                    w = pixels[x] & cells[x]
                    e = e if w else zero
                    count += moving.dtype.type(w)
                ee += e * e
                ex += e * slope_x
                ey += e * slope_y
            if used is None:
                count = moving.dtype.type(width)
            row_sums = (ee, ex, ey, count)
            for i in range(4):
                out[k, i] += row_sums[i]
    return out


@_jit
def sums_ncc(reference, moving, rectangles, origin, fraction, offsets, used, usable):
    r"""Return the twelve sums behind the NCC and its gradient over each of some rectangles of the reference.

    Parameters are those of `sums_mse`, and the offsets (u0, v0), in the dtype of the images: they change no centred
    moment; near the means of the two images they save digits.

    Notes
    -----
    .. math:: \sum (u, v, u^2, u v, v^2, A_x, A_y, u A_x, u A_y, v A_x, v A_y, 1), \quad u = A^* - u_0,\; v = B - v_0
    """
    a, b = fraction
    u0, v0 = offsets
    out = np.zeros((rectangles.shape[0], 12))
    for k in range(rectangles.shape[0]):
        top, bottom, left, right = rectangles[k]
        column = origin[1] + left
        width = right - left
        for y in range(top, bottom):
            n = origin[0] + y
            p = moving[n, column : column + width]
            q = moving[n, column + 1 : column + 1 + width]
            s = moving[n + 1, column : column + width]
            t = moving[n + 1, column + 1 : column + 1 + width]
            target = reference[y, left:right]
            su = sv = suu = suv = svv = sx = sy = sux = suy = svx = svy = count = moving.dtype.type(0)
            if used is not None:
                pixels = used[y, left:right]
                cells = usable[n, column : column + width]
            for x in range(width):
                down_left = s[x] - p[x]
                down_right = t[x] - q[x]
                at_left = p[x] + b * down_left
                slope_x = q[x] + b * down_right - at_left
                slope_y = down_left + a * (down_right - down_left)
                u = at_left + a * slope_x - u0
                v = target[x] - v0
                if used is not None:
                    w = moving.dtype.type(pixels[x] & cells[x])
                    u *= w
                    v *= w
                    slope_x *= w
                    slope_y *= w
                    count += w
                su += u
                sv += v
                suu += u * u
                suv += u * v
                svv += v * v
                sx += slope_x
                sy += slope_y
                sux += u * slope_x
                suy += u * slope_y
                svx += v * slope_x
                svy += v * slope_y
            if used is None:
                count = moving.dtype.type(width)
            row_sums = (su, sv, suu, suv, svv, sx, sy, sux, suy, svx, svy, count)
            for i in range(12):
                out[k, i] += row_sums[i]
    return out


@_jit
def cell_moments_mse(reference, moving, rectangle, origin, used, usable):
    r"""Return the ten moments that describe the MSE on a whole cell, and the number of pixels.

    Parameters are those of `sums_mse`, with a single rectangle (top, bottom, left, right) and without a fraction: the
    moments serve every fraction in the cell.

    Notes
    -----
    .. math:: G_{ij} = \sum D_i D_j, \qquad D_i = A_i - B

    where :math:`A_0, A_1, A_2, A_3` are the upper left, upper right, lower left and lower right neighbour. In order:
    G00, G01, G02, G03, G11, G12, G13, G22, G23, G33, N.
    """
    top, bottom, left, right = rectangle
    row, column = origin[0], origin[1] + left
    width = right - left
    out = np.zeros(11)
    for y in range(top, bottom):
        n = row + y
        p = moving[n, column : column + width]
        q = moving[n, column + 1 : column + 1 + width]
        s = moving[n + 1, column : column + width]
        t = moving[n + 1, column + 1 : column + 1 + width]
        target = reference[y, left:right]
        g00 = g01 = g02 = g03 = g11 = g12 = g13 = g22 = g23 = g33 = count = moving.dtype.type(0)
        if used is not None:
            pixels = used[y, left:right]
            cells = usable[n, column : column + width]
        for x in range(width):
            d0 = p[x] - target[x]
            d1 = q[x] - target[x]
            d2 = s[x] - target[x]
            d3 = t[x] - target[x]
            if used is not None:
                w = moving.dtype.type(pixels[x] & cells[x])
                d0 *= w
                d1 *= w
                d2 *= w
                d3 *= w
                count += w
            g00 += d0 * d0
            g01 += d0 * d1
            g02 += d0 * d2
            g03 += d0 * d3
            g11 += d1 * d1
            g12 += d1 * d2
            g13 += d1 * d3
            g22 += d2 * d2
            g23 += d2 * d3
            g33 += d3 * d3
        if used is None:
            count = moving.dtype.type(width)
        row_sums = (g00, g01, g02, g03, g11, g12, g13, g22, g23, g33, count)
        for i in range(11):
            out[i] += row_sums[i]
    return out


@_jit
def cell_moments_ncc(reference, moving, rectangle, origin, offsets, used, usable):
    r"""Return the moments that describe the NCC on a whole cell.

    Parameters are those of `cell_moments_mse`, and the offsets of `sums_ncc`.

    Notes
    -----
    With :math:`u_i = A_i - u_0` and :math:`v = B - v_0`, in order: the ten :math:`\sum u_i u_j` (as in
    `cell_moments_mse`), the four :math:`\sum u_i v`, the four :math:`\sum u_i`, then :math:`\sum v`,
    :math:`\sum v^2` and N.
    """
    top, bottom, left, right = rectangle
    row, column = origin[0], origin[1] + left
    u0, v0 = offsets
    width = right - left
    out = np.zeros(21)
    for y in range(top, bottom):
        n = row + y
        p = moving[n, column : column + width]
        q = moving[n, column + 1 : column + 1 + width]
        s = moving[n + 1, column : column + width]
        t = moving[n + 1, column + 1 : column + 1 + width]
        target = reference[y, left:right]
        p00 = p01 = p02 = p03 = p11 = p12 = p13 = p22 = p23 = p33 = moving.dtype.type(0)
        c0 = c1 = c2 = c3 = s0 = s1 = s2 = s3 = sv = svv = count = moving.dtype.type(0)
        if used is not None:
            pixels = used[y, left:right]
            cells = usable[n, column : column + width]
        for x in range(width):
            a0 = p[x] - u0
            a1 = q[x] - u0
            a2 = s[x] - u0
            a3 = t[x] - u0
            v = target[x] - v0
            if used is not None:
                w = moving.dtype.type(pixels[x] & cells[x])
                a0 *= w
                a1 *= w
                a2 *= w
                a3 *= w
                v *= w
                count += w
            p00 += a0 * a0
            p01 += a0 * a1
            p02 += a0 * a2
            p03 += a0 * a3
            p11 += a1 * a1
            p12 += a1 * a2
            p13 += a1 * a3
            p22 += a2 * a2
            p23 += a2 * a3
            p33 += a3 * a3
            c0 += a0 * v
            c1 += a1 * v
            c2 += a2 * v
            c3 += a3 * v
            s0 += a0
            s1 += a1
            s2 += a2
            s3 += a3
            sv += v
            svv += v * v
        if used is None:
            count = moving.dtype.type(width)
        products = (p00, p01, p02, p03, p11, p12, p13, p22, p23, p33)
        others = (c0, c1, c2, c3, s0, s1, s2, s3, sv, svv, count)
        for i in range(10):
            out[i] += products[i]
        for i in range(11):
            out[10 + i] += others[i]
    return out


@_jit
def _add_three(target, r0, r1, r2, t0, t1, t2):
    """Add three weighted rows at once, which spares two of three trips of the target through memory."""
    for x in range(target.shape[0]):
        target[x] += t0 * r0[x] + t1 * r1[x] + t2 * r2[x]


@_jit
def _add_nine(target, r0, r1, r2, r3, r4, r5, r6, r7, r8, weights):
    """Add nine weighted rows at once, as many as there are registers for."""
    w0, w1, w2, w3, w4, w5, w6, w7, w8 = (
        weights[0], weights[1], weights[2], weights[3], weights[4], weights[5], weights[6], weights[7], weights[8],
    )  # fmt: skip
    for x in range(target.shape[0]):
        target[x] += (
            w0 * r0[x] + w1 * r1[x] + w2 * r2[x] + w3 * r3[x] + w4 * r4[x]
            + w5 * r5[x] + w6 * r6[x] + w7 * r7[x] + w8 * r8[x]
        )  # fmt: skip


@_jit
def filter_separably(image, taps_y, taps_x, first, step, out):
    r"""Filter an image along both axes and keep every `step`-th pixel; a few row buffers, no intermediate image.

    Parameters
    ----------
    image : array of shape (P, Q)
    taps_y, taps_x : array
        The weights along each axis, in the dtype of `out`; their number is a multiple of three (add zeros).
    first : (row, column)
        The pixel of the image that the first taps meet at the first pixel of `out`; it may lie outside.
    step : int
        Pixels of the image from one pixel of `out` to the next.
    out : floating array of shape (M, N)

    Notes
    -----
    .. math:: out[i, j] = \sum_n \sum_m h_n g_m A[first_y + step\,i + n,\; first_x + step\,j + m]

    The nearest pixel of the frame stands for what lies outside.
    """
    last, width = image.shape[0] - 1, image.shape[1]
    count = out.shape[1]
    length = count * step + taps_x.shape[0]
    # one row of the buffer for each remainder of the column by the step, so that every tap meets a contiguous stretch
    phases = np.empty((step, length // step + 1), out.dtype)
    buffer = np.empty(length, out.dtype) if step > 1 else phases[0, :length]
    inner = max(0, -first[1])  # buffer[inner:outer] lies inside the frame
    outer = max(inner, min(length, width - first[1]))
    inside = buffer[inner:outer]
    left, right = first[1] + inner, first[1] + outer
    for i in range(out.shape[0]):
        inside[:] = 0
        top = first[0] + step * i
        nines = taps_y.shape[0] // 9 * 9
        for n in range(0, nines, 9):
            _add_nine(
                inside,
                image[min(max(top + n, 0), last), left:right], image[min(max(top + n + 1, 0), last), left:right],
                image[min(max(top + n + 2, 0), last), left:right], image[min(max(top + n + 3, 0), last), left:right],
                image[min(max(top + n + 4, 0), last), left:right], image[min(max(top + n + 5, 0), last), left:right],
                image[min(max(top + n + 6, 0), last), left:right], image[min(max(top + n + 7, 0), last), left:right],
                image[min(max(top + n + 8, 0), last), left:right], taps_y[n : n + 9],
            )  # fmt: skip
        for n in range(nines, taps_y.shape[0], 3):
            r0 = image[min(max(top + n, 0), last), left:right]
            r1 = image[min(max(top + n + 1, 0), last), left:right]
            r2 = image[min(max(top + n + 2, 0), last), left:right]
            _add_three(inside, r0, r1, r2, taps_y[n], taps_y[n + 1], taps_y[n + 2])
        buffer[:inner] = buffer[inner]
        buffer[outer:] = buffer[outer - 1]
        if step > 1:
            for r in range(step):
                phase = phases[r]
                for j in range((length - r - 1) // step + 1):
                    phase[j] = buffer[step * j + r]
        target = out[i]
        target[:] = 0
        nines = taps_x.shape[0] // 9 * 9 if step == 1 else 0
        for m in range(0, nines, 9):
            _add_nine(
                target,
                buffer[m : m + count], buffer[m + 1 : m + 1 + count], buffer[m + 2 : m + 2 + count],
                buffer[m + 3 : m + 3 + count], buffer[m + 4 : m + 4 + count], buffer[m + 5 : m + 5 + count],
                buffer[m + 6 : m + 6 + count], buffer[m + 7 : m + 7 + count], buffer[m + 8 : m + 8 + count],
                taps_x[m : m + 9],
            )  # fmt: skip
        for m in range(nines, taps_x.shape[0], 3):
            r0 = phases[m % step, m // step : m // step + count]
            r1 = phases[(m + 1) % step, (m + 1) // step : (m + 1) // step + count]
            r2 = phases[(m + 2) % step, (m + 2) // step : (m + 2) // step + count]
            _add_three(target, r0, r1, r2, taps_x[m], taps_x[m + 1], taps_x[m + 2])


@_jit
def gradient_magnitude(image, out):
    r"""Write the length of the gradient by central differences; the edge pixels are repeated outside.

    Notes
    -----
    .. math:: \sqrt{(A(x+1, y) - A(x-1, y))^2 + (A(x, y+1) - A(x, y-1))^2} / 2
    """
    height, width = image.shape
    half = image.dtype.type(0.5)
    for y in range(height):
        above = image[max(y - 1, 0)]
        below = image[min(y + 1, height - 1)]
        row = image[y]
        target = out[y]
        before = row[: width - 2]
        after = row[2:]
        for x in range(width - 2):
            along = after[x] - before[x]
            across = below[x + 1] - above[x + 1]
            target[x + 1] = half * np.sqrt(along * along + across * across)
        for x, x0, x1 in ((0, 0, min(1, width - 1)), (width - 1, max(width - 2, 0), width - 1)):
            along = row[x1] - row[x0]
            across = below[x] - above[x]
            target[x] = half * np.sqrt(along * along + across * across)


@_jit
def _weigh_nine(r0, r1, r2, r3, r4, r5, r6, r7, r8, weights, out):
    """Write a weighted sum of nine rows. One sum at a time: nine weights fit into registers, eighteen do not."""
    v0, v1, v2, v3, v4, v5, v6, v7, v8 = (
        weights[0], weights[1], weights[2], weights[3], weights[4], weights[5], weights[6], weights[7], weights[8],
    )  # fmt: skip
    for x in range(out.shape[0]):
        out[x] = (
            v0 * r0[x] + v1 * r1[x] + v2 * r2[x] + v3 * r3[x] + v4 * r4[x]
            + v5 * r5[x] + v6 * r6[x] + v7 * r7[x] + v8 * r8[x]
        )  # fmt: skip


@_jit
def _sample_row(image, row, column, taps_y, taps_x, down, fields):
    r"""Write one row of the interpolated image and of its slopes along x and y, from nine rows of the image.

    Parameters
    ----------
    image : array of shape (P, Q)
    row, column : int
        The pixel that the first tap of the first target meets.
    taps_y, taps_x : array of shape (2, 9)
        Weights and their slopes along each axis.
    down : array of shape (2, width + 8)
        Room for the sums down the columns.
    fields : array of shape (3, width)
        Where the value, the slope along x and the slope along y go.
    """
    n = down.shape[1]
    for k in range(2):
        _weigh_nine(
            image[row, column : column + n], image[row + 1, column : column + n], image[row + 2, column : column + n],
            image[row + 3, column : column + n], image[row + 4, column : column + n],
            image[row + 5, column : column + n], image[row + 6, column : column + n],
            image[row + 7, column : column + n], image[row + 8, column : column + n],
            taps_y[k], down[k],
        )  # fmt: skip
    n = fields.shape[1]
    for k, across in ((0, 0), (0, 1), (1, 0)):
        r = down[k]
        _weigh_nine(
            r[0:n], r[1 : n + 1], r[2 : n + 2], r[3 : n + 3], r[4 : n + 4], r[5 : n + 5], r[6 : n + 6], r[7 : n + 7],
            r[8 : n + 8], taps_x[across], fields[2 * k + across],
        )  # fmt: skip


@_jit
def _normalise(fields, weights):
    r"""Divide an interpolated row by the weight that was usable under the taps, and its slopes by the quotient rule.

    Notes
    -----
    .. math:: A^* = \frac{F}{W}, \qquad \frac{\partial A^*}{\partial d} = \frac{\partial_d F - A^* \partial_d W}{W}
    """
    zero = fields.dtype.type(0)
    one = fields.dtype.type(1)
    for x in range(fields.shape[1]):
        w = weights[0, x]
        inverse = one / w if w > zero else zero
        value = fields[0, x] * inverse
        fields[0, x] = value
        fields[1, x] = (fields[1, x] - value * weights[1, x]) * inverse
        fields[2, x] = (fields[2, x] - value * weights[2, x]) * inverse


@_jit
def _add_products(A, B, u0, v0, pixels, cells, out):
    """Add the sixteen sums over a stretch of a row: A and B hold value, slope along x and slope along y."""
    A0, A1, A2 = A
    B0, B1, B2 = B
    zero = u0 - u0
    su = sv = suu = suv = svv = sx = sy = sux = suy = svx = svy = count = zero
    xx = xy = yx = yy = zero
    for x in range(A0.shape[0]):
        u = A0[x] - u0
        v = B0[x] - v0
        a_x = A1[x]
        a_y = A2[x]
        if pixels is not None:
            w = A0.dtype.type(pixels[x] & cells[x])
            u *= w
            v *= w
            a_x *= w
            a_y *= w
            count += w
        su += u
        sv += v
        suu += u * u
        suv += u * v
        svv += v * v
        sx += a_x
        sy += a_y
        sux += u * a_x
        suy += u * a_y
        svx += v * a_x
        svy += v * a_y
        xx += a_x * B1[x]
        xy += a_x * B2[x]
        yx += a_y * B1[x]
        yy += a_y * B2[x]
    if pixels is None:
        count = A0.dtype.type(A0.shape[0])
    row_sums = (su, sv, suu, suv, svv, sx, sy, sux, suy, svx, svy, count, xx, xy, yx, yy)
    for i in range(16):
        out[i] += row_sums[i]


@_jit
def sums_gaussian(images, weights, rectangles, origins, taps_y, taps_x, offsets, used, usable):
    r"""Return the sixteen sums of a pass with the Gaussian kernel, over each of some rectangles of the domain.

    Each row of the domain is sampled once, over all columns that some rectangle wants, and then added up stretch by
    stretch: a few row buffers are all the memory.

    Parameters
    ----------
    images : (reference, moving)
        Zero where a mask hides a pixel.
    weights : (reference's, moving's) or None
        1 where a pixel may be used, 0 where not, in the dtype of the images: what the taps meet of them divides.
    rectangles : int64 array of shape (K, 4)
        Each (top, bottom, left, right), in pixels of the domain.
    origins : int64 array of shape (2, 2)
        For each image the (row, column) that the first tap of the domain's pixel (0, 0) meets. All taps of every pixel
        lie inside the images.
    taps_y, taps_x : (array of shape (2, 9), array of shape (2, 9))
        For each image its nine weights and their nine slopes along an axis.
    offsets : (v0, u0)
        Grey levels near the mean of each image, as in `sums_ncc`.
    used, usable : uint8 arrays or None
        Masks; the first is indexed like the domain, the second like the moving image. A pixel counts if the reference's
        and, in the moving image, the nearest to where it reads may be used.

    Notes
    -----
    The twelve sums of `sums_ncc`, then :math:`\sum A_x B_x, \sum A_x B_y, \sum A_y B_x, \sum A_y B_y`.
    """
    v0, u0 = offsets
    dtype = images[1].dtype
    out = np.zeros((rectangles.shape[0], 16))
    left = rectangles[:, 2].min()
    width = rectangles[:, 3].max() - left
    down = np.empty((2, width + 8), dtype)
    fields = np.empty((2, 3, width), dtype)
    shares = np.empty((3, width), dtype)
    wanted = np.zeros(rectangles[:, 1].max(), np.bool_)
    for k in range(rectangles.shape[0]):
        wanted[rectangles[k, 0] : rectangles[k, 1]] = True
    for y in range(rectangles[:, 0].min(), rectangles[:, 1].max()):
        if not wanted[y]:
            continue
        for i in range(2):
            row, column = origins[i, 0] + y, origins[i, 1] + left
            _sample_row(images[i], row, column, taps_y[i], taps_x[i], down, fields[i])
            if weights is not None:
                _sample_row(weights[i], row, column, taps_y[i], taps_x[i], down, shares)
                _normalise(fields[i], shares)
        B, A = fields[0], fields[1]
        for k in range(rectangles.shape[0]):
            if rectangles[k, 0] <= y < rectangles[k, 1]:
                x0, x1 = rectangles[k, 2] - left, rectangles[k, 3] - left
                stretch_a = A[0, x0:x1], A[1, x0:x1], A[2, x0:x1]
                stretch_b = B[0, x0:x1], B[1, x0:x1], B[2, x0:x1]
                if used is None:
                    _add_products(stretch_a, stretch_b, u0, v0, None, None, out[k])
                else:
                    n, m = origins[1, 0] + y + 4, origins[1, 1] + 4
                    pixels = used[y, left + x0 : left + x1]
                    cells = usable[n, m + left + x0 : m + left + x1]
                    _add_products(stretch_a, stretch_b, u0, v0, pixels, cells, out[k])
    return out


@_jit
def _add_neighbours(p, q, s, t, sign, sums):
    """Add the pixels of a row, their squares, and the products of neighbours, to the sums of their columns."""
    for x in range(p.shape[0]):
        sums[0, x] += sign * p[x]
        sums[1, x] += sign * p[x] * p[x]
        sums[2, x] += sign * p[x] * q[x]
        sums[3, x] += sign * p[x] * s[x]
        sums[4, x] += sign * p[x] * t[x]
        sums[5, x] += sign * q[x] * s[x]


@_jit
def sums_of_boxes(image, height, width, out):
    r"""Write the sums over boxes of one size, at every place in an image, that the moments of cells are made of.

    Notes
    -----
    With :math:`p, q, s, t` a pixel, its right, its lower and its lower right neighbour, and the first pixel of a box in
    row j and column i, `out[:, j, i]` holds :math:`\sum p`, :math:`\sum p^2`, :math:`\sum pq`, :math:`\sum ps`,
    :math:`\sum pt` and :math:`\sum qs`. From one box to the next a row, or a column, comes and another goes.
    """
    sums = np.zeros((6, image.shape[1] - 1))
    for y in range(height - 1):
        _add_neighbours(image[y, :-1], image[y, 1:], image[y + 1, :-1], image[y + 1, 1:], 1.0, sums)
    for j in range(out.shape[1]):
        y = j + height - 1
        _add_neighbours(image[y, :-1], image[y, 1:], image[y + 1, :-1], image[y + 1, 1:], 1.0, sums)
        for k in range(6):
            total = 0.0
            for x in range(width):
                total += sums[k, x]
            out[k, j, 0] = total
            for i in range(1, out.shape[2]):
                total += sums[k, i + width - 1] - sums[k, i - 1]
                out[k, j, i] = total
        _add_neighbours(image[j, :-1], image[j, 1:], image[j + 1, :-1], image[j + 1, 1:], -1.0, sums)


@_jit
def correlate_rows(image, window, out):
    r"""Write the correlation along the rows' direction of two complex fields, column by column.

    Notes
    -----
    With :math:`u = A_{y+j}` and :math:`v = B_y`, `out[:, j]` holds the real and the imaginary part of
    :math:`\sum_y u v`, as the fields do of theirs. Four rows of the window, whose rows must be a multiple of that, are
    taken at a time: each sum is read and written a quarter as often.
    """
    out[:] = 0.0
    for y in range(0, window.shape[1], 4):
        for j in range(out.shape[1]):
            for x in range(window.shape[2]):
                real, imaginary = out[0, j, x], out[1, j, x]
                for k in range(4):
                    u_r, u_i = image[0, y + k + j, x], image[1, y + k + j, x]
                    v_r, v_i = window[0, y + k, x], window[1, y + k, x]
                    real += u_r * v_r - u_i * v_i
                    imaginary += u_r * v_i + u_i * v_r
                out[0, j, x], out[1, j, x] = real, imaginary


@_jit
def products_of_corners(boxes, out):
    """Write the sums of the products of the four corners of every cell, from the sums over boxes."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            P = out[y, x]
            P[0, 0], P[1, 1], P[2, 2], P[3, 3] = (
                boxes[1, y, x], boxes[1, y, x + 1], boxes[1, y + 1, x], boxes[1, y + 1, x + 1],
            )  # fmt: skip
            P[0, 1], P[2, 3], P[0, 2], P[1, 3] = boxes[2, y, x], boxes[2, y + 1, x], boxes[3, y, x], boxes[3, y, x + 1]
            P[0, 3], P[1, 2] = boxes[4, y, x], boxes[5, y, x]
            for i in range(1, 4):
                for j in range(i):
                    P[i, j] = P[j, i]


@_jit
def _form(matrix, w0, w1, w2, w3):
    """Return w' M w of a symmetric matrix."""
    own = w0 * w0 * matrix[0, 0] + w1 * w1 * matrix[1, 1] + w2 * w2 * matrix[2, 2] + w3 * w3 * matrix[3, 3]
    first = w0 * (w1 * matrix[0, 1] + w2 * matrix[0, 2] + w3 * matrix[0, 3])
    return own + 2 * (first + w1 * (w2 * matrix[1, 2] + w3 * matrix[1, 3]) + w2 * w3 * matrix[2, 3])


@_jit
def _curvature(matrix):
    """Return the largest second derivative of a cell's form along a, which is at b = 0 or b = 1, plus that along b."""
    p, q, s, t = matrix[0, 0], matrix[1, 1], matrix[2, 2], matrix[3, 3]
    m_a = max(p - 2 * matrix[0, 1] + q, s - 2 * matrix[2, 3] + t)
    m_b = max(p - 2 * matrix[0, 2] + s, q - 2 * matrix[1, 3] + t)
    return 2 * (m_a + m_b)


@_jit
def _loss_of(correlates, c, v, spread, floor):
    """Return v over the number of pixels, or -c / sqrt(v spread); infinity where v is not above the floor."""
    if not correlates:
        return max(v, 0.0) / spread
    return -c / np.sqrt(v * spread) if v > floor else np.inf


@_jit
def losses_at_corners(correlates, matrix, vector, spread, floor, usable, out):
    """Write the loss at the corners of cells, the lowest where masks leave cells that meet different pixels to compare.

    A corner's weights are one and zeros.
    """
    out[:] = np.inf
    for y in range(usable.shape[0]):
        for x in range(usable.shape[1]):
            if usable[y, x]:
                for k in range(4):
                    v, c = matrix[y, x, k, k], vector[y, x, k]
                    loss = _loss_of(correlates, c, v, spread[y, x], floor[y, x])
                    j, i = y + k // 2, x + k % 2
                    out[j, i] = min(out[j, i], loss)


@_jit
def bound_cells(correlates, matrix, vector, spread, floor, rows, columns, parts, bounds, lowest):
    r"""Write what the loss of some cells cannot lie below, and the lowest value on a grid of so many parts.

    Notes
    -----
    See `alignment.exhaustive.global_minimum` for the bounds. `spread` is the reference's variance, or for the MSE the
    number of pixels.
    """
    form, loss = np.empty((2, parts + 1, parts + 1))
    for k in range(rows.shape[0]):
        at = rows[k], columns[k]
        M, c = matrix[at], vector[at]
        for y in range(parts + 1):
            for x in range(parts + 1):
                a, b = x / parts, y / parts
                w0, w1, w2, w3 = (1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b
                v = _form(M, w0, w1, w2, w3)
                form[y, x] = v
                loss[y, x] = _loss_of(
                    correlates, w0 * c[0] + w1 * c[1] + w2 * c[2] + w3 * c[3], v, spread[at], floor[at]
                )
        dip = _curvature(M) / (8 * parts * parts)
        bounds[k], lowest[k] = np.inf, loss.min()
        for y in range(parts):
            for x in range(parts):
                corner = min(loss[y, x], loss[y, x + 1], loss[y + 1, x], loss[y + 1, x + 1])
                least = min(form[y, x], form[y, x + 1], form[y + 1, x], form[y + 1, x + 1]) - dip
                if not correlates:
                    bound = corner - dip / spread[at]
                elif least > floor[at] and corner < np.inf:
                    bound = max(min(corner, 0.0) * (1 + dip / (2 * least)), -1 - 1e-9)
                else:
                    bound = -1.0
                bounds[k] = min(bounds[k], bound)


@_jit
def project(levels, grey, fields, reach):
    r"""Return the sums of the products of a frame with some fields, and of its squares: one pass over all of them.

    Parameters
    ----------
    levels : float32 array of shape (M, N)
        Grey levels.
    grey : float32
        What is taken off each of them first; near their mean it saves digits.
    fields : float32 array of shape (M, K, N)
        The rows of the fields lie side by side, so that memory is walked through once, from its beginning to its end.
    reach : int
        Pixels along the border that the squares leave out.

    Notes
    -----
    .. math:: \sum v B_k \;(k = 1 \ldots K), \quad \sum v^2, \qquad v = A - A_0
    """
    height, width = levels.shape
    count = fields.shape[1]
    out = np.zeros(count + 1)
    v = np.empty(width, np.float32)
    inside = v[reach : width - reach]
    for y in range(height):
        row = levels[y]
        for x in range(width):
            v[x] = row[x] - grey
        for k in range(count):
            field = fields[y, k]
            product = np.float32(0)
            for x in range(width):
                product += v[x] * field[x]
            out[k] += product
        if reach <= y < height - reach:
            square = np.float32(0)
            for x in range(inside.shape[0]):
                square += inside[x] * inside[x]
            out[count] += square
    return out


@_jit
def _polynomial(k, x, y):
    """Return the value and the derivatives x, y, xx, xy, yy of sum k[q][p] x^p y^q, by Horner's rule along both."""
    v = vx = vy = vxx = vxy = vyy = 0.0
    degree = k.shape[0] - 1
    for q in range(degree, -1, -1):
        r = rx = rxx = 0.0
        for p in range(degree - q, -1, -1):
            rxx = rxx * x + 2 * rx
            rx = rx * x + r
            r = r * x + k[q, p]
        vyy = vyy * y + 2 * vy
        vy, vxy = vy * y + v, vxy * y + vx
        v, vx, vxx = v * y + r, vx * y + rx, vxx * y + rxx
    return v, vx, vy, vxx, vxy, vyy


@_jit
def climb(products, variance, holds, still, steps):
    r"""Return the fraction (x, y) at which a correlation is highest, and how high.

    Parameters
    ----------
    products, variance : float64 arrays of shape (D + 1, D + 1), (2 D + 1, 2 D + 1)
        The coefficients [q, p] of :math:`x^p y^q` of two polynomials of degree D and 2 D.
    holds : float
        How far from zero the polynomials hold.
    still : float
        A step shorter than this is the last: what a next one would change is of the order of its square.
    steps : int
        How many steps to take at the most.

    Returns
    -------
    (float, float, float)
        The height is 0 where it lies farther than the polynomials hold: then the fraction points to where to go on, or
        is NaN if it points nowhere.

    Notes
    -----
    Newton's method on :math:`\log c - \frac12 \log v` with c the products and v the variance.
    """
    x = y = 0.0
    for _ in range(steps):
        c, cx, cy, cxx, cxy, cyy = _polynomial(products, x, y)
        v, vx, vy, vxx, vxy, vyy = _polynomial(variance, x, y)
        if not (c > 0 and v > 0):
            break
        ux, uy, wx, wy = cx / c, cy / c, vx / v, vy / v
        gx, gy = ux - wx / 2, uy - wy / 2
        hxx = cxx / c - ux * ux - vxx / (2 * v) + wx * wx / 2
        hxy = cxy / c - ux * uy - vxy / (2 * v) + wx * wy / 2
        hyy = cyy / c - uy * uy - vyy / (2 * v) + wy * wy / 2
        determinant = hxx * hyy - hxy * hxy
        if determinant <= 0 or hxx >= 0:  # no hill: uphill by a pixel
            length = max(abs(gx), abs(gy))
            return (gx / length, gy / length, 0.0) if length > 0 else (np.nan, np.nan, 0.0)
        sx, sy = -(hyy * gx - hxy * gy) / determinant, -(hxx * gy - hxy * gx) / determinant
        x, y = x + sx, y + sy
        if max(abs(sx), abs(sy)) < still:
            return (x, y, (c + (cx * sx + cy * sy) / 2) / np.sqrt(v))
        if max(abs(x), abs(y)) > holds:
            return min(max(x, -3.0), 3.0), min(max(y, -3.0), 3.0), 0.0
    return np.nan, np.nan, 0.0


@_jit
def _loss_in_cell(numerator, form, spread, floor, a, b):
    """Return a loss, v or -c / sqrt(v spread), with both derivatives; NaN where v is not above the floor."""
    v, va, vb, _, _, _ = _polynomial(form, a, b)
    if not v > floor:
        return np.nan, np.nan, np.nan
    if spread == 0:
        return max(v, 0.0), va, vb
    c, ca, cb, _, _, _ = _polynomial(numerator, a, b)
    factor = -1 / np.sqrt(v * spread)
    return factor * c, factor * (ca - c * va / (2 * v)), factor * (cb - c * vb / (2 * v))


@_jit
def _remembered_step(adam, constants, memory, i, gradient):
    """Return a step along one axis by Adam, or by gradient descent with momentum, and keep what the law remembers."""
    if not adam:
        memory[i] = constants[1] * memory[i] - constants[0] * gradient
        return memory[i]
    rate, beta1, beta2, epsilon = constants
    memory[i] = beta1 * memory[i] + (1 - beta1) * gradient
    memory[i + 2] = beta2 * memory[i + 2] + (1 - beta2) * gradient * gradient
    m_hat = memory[i] / (1 - beta1 ** memory[4])
    v_hat = memory[i + 2] / (1 - beta2 ** memory[4])
    return -rate * m_hat / (np.sqrt(v_hat) + epsilon)


@_jit
def descend_in_cell(polynomials, cell, adam, constants, memory, place, scale, tolerance, rows):
    r"""Take steps by gradient descent or Adam for as long as they stay in one cell, on its polynomials alone.

    Parameters
    ----------
    polynomials : (numerator, form, spread, floor)
        The coefficients [q, p] of :math:`a^p b^q` of two polynomials c and v, float64 arrays of shape (3, 3) and
        (5, 5); 0 for the loss v, else s for the loss :math:`-c / \sqrt{v s}`; and the v below which it is undefined.
    cell : (kx, ky, lower, upper)
        The displacement of the corner (a, b) = (0, 0), and whether the lower and the upper borders belong to the cell.
    adam : bool
        Which of the two laws to follow; see `descent.Adam` and `descent.GradientDescent`.
    constants : float64 array of shape (4,)
        Learning rate, beta1, beta2, epsilon; or learning rate and momentum.
    memory : float64 array of shape (5,)
        What the law remembers along x and y: the mean of the gradient, or the velocity; the mean of its square; and
        how many steps there were.
    place : float64 array of shape (5,)
        The displacement, the gradient there, and the length of the last step in pixels.
    scale : (float, float)
        Pixels in one unit of the coordinates that the law works in.
    tolerance : float
        A step shorter than this many pixels is the last.
    rows : float64 array of shape (N, 5)
        The displacement, loss and gradient after each step are written here, N at the most.

    Returns
    -------
    (int, bool)
        How many steps stayed in the cell; and whether one more was taken, out of the cell or to where the loss is
        undefined. Then `place` and `memory` are those after it, without a gradient.
    """
    numerator, form, spread, floor = polynomials
    kx, ky, lower, upper = cell
    for n in range(rows.shape[0]):
        memory[4] += 1
        step_x = scale[0] * _remembered_step(adam, constants, memory, 0, scale[0] * place[2])
        step_y = scale[1] * _remembered_step(adam, constants, memory, 1, scale[1] * place[3])
        place[0] += step_x
        place[1] += step_y
        place[4] = np.hypot(step_x, step_y)
        a, b = place[0] - kx, place[1] - ky
        inside = (a > 0 or (lower and a == 0)) and (a < 1 or (upper and a == 1))
        inside = inside and (b > 0 or (lower and b == 0)) and (b < 1 or (upper and b == 1))
        if not inside:
            return n, True
        loss, slope_x, slope_y = _loss_in_cell(numerator, form, spread, floor, a, b)
        if np.isnan(loss):
            return n, True
        place[2], place[3] = slope_x, slope_y
        rows[n, 0], rows[n, 1], rows[n, 2], rows[n, 3], rows[n, 4] = place[0], place[1], loss, slope_x, slope_y
        if place[4] < tolerance:
            return n + 1, False
    return rows.shape[0], False
