"""Adapters of dense layers, feature crossing and the tower."""

from __future__ import annotations

from torch import Tensor

from interactrank.modules import MLP, DenseVectorNorm, LowRankLinear, ParallelMaskNet, Tower, normalize_heads
from interactrank.modules.group_summary import GroupSummary
from interactrank.modules.numeric import NumericNorm
from interactrank.modules.sequence import LearnedWeightedPooling
from interactrank.modules.tower import FeatureConcat
from tests.parity.case import Case
from tests.parity.features import columns, link_groups, link_numeric, numeric_state, stored_stats


def link_mask_net(case: Case, net: ParallelMaskNet, prefix: str = "") -> None:
    for k in range(net.blocks):
        name, rows = f"{prefix}block{k}.", slice(k * net.rank, (k + 1) * net.rank)
        case.link(f"{name}mask_in.weight", net.mask_in.weight, lambda p, rows=rows: p[rows])
        case.link(f"{name}mask_in.bias", net.mask_in.bias, lambda p, rows=rows: p[rows])
        case.link(f"{name}mask_out.weight", net.mask_out_weight, lambda p, k=k: p[k].t())
        case.link(f"{name}mask_out.bias", net.mask_out_bias, lambda p, k=k: p[k, 0])
        case.link(f"{name}hidden.weight", net.hidden_weight, lambda p, k=k: p[k].t())
        case.link(f"{name}norm.weight", net.norm_weight, lambda p, k=k: p[k])
        case.link(f"{name}norm.bias", net.norm_bias, lambda p, k=k: p[k])


def link_mlp(case: Case, mlp: MLP, prefix: str = "") -> None:
    for i, layer in enumerate(mlp.hidden):
        name = f"{prefix}dense{i}"
        if isinstance(layer.linear, LowRankLinear):
            link_low_rank(case, layer.linear, f"{name}.")
        else:
            case.link_layer(name, layer.linear)
        case.link_layer(f"{name}.norm", layer.norm)
    case.link_layer(f"{prefix}final", mlp.final)


def link_low_rank(case: Case, layer: LowRankLinear, prefix: str = "") -> None:
    for name, parameter in (("U", layer.left), ("V", layer.right), ("bias", layer.bias)):
        case.link(prefix + name, parameter)


def parallel_masknet(case: Case) -> dict[str, Tensor]:
    p = case.params
    net = ParallelMaskNet(
        in_dim=p["n"], blocks=p["blocks"], block_dim=p["out"], mask_ratio=p["project_ratio"]
    ).eval()
    link_mask_net(case, net)
    return case.with_cotangent(net(case.input("x")))


def fully_connected(case: Case) -> dict[str, Tensor]:
    p = case.params
    x = case.input("x")
    mlp = MLP(
        in_dim=x.shape[-1],
        hidden_dims=p["hidden_sizes"],
        out_dim=p["output_size"],
        low_ranks=p.get("low_ranks"),
        skip=p.get("has_skip", False),
        norm_first=p.get("relu_after_layer_norm", False),
    )
    link_mlp(case, mlp)
    return case.with_cotangent(mlp(x))


def low_rank_linear(case: Case) -> dict[str, Tensor]:
    (in_dim, rank), out_dim = case["w.U"].shape, case["w.V"].shape[1]
    layer = LowRankLinear(in_dim=in_dim, out_dim=out_dim, rank=rank)
    link_low_rank(case, layer)
    return case.with_cotangent(layer(case.input("x")))


def layer_norm(case: Case) -> dict[str, Tensor]:
    norm = DenseVectorNorm(dims={"x": list(case["w.weight"].shape)}, eps=case.params["eps"])
    (layer,) = norm.norms.values()
    case.link("weight", layer.get_parameter("weight"))
    case.link("bias", layer.get_parameter("bias"))
    return case.with_cotangent(norm({"x": case.input("x")})["x"])


def lp_normalize(case: Case) -> dict[str, Tensor]:
    p = case.params
    return case.with_cotangent(normalize_heads(case.input("x"), heads=p["heads"], eps=p["eps"]).flatten(1))


def tower(case: Case) -> dict[str, Tensor]:
    p = case.params
    own = [name for name in case.names("in.") if name != "cot"]
    dense = [name for name in own if name not in p["numeric_features"]]
    numbers = NumericNorm(
        stats={
            name: stored_stats(s["min_value"], s["max_value"], s["mean"], s["std"])
            for name, s in ((name, p["stats"][name]) for name in p["numeric_features"])
        },
        outer="batch",
    )
    link_numeric(case, numbers, "continuous.")
    norms = DenseVectorNorm(dims={name: case[f"in.{name}"].shape[-1] for name in dense})
    for name, norm in zip(norms.features, norms.norms.values(), strict=True):
        case.link_layer(f"feature_norm.{name}", norm)
    (searched,) = [name for name in dense if "searchsage" in name]
    hidden, out = case["w.emb_mlp.dense0.weight"].shape[0], case["w.emb_mlp.final.weight"].shape[0]
    embed = MLP(in_dim=case[f"in.{searched}"].shape[-1], hidden_dims=[hidden], out_dim=out)
    link_mlp(case, embed, "emb_mlp.")

    features = norms({name: case.input(name) for name in dense})
    features["searchsage"] = embed(features[searched])
    if p["kind"] == "query":
        for name in ("2/user_seq_action_type", "2/user_seq_gs_v5"):
            features[name] = _mean_of_values(features[name])
    groups = GroupSummary(
        groups=p["groups"],
        dims={name: x.shape[-1] for name, x in features.items()},
        out_dims={group: features[members[0]].shape[-1] for group, members in p["groups"].items()},
    )
    link_groups(case, groups, "groups.")
    features = groups(features)
    numbers.train(p["mode"] == "train")
    features["continuous"] = numbers(columns(case, p["numeric_features"]))
    concat = FeatureConcat(dims={name: x.shape[-1] for name, x in sorted(features.items())})
    assert list(concat.dims) == p["concat_order"], f"order {list(concat.dims)}, not {p['concat_order']}"

    pmn = p["pmn"]
    net = ParallelMaskNet(
        in_dim=concat.out_dim, blocks=pmn["blocks"], block_dim=pmn["out"], mask_ratio=pmn["ratio"]
    )
    mlp = MLP(in_dim=net.out_dim, hidden_dims=p["hidden"], out_dim=p["heads"] * p["embedding_dim"])
    side = Tower(crossing=net, mlp=mlp, heads=p["heads"], dim=p["embedding_dim"])
    case.link_layer("concat_norm", side.norm)
    link_mask_net(case, net, "masknet.")
    link_mlp(case, mlp, "head.")
    values = case.with_cotangent(side(concat(features)).flatten(1))
    if "grad.w.emb_mlp.final.weight.rowsum" in case:
        assert embed.final.weight.grad is not None
        values["grad.w.emb_mlp.final.weight.rowsum"] = embed.final.weight.grad.sum(1)
    return values | numeric_state(case, numbers, "continuous.")


def _mean_of_values(x: Tensor) -> Tensor:
    """The reference's sequence layer "average": the mean of w values, [N, w] -> [N, 1]."""
    pooling = LearnedWeightedPooling(max_len=x.shape[1], normalized=True)
    lengths = x.new_full((x.shape[0],), x.shape[1]).long()
    return pooling(x.reshape(-1, 1), lengths)


ADAPTERS = {
    "parallel_masknet": parallel_masknet,
    "fully_connected": fully_connected,
    "low_rank_linear": low_rank_linear,
    "layer_norm": layer_norm,
    "lp_normalize": lp_normalize,
    "tower": tower,
}
