"""What every picture is: its numbers, their drawing, and the words that explain it."""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from gpt2.visual.style import styled


@dataclass(frozen=True)
class Table:
    """Numbers of a picture for those who do not see it: at most some dozens of rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]


class Picture(ABC):
    """The numbers of a picture. Subclasses are frozen dataclasses of numbers, texts and arrays."""

    name: ClassVar[str]  # gpt2 plot NAME
    title: ClassVar[str]
    seen: ClassVar[str]  # what the picture shows, in two or three sentences
    look_for: ClassVar[str]  # what a reader may find in it
    code: ClassVar[tuple[Callable[..., Any], ...]]  # functions of this project that compute it

    def figure(self) -> Figure:
        """Draw the numbers, in the project's style."""
        with styled():
            return self.draw()

    @abstractmethod
    def draw(self) -> Figure:
        """Draw the numbers; call `figure`, which sets the style."""

    @abstractmethod
    def table(self) -> Table:
        """Return the numbers as a table; of many, a selection."""

    @abstractmethod
    def description(self) -> str:
        """Return in one sentence what this picture shows, with its own figures."""

    def to_json(self) -> dict[str, Any]:
        """Return all numbers as a strict JSON object; what is not finite is None."""
        assert dataclasses.is_dataclass(self)
        return {f.name: plain(getattr(self, f.name)) for f in dataclasses.fields(self)}


def rounded(*values: float, digits: int = 4) -> list[float | None]:
    """Return numbers as a table shows them; what is not finite is None."""
    return [round(float(v), digits) if math.isfinite(v) else None for v in values]


def plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, Tensor | np.ndarray | np.generic):
        value = value.tolist()
    if dataclasses.is_dataclass(value):
        value = vars(value)
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
