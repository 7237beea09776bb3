"""The five ground textures as smooth patterns between -1 (dark) and 1 (light)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def _soften(wave: np.ndarray, sharpness: float = 2.5) -> np.ndarray:
    """Two flat tones with antialiased edges."""
    return np.clip(sharpness * wave, -1, 1)


def _plain(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.zeros_like(u)


def _striped(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _soften(np.sin(2 * np.pi * v))


def _wavy(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _soften(np.sin(2 * np.pi * (v + 0.34 * np.sin(2 * np.pi * u / 1.9))))


def _checked(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _soften(np.sin(np.pi * u / 0.7)) * _soften(np.sin(np.pi * v / 0.7))


def _dotted(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    # Every other row is moved by half a period.
    row = np.floor(v / 0.87)
    du = (u + 0.5 * (row % 2)) % 1 - 0.5
    dv = v / 0.87 % 1 - 0.5
    return np.clip((np.hypot(du, 0.87 * dv) - 0.27) * 10, -1, 1)


#: Pattern of every texture name, a function of the position in periods.
PATTERN: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = dict(
    plain=_plain,
    striped=_striped,
    dotted=_dotted,
    checked=_checked,
    wavy=_wavy,
)
