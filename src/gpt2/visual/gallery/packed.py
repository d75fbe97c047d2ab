"""An array of numbers as the page holds it; web/packed.js reads it."""

import base64
from typing import Any, Literal

import numpy as np
from torch import Tensor

PackedType = Literal["float32", "float16", "uint8", "int32"]


def pack(values: "np.ndarray | Tensor", kind: PackedType = "float32") -> dict[str, Any]:
    """Return an array as strict JSON: its type, its shape, and its bytes in base64.

    Args:
        values: Numbers of any shape.
        kind: How each is stored, little endian. float16 keeps 11 significant bits, and has infinity
            for what is above 65504. uint8 keeps one of 256 evenly spaced values from the lowest
            finite one to the highest; what is not finite becomes the nearest, NaN the lowest.
    Returns:
        "type", "shape" and "base64"; of uint8 also "low" and "high", between which byte b means
        low + b * (high - low) / 255.
    """
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    packed: dict[str, Any] = {"type": kind, "shape": list(array.shape)}
    if kind == "uint8":
        finite = array[np.isfinite(array)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        packed |= {"low": low, "high": high}
        array = np.nan_to_num(array.astype(np.float64), nan=low, neginf=low, posinf=high)
        array = np.rint((array - low) * (255 / (high - low) if high > low else 0))
    with np.errstate(over="ignore"):
        stored = array.astype(np.dtype(kind).newbyteorder("<"))
    return packed | {"base64": base64.b64encode(stored.tobytes()).decode()}
