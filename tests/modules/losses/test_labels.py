import pytest
import torch

from interactrank.modules import HeadRule, PriorityLabels

COLUMNS = ["click", "save", "bounce"]


def rules(**options):
    return PriorityLabels(
        columns=COLUMNS,
        heads={
            "any": HeadRule(any_of=["click", "save"], unless=["bounce"]),
            "save": HeadRule(any_of=["save"]),
        },
        **(
            {"priorities": [("save", 7.0), ("bounce", 20.0), ("click", 1.0)], "default_weight": 0.5} | options
        ),
    )


def test_every_combination():
    table = {  # click, save, bounce -> labels, weight
        (0, 0, 0): ([0, 0], 0.5),
        (1, 0, 0): ([1, 0], 1.0),
        (0, 1, 0): ([1, 1], 7.0),
        (1, 1, 0): ([1, 1], 7.0),
        (0, 0, 1): ([0, 0], 20.0),
        (1, 0, 1): ([0, 0], 20.0),
        (0, 1, 1): ([0, 1], 7.0),  # a bounce vetoes "any", not "save"
        (1, 1, 1): ([0, 1], 7.0),
    }
    labels, weights = rules()(torch.tensor(list(table)))
    assert labels.tolist() == [label for label, _ in table.values()]
    assert weights.tolist() == [weight for _, weight in table.values()]


def test_counts_and_negative_numbers():
    labels, _ = rules()(torch.tensor([[3.0, -1.0, 0.0]]))  # above 0 means that it happened
    assert labels.tolist() == [[1.0, 0.0]]


def test_no_priorities():
    _, weights = rules(priorities=[])(torch.ones(2, 3))
    assert weights.tolist() == [0.5, 0.5]


def test_errors_name_the_thing():
    with pytest.raises(ValueError, match="no engagement column 'like'; there are click, save, bounce"):
        rules(priorities=[("like", 1.0)])
    with pytest.raises(ValueError, match="a label weight is negative"):
        rules(default_weight=-1.0)
    with pytest.raises(ValueError, match="2 columns; expected"):
        rules()(torch.zeros(1, 2))
