"""Checks of sizes, shared by the modules: an error names the argument, its value and what is allowed."""

from typing import Any

from torch import Tensor, nn


def require_positive(**sizes: int) -> None:
    """Raise unless every size is at least 1.

    Args:
        **sizes: sizes by the name of their argument.

    Raises:
        ValueError: naming the argument and its value.

    Example::

        >>> require_positive(in_dim=0)
        Traceback (most recent call last):
        ...
        ValueError: in_dim is 0; it must be at least 1.
    """
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1.")


def require_rate(**rates: float) -> None:
    """Raise unless every rate is in [0, 1).

    Args:
        **rates: rates by the name of their argument.

    Raises:
        ValueError: naming the argument and its value.
    """
    for name, value in rates.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 0 and below 1.")


def require_width(module: object, x: Tensor, width: int, what: str = "input") -> None:
    """Raise unless the last dimension of ``x`` has ``width`` columns.

    Args:
        module: whose name the error gives.
        x: the tensor that was passed.
        width: columns that the module was built for.
        what: name of the tensor.

    Raises:
        ValueError: naming the module, the tensor, its shape and the width it must have.
    """
    if x.shape[-1] != width:
        raise ValueError(
            f"{type(module).__name__}: {what} has shape {tuple(x.shape)}; the last dimension must be "
            f"{width}, the width that the module was built for."
        )


def widths(module: nn.Module, argument: str) -> tuple[int, int]:
    """Return ``(in_dim, out_dim)`` of a part that a module is composed of.

    Args:
        module: the part.
        argument: its name in the constructor.

    Raises:
        ValueError: naming the argument, if the part does not tell its widths.
    """
    part: Any = module
    if not (hasattr(part, "in_dim") and hasattr(part, "out_dim")):
        raise ValueError(f"{argument}: {type(module).__name__} needs the attributes in_dim and out_dim.")
    return int(part.in_dim), int(part.out_dim)
