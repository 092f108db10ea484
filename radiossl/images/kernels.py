"""The steps of views and preprocessing that work pixel by pixel, compiled for one CPU core each.

Each does in one pass over an image what tensor operations do in ten to forty, and gives the same result; accelerators
use the tensor operations beside every call of these. The kernels release the interpreter's lock, so that
`radiossl.images.parallel.map_on_cores` runs one on each core.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from radiossl.io.compiling import kernel, reduction
from radiossl.store.clipping import sort_key

Image = NDArray[np.float32]

_F = np.float32
_ZERO, _ONE, _SIX = _F(0), _F(1), _F(6)
_RED, _GREEN, _BLUE = _F(0.2989), _F(0.587), _F(0.114)


@kernel
def _clip(value: np.float32) -> np.float32:
    return min(max(value, _ZERO), _ONE)


@kernel
def rescale(pixels: Image, low: float, scale: float, clip: bool, out: Image) -> None:
    """Write (pixels - low) * scale to `out`, 0 where a pixel is not finite, within [0, 1] if `clip`."""
    for i in range(pixels.shape[0]):
        for j in range(pixels.shape[1]):
            value = (pixels[i, j] - low) * scale
            bounded = min(max(value, 0.0), 1.0) if clip else value
            out[i, j] = _F(bounded) if abs(pixels[i, j]) < np.inf else _ZERO


@kernel
def resample(image: Image, theta: NDArray[np.float64], block: int, out: Image) -> None:
    """Bilinear affine resampling of (c, h, w) to (c, s, s), as `grid_sample` with zeros outside.

    Means of `block` x `block` pixels take the place of pixels, as `avg_pool2d` with `ceil_mode` makes them. `theta`,
    shape (2, 3), leads from the result's to these pixels' coordinates, both from -1 to 1 at the outer edges. Only the
    part of the image that is seen is touched.
    """
    channels = image.shape[0]
    height, width = -(-image.shape[1] // block), -(-image.shape[2] // block)
    size = out.shape[1]
    step_x, step_y = theta[0, 0] * width / size, theta[1, 0] * height / size
    first = (1 - size) / 2  # the first column's place from the middle one, in steps
    # With a border of zeros every pixel has its four neighbours. Extremes lie in the corners, give or take a rounding.
    left, right_end, top, bottom = width + 2, 0, height + 2, 0
    for i in (0, size - 1):
        v = (2 * i + 1) / size - 1
        for j in (0, size - 1):
            x = ((theta[0, 1] * v + theta[0, 2] + 1) * width + 1) / 2 + (first + j) * step_x
            y = ((theta[1, 1] * v + theta[1, 2] + 1) * height + 1) / 2 + (first + j) * step_y
            x, y = min(max(x, 0.0), width + 1.0), min(max(y, 0.0), height + 1.0)
            left, right_end = min(left, int(x) - 1), max(right_end, int(x) + 2)
            top, bottom = min(top, int(y) - 1), max(bottom, int(y) + 2)
    left, top = max(left, 0), max(top, 0)
    bordered = _bordered(image, block, top, min(bottom, height + 2) + 1, left, min(right_end, width + 2) + 1)
    # Unsigned positions need no test of their sign.
    stride = np.uint64(bordered.shape[2])
    flat = bordered.reshape(channels, -1)
    where = np.empty(size, np.uint64)
    right, down = np.empty(size, np.float32), np.empty(size, np.float32)
    for i in range(size):
        v = (2 * i + 1) / size - 1
        start_x = ((theta[0, 1] * v + theta[0, 2] + 1) * width + 1) / 2 + first * step_x
        start_y = ((theta[1, 1] * v + theta[1, 2] + 1) * height + 1) / 2 + first * step_y
        for j in range(size):
            x = min(max(start_x + step_x * j, 0.0), width + 1.0)
            y = min(max(start_y + step_y * j, 0.0), height + 1.0)
            column, row = np.int32(x), np.int32(y)
            right[j], down[j] = _F(x - column), _F(y - row)
            where[j] = np.uint64(row - top) * stride + np.uint64(column - left)
        for c in range(channels):
            source, target = flat[c], out[c, i]
            for j in range(size):
                k = where[j]
                above = source[k] + right[j] * (source[k + np.uint64(1)] - source[k])
                k += stride
                below = source[k] + right[j] * (source[k + np.uint64(1)] - source[k])
                target[j] = above + down[j] * (below - above)


@kernel
def _bordered(image: Image, block: int, top: int, bottom: int, left: int, right: int) -> Image:
    """Rows `top` to `bottom`, columns `left` to `right` of an image's block means behind a border of zeros."""
    channels, height, width = image.shape
    part = np.empty((channels, bottom - top, right - left), np.float32)
    first, last = max(top, 1), min(bottom, -(-height // block) + 1)
    start, stop = max(left, 1), min(right, -(-width // block) + 1)
    part[:, : first - top] = part[:, last - top :] = part[:, :, : start - left] = part[:, :, stop - left :] = 0
    if block == 1:
        for c in range(channels):
            for row in range(first, last):
                source, target = image[c, row - 1, start - 1 : stop - 1], part[c, row - top, start - left :]
                for j in range(source.size):  # by number: four times as fast as assigning the slices
                    target[j] = source[j]
        return part
    for c in range(channels):
        for row in range(first, last):
            y = (row - 1) * block
            for column in range(start, stop):
                x = (column - 1) * block
                end_y, end_x, total = min(y + block, height), min(x + block, width), _ZERO
                for i in range(y, end_y):
                    for j in range(x, end_x):
                        total += image[c, i, j]
                part[c, row - top, column - left] = total / _F((end_y - y) * (end_x - x))
    return part


@reduction
def _mean_grey(image: Image, brightness: np.float32) -> np.float32:
    red, green, blue = image[0], image[1], image[2]
    total = 0.0
    for start in range(0, red.size, 4096):  # parts, so that float32 sums lose no digits
        part = _ZERO
        for i in range(start, min(start + 4096, red.size)):
            r, g, b = _clip(red[i] * brightness), _clip(green[i] * brightness), _clip(blue[i] * brightness)
            part += _RED * r + _GREEN * g + _BLUE * b
        total += float(part)
    return _F(total / red.size)


@reduction
def _mean(channel: Image, brightness: np.float32) -> np.float32:
    total = 0.0
    for i in range(channel.size):
        total += float(_clip(channel[i] * brightness))
    return _F(total / channel.size)


@kernel
def jitter_colour(
    image: Image, brightness: np.float32, contrast: np.float32, saturation: np.float32, hue: np.float32
) -> None:
    """Change brightness, contrast, saturation and hue of (3, pixels) in place; factors, and a shift in turns."""
    red, green, blue = image[0], image[1], image[2]
    mean = _mean_grey(image, brightness) * (_ONE - contrast)
    for i in range(red.size):
        r = _clip(_clip(red[i] * brightness) * contrast + mean)
        g = _clip(_clip(green[i] * brightness) * contrast + mean)
        b = _clip(_clip(blue[i] * brightness) * contrast + mean)
        grey = (_RED * r + _GREEN * g + _BLUE * b) * (_ONE - saturation)
        r, g, b = _clip(r * saturation + grey), _clip(g * saturation + grey), _clip(b * saturation + grey)
        # Closed form of the hue's turn: see `radiossl.images.augment._shift_hue`.
        value = max(max(r, g), b)
        chroma = value - min(min(r, g), b)
        inverse = _ONE / max(chroma, _F(1e-12))
        turned = (r - g) * inverse + _F(4)
        turned = (b - r) * inverse + _F(2) if value == g else turned
        turned = (g - b) * inverse if value == r else turned
        turned += _SIX * hue
        red[i] = value - chroma * _hue_weight(turned + _F(5))
        green[i] = value - chroma * _hue_weight(turned + _F(3))
        blue[i] = value - chroma * _hue_weight(turned + _ONE)


@kernel
def _hue_weight(k: np.float32) -> np.float32:
    k -= _SIX * np.floor(k * _F(1 / 6))
    return _clip(min(k, _F(4) - k))


@kernel
def jitter_grey(image: Image, brightness: np.float32, contrast: np.float32) -> None:
    """Change brightness and contrast of (channels, pixels) in place, each channel by its own mean."""
    for c in range(image.shape[0]):
        channel = image[c]
        mean = _mean(channel, brightness) * (_ONE - contrast)
        for i in range(channel.size):
            channel[i] = _clip(_clip(channel[i] * brightness) * contrast + mean)


@kernel
def blur(image: Image, weights: Image) -> None:
    """Convolve (c, h, w) with the symmetric `weights`, odd in number, along both axes in place, edges reflected."""
    channels, height, width = image.shape
    radius = weights.size // 2
    between = np.empty((height, width), np.float32)
    line = np.empty(width + 2 * radius, np.float32)
    for c in range(channels):
        for i in range(height):
            target = between[i]
            target[:] = 0
            for tap in range(weights.size):
                source, weight = image[c, _reflect(i + tap - radius, height)], weights[tap]
                for j in range(width):
                    target[j] += weight * source[j]
        for i in range(height):
            for j in range(line.size):
                line[j] = between[i, _reflect(j - radius, width)]
            target = image[c, i]
            target[:] = 0
            for tap in range(weights.size):
                source, weight = line[tap:], weights[tap]
                for j in range(width):
                    target[j] += weight * source[j]


@kernel
def _reflect(position: int, length: int) -> int:
    position = abs(position)
    return 2 * (length - 1) - position if position >= length else position


#: Factors of the counter-based random numbers: of the seed, of the counter, and two of SplitMix64's finaliser.
MIXING = (0x9E3779B97F4A7C15, 0xD1342543DE82EF95, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_GOLDEN, _ODD, _MIX_1, _MIX_2 = map(np.uint64, MIXING)
_TURN = _F(2 * np.pi / 2**32)


@kernel
def add_noise(pixels: Image, seed: int, sigma: np.float32) -> None:
    """Add the Gaussian noise that `radiossl.images.augment` makes of a seed to an image's pixels in place."""
    pairs = (pixels.size + 1) // 2
    for i in range(pairs):
        state = np.uint64(seed) * _GOLDEN + np.uint64(i + 1) * _ODD
        state = (state ^ (state >> np.uint64(30))) * _MIX_1
        state = (state ^ (state >> np.uint64(27))) * _MIX_2
        state ^= state >> np.uint64(31)
        first = (np.float64(state & np.uint64(0xFFFFFFFF)) + 1.0) / 2.0**32
        angle = _F(state >> np.uint64(32)) * _TURN
        radius = sigma * _F(np.sqrt(-2.0 * np.log(first)))
        pixels[i] += radius * np.cos(angle)
        if pairs + i < pixels.size:
            pixels[pairs + i] += radius * np.sin(angle)


@kernel
def threshold(image: Image, fraction: float) -> None:
    """Set what is below the percentile (0 to 1) of the non-zero pixels to zero, (channels, pixels) in place."""
    keys, histogram = np.empty(image.shape[1], np.uint32), np.empty(1 << 12, np.int32)
    for c in range(image.shape[0]):
        channel = image[c]
        bits = channel.view(np.uint32)
        count = 0
        for i in range(channel.size):  # without branches, here and below: written always, kept by the count
            keys[count] = sort_key(bits[i])
            count += channel[i] != 0
        if count == 0:
            continue
        limit, rank = np.uint64(0), max(int(np.ceil((count - 1) * fraction - 1e-9)), 0)
        # The value of the percentile's rank, digit by digit, among those that share the digits before.
        for digits, shift in ((12, 20), (10, 10), (10, 0)):
            mask = np.uint64((1 << digits) - 1)
            histogram[:] = 0
            for i in range(count):
                histogram[(keys[i] >> np.uint64(shift)) & mask] += 1
            digit = np.uint64(0)
            while rank >= histogram[digit]:
                rank -= histogram[digit]
                digit += np.uint64(1)
            limit = (limit << np.uint64(digits)) | digit
            among, count = count, 0
            for i in range(among):
                key = keys[i]
                keys[count] = key
                count += (key >> np.uint64(shift)) & mask == digit
        for i in range(channel.size):
            channel[i] = channel[i] if sort_key(bits[i]) >= limit else _ZERO
