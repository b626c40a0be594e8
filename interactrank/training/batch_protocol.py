"""What training asks of a batch; any TorchRec batch that copies itself to a device will do."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import torch
from typing_extensions import Self

__all__ = ["Batch"]


class Batch(Protocol):
    """A dataclass of tensors and KeyedJaggedTensors."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def num_samples(self) -> int:
        """Samples of the batch, for the speed that is reported."""

    @property
    def sample_unit(self) -> str:
        """Plural name of a sample, as in ``requests_per_s``."""

    def to(self, device: torch.device, non_blocking: bool = False) -> Self:
        """A copy on ``device``."""
