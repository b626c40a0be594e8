"""Adapters of the representation layers: numbers, dense vectors, groups of features."""

from __future__ import annotations

import torch
from torch import Tensor

from interactrank.modules import DenseVectorNorm
from interactrank.modules.group_summary import GroupSummary
from interactrank.modules.numeric import NumericNorm, NumericStats
from tests.parity.case import Case, Skipped

INNER = {"identity": "none", "batchnorm": "batch", "layernorm": "layer"}


def columns(case: Case, names: list[str]) -> Tensor:
    """Columns of single features next to each other."""
    return torch.stack([case.input(name).to(torch.get_default_dtype()) for name in names], dim=1)


def stored_stats(minimum: float, maximum: float, mean: float, std: float) -> NumericStats:
    """As the reference holds them, in float32: a value on a bound must be on it, not next to it."""
    rounded = torch.tensor([minimum, maximum, mean, std], dtype=torch.float32).tolist()
    return NumericStats(**dict(zip(("minimum", "maximum", "mean", "std"), rounded, strict=True)))


def link_numeric(case: Case, norm: NumericNorm, prefix: str = "") -> None:
    if norm.mixture:
        case.link(f"{prefix}mix_embedding", norm.mixture_embedding)
        case.link(f"{prefix}mix_weight", norm.mixture_weight)
    for part, module in (("inner_norm", norm.inner), ("outer_norm", getattr(norm, "outer_norm", None))):
        for name in ("weight", "bias", "running_mean", "running_var"):
            if f"w.{prefix}{part}.{name}" in case and module is not None:
                case.link(f"{prefix}{part}.{name}", getattr(module, name))


def numeric_state(case: Case, norm: NumericNorm, prefix: str = "") -> dict[str, Tensor]:
    parts = {"inner_norm": norm.inner, "outer_norm": getattr(norm, "outer_norm", None)}
    names = case.names(f"state.{prefix}")
    return {f"state.{prefix}{name}": getattr(parts[name.split(".")[0]], name.split(".")[1]) for name in names}


def link_groups(case: Case, summary: GroupSummary, prefix: str = "") -> None:
    several = [name for name, members in summary.groups.items() if len(members) > 1]
    for name, layers in zip(several, summary.layers.values(), strict=True):
        case.link_layer(f"{prefix}{name}.dense0", layers[0])
        case.link_layer(f"{prefix}{name}.dense1", layers[2])


def continuous_norm(case: Case) -> dict[str, Tensor]:
    p = case.params
    mixture = p.get("use_mixture_transformation", False) and "in.continuous" not in case
    if p.get("fill_nan_values") and mixture:
        raise Skipped("ours fills NaN in every branch")
    s = p["stats"]
    norm = NumericNorm(
        stats={
            name: stored_stats(*of)
            for name, *of in zip(p["feature_names"], s["min"], s["max"], s["mean"], s["std"], strict=True)
        },
        mixture=mixture,
        scale_log=p.get("explicit_scaling", False),
        inner=INNER[p["inner_norm"]],
        outer="batch",
        nan_fill=0.0,
    ).train(p["mode"] == "train")
    assert norm.kept == p["kept"], f"kept {norm.kept}, not {p['kept']}"
    link_numeric(case, norm)
    whole = [name in p["int_columns"] for name in p["feature_names"]]
    x = torch.where(
        torch.tensor(whole), case.input("x").detach(), case.input("x")
    )  # no gradient for integers
    y = norm(x)
    if "in.continuous" in case:
        y = torch.cat([case.input("continuous"), y], dim=1)
    values = case.with_cotangent(y)
    return values | numeric_state(case, norm)


def batch_dense_norm(case: Case) -> dict[str, Tensor]:
    p = case.params
    names = [name for name in case.names("in.") if not name.startswith("cot.")]
    norm = DenseVectorNorm(dims={name: case[f"in.{name}"].shape[-1] for name in p["listed"]}, eps=p["eps"])
    for name, layer in zip(p["listed"], norm.norms.values(), strict=True):
        case.link_layer(f"norm.{name.replace('.', '_')}", layer)
    order = sorted(names, key=p["output_keys"].index)
    out = norm({name: case.input(name) for name in order})
    assert list(out) == p["output_keys"], f"features {list(out)}, not {p['output_keys']}"
    return _named(case, out)


def mlp_summarization(case: Case) -> dict[str, Tensor]:
    p = case.params
    names = [name for name in case.names("in.") if not name.startswith("cot.")]
    summary = GroupSummary(
        groups=p["groups"],
        dims={name: case[f"in.{name}"].shape[-1] for name in names},
        out_dims=p["dims"],
    )
    link_groups(case, summary)
    out = summary({name: case.input(name) for name in names})
    assert list(out) == p["output_keys"], f"features {list(out)}, not {p['output_keys']}"
    return _named(case, out)


def _named(case: Case, out: dict[str, Tensor]) -> dict[str, Tensor]:
    total = torch.stack([(x * case[f"in.cot.{name}"]).sum() for name, x in out.items()]).sum()
    return {"out.L": total, **{f"out.{name}": x for name, x in out.items()}, **case.backward(total)}


ADAPTERS = {
    "continuous_norm": continuous_norm,
    "batch_dense_norm": batch_dense_norm,
    "mlp_summarization": mlp_summarization,
}
