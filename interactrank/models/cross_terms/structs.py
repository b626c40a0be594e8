"""What C++ is told of stores, features and the score head; the structs are those of ``*.h``."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import torch

from interactrank.cross_features import EngagementCountStore, ItemFields
from interactrank.cross_features.bm25 import LexicalIndex
from interactrank.cross_features.jagged import starts
from interactrank.cross_features.pair_index import PairIndex
from interactrank.cross_features.tile_store import TileCountStore
from interactrank.models.scoring import ScoreHead
from interactrank.modules.batch_norm import WeightedBatchNorm
from interactrank.modules.count_smoothing import TRANSFORMS

__all__ = ["Feature", "Field", "Group", "Head", "Held", "Store", "field_of", "head_of", "store_of"]


def _struct(name: str, **fields: Any) -> type[ctypes.Structure]:
    return type(name, (ctypes.Structure,), {"_fields_": list(fields.items())})


_INT, _AT = ctypes.c_int64, ctypes.c_void_p
Store = _struct(
    "Store",
    **dict.fromkeys(("tile_ms", "num_keys"), _INT),
    **dict.fromkeys(("keys", "offsets", "items", "pair_offsets", "pair_times", "pair_sums"), _AT),
    **dict.fromkeys(("key_offsets", "key_times", "key_sums", "scores", "rarity"), _AT),
)
Group = _struct("Group", **dict.fromkeys(("store", "keys", "own", "field", "everywhere"), _INT))
Feature = _struct("Feature", **dict.fromkeys(("kind", "group", "shown", "window", "column", "counted"), _INT))
Field = _struct("Field", num_values=_INT, offsets=_AT, values=_AT)
Head = _struct(
    "Head",
    **dict.fromkeys(("rates", "numbers", "ratios", "transforms", "layers", "context", "flags"), _INT),
    **dict.fromkeys(("transform", "prior", "strength", "offset", "ratio_strength", "base"), _AT),
    **dict.fromkeys(("wider", "order", "weight", "stand_in", "flag", "bias", "norm", "norm_context"), _AT),
    **dict.fromkeys(("shift", "widths", "linear"), _AT),
)


class Held:
    """Arrays that C++ reads: they live as long as this."""

    def __init__(self) -> None:
        self._arrays: list[Any] = []

    def at(self, array: Any, dtype: str) -> int:
        """Return the address of an array, which is copied if it is of another type or not in one piece."""
        kept = np.ascontiguousarray(array, dtype)
        self._arrays.append(kept)
        return int(kept.ctypes.data)


def store_of(store: PairIndex, held: Held) -> ctypes.Structure | None:
    """Return a store's struct; None for a class of one's own."""
    arrays = {"keys": "<i8", "offsets": "<i8", "items": "<i4"}
    values: dict[str, Any] = {"num_keys": len(store.keys)}
    if type(store) is EngagementCountStore:
        arrays |= {"pair_offsets": "<i8"}
        values |= {
            "pair_times": held.at(store.pair_times, "<i8"),
            "key_times": held.at(store.key_times, "<i8"),
        }
    elif type(store) is LexicalIndex:
        arrays |= {"scores": "<f4", "rarity": "<f4"}
    elif type(store) is TileCountStore:
        values["tile_ms"] = int(store.tile_ms[0])
        for name, of in (("pair", store.pairs), ("key", store.of_keys)):
            values |= {
                f"{name}_offsets": held.at(of.offsets, "<i8"),
                f"{name}_times": held.at(of.tiles, "<i4"),
                f"{name}_sums": held.at(of.sums, "<u4"),
            }
    else:
        return None
    values |= {name: held.at(getattr(store, name), dtype) for name, dtype in arrays.items()}
    return Store(**values)


def field_of(fields: ItemFields, held: Held) -> ctypes.Structure:
    """Return the struct of a column's values."""
    values = fields.values
    offsets = np.append(starts(values), len(values.values))
    return Field(
        num_values=max(fields.num_values, 1),
        offsets=held.at(offsets, "<i8"),
        values=held.at(values.values, "<i4"),
    )


@torch.no_grad()
def head_of(head: ScoreHead, weights: torch.Tensor, held: Held) -> ctypes.Structure | None:
    """Return the struct of a score whose heads are weighted into one; None for one that C++ does not know.

    Args:
        head: of a model in evaluation mode.
        weights: [H] of its heads.
        held: keeps the arrays.
    """
    if head.categories.kept or head.project.missing == "average":
        return None
    project, weights = head.project, weights.float().cpu()
    of_rows = weights.sum().reshape(1) if project.shared else weights

    def mixed(x: torch.Tensor) -> Any:
        return (of_rows @ x.float().cpu()).numpy()

    features = project.features
    learned = project.missing == "learned"
    none = np.zeros(features)
    values: dict[str, Any] = {
        "rates": len(head.rates),
        "numbers": len(head.numbers),
        "ratios": len(head.ratios) // 2,
        "flags": int(head.may_be_unknown),
        "weight": held.at(mixed(project.cross_weight), "<f4"),
        "stand_in": held.at(_numpy(project.default) if learned else none, "<f4"),
        "flag": held.at(mixed(project.flag_weight) if learned else none, "<f4"),
        "bias": held.at(mixed(project.bias).reshape(1), "<f4"),
    }
    if head.smoothing is not None:
        s = head.smoothing
        strength = np.zeros(s.in_dim) if s.log_strength is None else _numpy(s.log_strength.exp())
        values |= {
            "transforms": len(s.transforms),
            "transform": held.at([TRANSFORMS.index(t) for t in s.transforms], "<i8"),
            "prior": held.at(np.maximum(_numpy(head.priors), np.finfo(np.float32).tiny), "<f4"),
            "strength": held.at(strength, "<f4"),
        }
    logged, offsets = _numpy(head.logarithm.logged) > 0, _numpy(head.logarithm.offsets)
    values["offset"] = held.at(np.where(logged, offsets, np.nan), "<f4")
    if head.ratio_smoothing is not None:
        r = head.ratio_smoothing
        values |= {
            "ratio_strength": held.at(_numpy(r.log_strength.exp()), "<f4"),
            "base": held.at(_numpy(r.base_logit.sigmoid()), "<f4"),
            "wider": held.at(r.wider, "<i8"),
            "order": held.at(r.order, "<i8"),
        }
    return Head(**values, **_correction(head, mixed, held))


def _correction(head: ScoreHead, mixed: Any, held: Held) -> dict[str, Any]:
    """Return the part of the MLP over cross features."""
    c = head.correction
    widths, layers = [0], []
    if c is None:
        return {"widths": held.at(widths, "<i8")}
    linear = [m for m in c.hidden if isinstance(m, torch.nn.Linear)]
    widths = [linear[0].in_features, *(m.out_features for m in linear)]
    for m in linear:
        layers += [_numpy(m.weight).ravel(), _numpy(m.bias)]
    layers += [mixed(c.out.weight).ravel(), mixed(c.out.bias).reshape(1)]
    found: dict[str, Any] = {
        "layers": len(linear),
        "widths": held.at(widths, "<i8"),
        "linear": held.at(np.concatenate(layers), "<f4"),
        "norm": held.at(_affine(c.norm), "<f4"),
    }
    if c.shift is not None and c.norm_context is not None:
        shift = c.shift.weight.float().cpu().unflatten(0, (-1, c.features))  # [H, F, X]
        found |= {
            "context": c.context,
            "norm_context": held.at(_affine(c.norm_context), "<f4"),
            "shift": held.at(mixed(shift.flatten(1)), "<f4"),
        }
    return found


def _affine(norm: WeightedBatchNorm) -> Any:
    """Return factors, then summands: the norm of evaluation."""
    factor = torch.rsqrt(norm.running_var + norm.eps) * norm.weight
    return np.concatenate([_numpy(factor), _numpy(norm.bias - norm.running_mean * factor)])


def _numpy(x: torch.Tensor) -> Any:
    return x.detach().float().cpu().numpy()
