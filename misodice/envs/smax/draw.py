"""A battle seen from above."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from misodice.errors import MisodiceError

ALLY, ENEMY, GROUND, DAMAGE = "#3b82f6", "#ea580c", "#f6f8fa", "#b91c1c"
SIDE = 480
FINER = 2
"""Drawn larger and made smaller: Pillow's circles have steps."""


def draw_units(
    size: tuple[float, float],
    position: np.ndarray,
    radius: np.ndarray,
    health: np.ndarray,
    name: Sequence[str],
    n_allies: int,
) -> np.ndarray:
    """The living units as circles in their team's colour (allies blue), each with its name and a bar of its health.

    Args:
        size: of the map; the y axis points up.
        position: [U, 2], allies first.
        radius: [U], in units of the map.
        health: [U], from 0 (dead, not drawn) to 1.
        name: of each unit's type.
        n_allies: how many of the U are allies.

    Returns:
        A picture, uint8 [480, 480, 3].
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise MisodiceError("drawing smax needs pillow: pip install 'misodice[video]'") from error
    side = SIDE * FINER
    image = Image.new("RGB", (side, side), GROUND)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(9 * FINER)
    scale = side / max(size)
    for i, (x, y) in enumerate(position):
        if health[i] <= 0:
            continue
        x, y, r = x * scale, (size[1] - y) * scale, radius[i] * scale
        draw.circle((x, y), r, fill=ALLY if i < n_allies else ENEMY, outline="black", width=FINER)
        bar = (x - 1.5 * r, y - 1.9 * r, x + 1.5 * r, y - 1.5 * r)
        draw.rectangle(bar, fill=DAMAGE)
        draw.rectangle((*bar[:2], bar[0] + 3 * r * float(health[i]), bar[3]), fill="#16a34a")
        draw.text((x, y + r), name[i], fill="black", font=font, anchor="mt")
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
