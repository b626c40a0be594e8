"""SearchBatch: requests, items and candidates as TorchRec tensors; what flows through every package.

Shapes: R requests, I distinct items, C candidates (jagged under their request), H heads, L events of all
user sequences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor
from torchrec.streamable import Pipelineable

from interactrank.batch.cross_features import CrossFeatureTensors


@dataclass
class SearchBatch(Pipelineable):
    """R requests with their candidates; queries and items appear once, however many candidates name them.

    Args:
        request_index: [R] int64, row of each request in its split.
        item_index: [I] int64, row of each item in the item table; no item twice.
        candidate_lengths: [R] int64, candidates of each request; they lie one request after the other.
        candidate_item: [C] int64 in 0..I-1, the item of each candidate.
        request_ids, item_ids, shared_ids, event_ids: ids in the keys and rows of :class:`BatchLayout`;
            None where the schema needs no such collection.
        request_dense: [R, *] float32, numbers then vectors; NaN where the log has none.
        item_dense: [I, *] float32, as request_dense.
        event_lengths: [R] int64, events of each user sequence; newest first.
        event_action: [L] int64, which engagement it was.
        event_age: [L] float32, hours from the event to the request, above 0.
        cross: cross features as of the request: rates and numbers [C, *], supports [R, *].
        labels: [C, H] float32, 0 or 1.
        weights: [C] float32, weight of each candidate in the loss.
        sampling_log_q: [C] float32, logarithm of the chance that the candidate was drawn as a negative; 0 for
            logged candidates.
        position: [C] int64, the place at which each candidate was shown, 1 the top, 0 unknown; None if the
            log has none. Read while training alone.
        fits_projection: [R] bool, whether the projection is fitted on the request or the towers are; None for
            both (see :attr:`~interactrank.data.LoaderSettings.projection_share`).
    """

    sample_unit: ClassVar[str] = "requests"  # of the training loop's `requests_per_s`

    request_index: Tensor
    item_index: Tensor
    candidate_lengths: Tensor
    candidate_item: Tensor
    request_ids: KeyedJaggedTensor | None
    item_ids: KeyedJaggedTensor | None
    shared_ids: KeyedJaggedTensor | None
    event_ids: KeyedJaggedTensor | None
    request_dense: Tensor
    item_dense: Tensor
    event_lengths: Tensor
    event_action: Tensor
    event_age: Tensor
    cross: CrossFeatureTensors
    labels: Tensor
    weights: Tensor
    sampling_log_q: Tensor
    position: Tensor | None = None
    fits_projection: Tensor | None = None

    @property
    def num_requests(self) -> int:
        """R."""
        return self.request_index.shape[0]

    @property
    def num_samples(self) -> int:
        """R, as the training loop counts its samples."""
        return self.num_requests

    @property
    def num_items(self) -> int:
        """I."""
        return self.item_index.shape[0]

    @property
    def num_candidates(self) -> int:
        """C."""
        return self.candidate_item.shape[0]

    def candidate_request(self) -> Tensor:
        """Return [C] int64 in 0..R-1, the request of each candidate."""
        requests = torch.arange(self.num_requests, device=self.candidate_lengths.device)
        return torch.repeat_interleave(requests, self.candidate_lengths, output_size=self.num_candidates)

    def to(self, device: torch.device, non_blocking: bool = False) -> SearchBatch:
        """Return a copy on ``device``."""
        return self._map(lambda value: value.to(device=device, non_blocking=non_blocking))

    def pin_memory(self) -> SearchBatch:
        """Return a copy in page-locked memory, from which copies to a GPU overlap with work."""
        return self._map(lambda value: value.pin_memory())

    def record_stream(self, stream: torch.Stream) -> None:
        """Keep the tensors' memory until ``stream`` is done with them."""
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None:
                value.record_stream(stream)

    def _map(self, change: Callable[[Any], Any]) -> SearchBatch:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: change(v) for name, v in values.items() if v is not None})
