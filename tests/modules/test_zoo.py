"""What holds for every module: no graph break, exports, bf16, no host sync, finite gradients."""

import copy

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.gradcheck import GradcheckError

import interactrank.modules as public
from interactrank.modules import losses, sequence
from tests.modules.zoo import ZOO, leaves

everything = pytest.mark.parametrize("name", ZOO)


def prepared(name, rows):
    torch.manual_seed(0)
    module = ZOO[name].build()
    with torch.no_grad():
        for parameter in module.parameters():  # away from starting values that hide a part of the module
            parameter += 0.1 * torch.rand_like(parameter)
    return module, ZOO[name].inputs(rows)


def run(module, inputs):
    """Results and gradients of the sum of squares of all float results."""
    out = leaves(module(**inputs))
    wanted = [p for p in (*module.parameters(), *leaves(inputs)) if p.requires_grad]
    loss = sum(x.float().square().sum() for x in out if x.requires_grad)
    grads = torch.autograd.grad(loss, wanted, allow_unused=True) if isinstance(loss, torch.Tensor) else []
    return [x.detach() for x in out], [g for g in grads if g is not None]


@everything
@pytest.mark.parametrize("rows", [0, 1, 9])
def test_values_and_gradients_are_finite_for_empty_single_and_many_rows(name, rows):
    out, grads = run(*prepared(name, rows))
    assert all(x.isfinite().all() for x in (*out, *grads))


@pytest.mark.slow
@everything
def test_compiles_without_a_graph_break(name):
    torch._dynamo.reset()
    module, inputs = prepared(name, 9)
    twin = copy.deepcopy(module)  # modules with running state must start alike
    expected, expected_grads = run(twin, inputs)
    out, grads = run(torch.compile(module, backend="aot_eager", fullgraph=True), inputs)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(grads, expected_grads)


@everything
def test_exports_and_gives_the_same_scores(name):
    module, inputs = prepared(name, 9)
    module.eval()
    inputs = detached(inputs)
    program = torch.export.export(module, (), kwargs=inputs)
    torch.testing.assert_close(program.module()(**inputs), module(**inputs))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "Tower",
        "CrossInteraction",
        "NumericNorm",
        "CountSmoothing",
        "QueryCrossAttention",
        "SequenceTransformer",
        "UserSequenceEmbedder",
    ],
)
def test_exports_for_any_number_of_rows(name):
    module, inputs = prepared(name, 9)
    inputs = detached(inputs)
    shapes = {argument: {0: torch.export.Dim.DYNAMIC} for argument in inputs}
    program = torch.export.export(module.eval(), (), kwargs=inputs, dynamic_shapes=shapes).module()
    for rows in (6, 15):
        other = detached(ZOO[name].inputs(rows))
        torch.testing.assert_close(program(**other), module(**other))


@everything
def test_waits_for_no_device(name):
    # A fake tensor has no values: reading one (.item(), nonzero, a data-dependent shape) raises.
    module, inputs = prepared(name, 9)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        state = dict(module.named_parameters()) | dict(module.named_buffers())
        state, inputs = torch.utils._pytree.tree_map(
            lambda v: mode.from_tensor(v) if torch.is_tensor(v) else v, (state, inputs)
        )
        torch.func.functional_call(module, state, (), inputs)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@everything
def test_a_gpu_gives_the_results_and_gradients_of_the_cpu(name):
    module, inputs = prepared(name, 9)
    expected, expected_grads = run(copy.deepcopy(module), inputs)
    moved = torch.utils._pytree.tree_map(
        lambda v: v.detach().cuda().requires_grad_(v.requires_grad) if torch.is_tensor(v) else v, inputs
    )
    out, grads = run(module.cuda(), moved)
    assert all(x.is_cuda for x in out)
    torch.testing.assert_close([x.cpu() for x in out], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close([x.cpu() for x in grads], expected_grads, rtol=1e-3, atol=1e-4)


@everything
def test_bf16_autocast_stays_close(name):
    module, inputs = prepared(name, 9)
    twin = copy.deepcopy(module)
    expected, expected_grads = run(twin, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        out = leaves(module(**inputs))
    wanted = [p for p in (*module.parameters(), *leaves(inputs)) if p.requires_grad]
    loss = sum(x.float().square().sum() for x in out if x.requires_grad)
    if isinstance(loss, torch.Tensor):
        grads = [g for g in torch.autograd.grad(loss, wanted, allow_unused=True) if g is not None]
        for ours, exact in zip(grads, expected_grads, strict=True):
            scale = exact.abs().max().clamp_min(1.0)
            torch.testing.assert_close(ours.float() / scale, exact / scale, rtol=0, atol=0.1)
    for ours, exact in zip(out, expected, strict=True):
        scale = exact.abs().max().clamp_min(1.0) if exact.numel() else 1.0
        torch.testing.assert_close(ours.float() / scale, exact / scale, rtol=0, atol=0.03)


NOT_DIFFERENTIATED = {
    "AccidentalHits": "gives a mask",
    "HardNegativeMining": "gives a mask",
    "CountMinSketch": "counts",
    "LogQ": "a count has no gradient",
    "log_batch_probability": "a count has no gradient",
    "PriorityLabels": "labels have no gradient",
}
"""Entries of the zoo of whose results none depends on a float input or a weight."""

NOT_IN_THE_ZOO = {
    "Eviction": "settings",
    "HeadRule": "settings",
    "NumericStats": "settings",
    "TableConfig": "settings",
    "Merged": "a result",
    "Negatives": "an argument",
    "ManagedIds": "maps ids; test_managed_ids.py holds it to its rules",
    "manage": "TorchRec's collection of tables, in float32 alone",
    "embedding_bag_collection": "TorchRec's collection of tables, in float32 alone",
    "embedding_collection": "TorchRec's collection of tables, in float32 alone",
    "gather_rows": "needs ranks; test_ranks.py compares its gradients with those of one process",
    "gather_rows_with": "needs ranks; test_rank_counts.py compares it with rows by hand",
    "RankCounts": "no module; test_rank_counts.py compares it with counts by hand",
    "gather_sizes": "needs ranks, and gives integers",
    "hours": "of integers",
}
"""Public names that no entry builds, and why."""


def test_zoo__every_public_name_is_in_it():
    names = {*public.__all__, *losses.__all__, *sequence.__all__}
    built = {name.split(" ")[0] for name in ZOO}
    assert built <= names
    assert names - built == NOT_IN_THE_ZOO.keys()


def double(value):
    """Tensors of floats as leaves in float64."""
    if not (torch.is_tensor(value) and value.is_floating_point()):
        return value
    return value.detach().double().requires_grad_(value.requires_grad)


def gradients_are_right(module, inputs):
    """Compare the gradients of weights and float inputs with finite differences, in float64.

    Returns:
        False if no result depends on any of them.
    """
    module.double()
    inputs = torch.utils._pytree.tree_map(double, inputs)
    weights = dict(module.named_parameters())
    wanted = [x for x in leaves(inputs) if x.requires_grad]
    state = {key: value.clone() for key, value in module.named_buffers()}

    def results(*_):
        # gradcheck changes weights and inputs in place; running statistics start alike each time.
        buffers = {key: value.clone() for key, value in state.items()}
        out = torch.func.functional_call(module, {**weights, **buffers}, (), inputs)
        found = [x for x in leaves(out) if x.requires_grad]
        assert all(x.dtype == torch.float64 for x in found), "a result is not in float64"
        return tuple(found)

    if results() == ():
        return False
    return torch.autograd.gradcheck(results, (*weights.values(), *wanted))


@everything
def test_gradcheck(name):
    module, inputs = prepared(name, 5)
    # Training would count this batch in the sketch at each of the evaluations.
    module.train(not name.startswith(("LogQ", "SampledSoftmax")))
    assert gradients_are_right(module, inputs) == (name not in NOT_DIFFERENTIATED)


class WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad):
        return 3 * grad


def test_gradcheck__notices_a_wrong_gradient_of_a_weight_and_of_an_input():
    class Doubled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3))

        def forward(self, x, wrong):
            return WrongGradient.apply(self.weight) + x if wrong == "weight" else WrongGradient.apply(x)

    for wrong in ("weight", "x"):
        with pytest.raises(GradcheckError, match="Jacobian mismatch"):
            gradients_are_right(Doubled(), {"x": torch.ones(3, requires_grad=True), "wrong": wrong})


@everything
def test_float64_is_kept_and_close_to_float32(name):
    module, inputs = prepared(name, 9)
    module.eval()
    expected = leaves(module(**detached(inputs)))
    wide = torch.utils._pytree.tree_map(double, detached(inputs))
    found = leaves(module.double()(**wide))
    for ours, single in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.float(), single, rtol=1e-3, atol=1e-4)


def detached(inputs):
    return torch.utils._pytree.tree_map(lambda v: v.detach() if torch.is_tensor(v) else v, inputs)
