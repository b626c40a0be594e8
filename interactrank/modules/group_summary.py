"""Groups of features, each summarised by a small MLP.

Shapes: N rows.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from interactrank.modules.checks import require_positive
from interactrank.modules.mlp import dense_linear
from interactrank.modules.norm import module_key


class GroupSummary(nn.Module):
    """Concatenate the members of a group and pass them through two layers, each with a LeakyReLU(0.2).

    A group of one member is that member under the group's name. Features outside all groups pass unchanged.

    Args:
        groups: group -> its features, concatenated in this order.
        dims: feature -> columns, for the members of groups of several.
        out_dims: group of several -> columns of its summary.

    Raises:
        ValueError: an empty group, a feature in two groups, or a size that is not given.

    Example::

        >>> import torch
        >>> summary = GroupSummary(
        ...     groups={"images": ["front", "back"], "text": ["title"]},
        ...     dims={"front": 8, "back": 4},
        ...     out_dims={"images": 6},
        ... )
        >>> columns = {"front": 8, "back": 4, "title": 5, "price": 1}
        >>> out = summary({name: torch.zeros(3, dim) for name, dim in columns.items()})
        >>> {name: value.shape[1] for name, value in out.items()}
        {'price': 1, 'images': 6, 'text': 5}
    """

    def __init__(
        self, *, groups: Mapping[str, Sequence[str]], dims: Mapping[str, int], out_dims: Mapping[str, int]
    ) -> None:
        super().__init__()
        self.groups = {name: list(members) for name, members in groups.items()}
        self.members = [member for members in self.groups.values() for member in members]
        for name, members in self.groups.items():
            if not members:
                raise ValueError(f"group {name!r} has no member.")
            if len(members) > 1 and name not in out_dims:
                raise ValueError(f"group {name!r} has no out_dim; give it one in out_dims.")
            for member in members:
                if self.members.count(member) > 1:
                    raise ValueError(f"feature {member!r} is in two groups; it may be in one.")
                if len(members) > 1 and member not in dims:
                    raise ValueError(f"feature {member!r} of group {name!r} has no entry in dims.")
        self.layers = nn.ModuleDict()
        for name, members in self.groups.items():
            if len(members) > 1:
                in_dim, out_dim = sum(dims[member] for member in members), out_dims[name]
                require_positive(**{f"out_dims[{name!r}]": out_dim})
                self.layers[module_key(name)] = nn.Sequential(
                    dense_linear(in_dim=in_dim, out_dim=out_dim),
                    nn.LeakyReLU(0.2),
                    dense_linear(in_dim=out_dim, out_dim=out_dim),
                    nn.LeakyReLU(0.2),
                )

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Summarise.

        Args:
            features: name -> [N, columns].

        Returns:
            The features outside all groups in their order, then the groups in theirs.

        Raises:
            KeyError: a member of a group is absent.
        """
        absent = [name for name in self.members if name not in features]
        if absent:
            raise KeyError(f"GroupSummary: no feature {absent[0]!r}; given: {', '.join(sorted(features))}.")
        out = {name: x for name, x in features.items() if name not in self.members}
        for name, members in self.groups.items():
            if len(members) == 1:
                out[name] = features[members[0]]
            else:
                x = torch.cat([features[member] for member in members], dim=-1)
                out[name] = self.layers[module_key(name)](x)
        return out
