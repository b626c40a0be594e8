"""Settings of the models: the section ``model`` of a run's YAML file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from interactrank.core.settings import Config
from interactrank.schema import CrossFeatureSettings

DOT_ALONE = 5.0
"""Least first weight of a dot product that is the whole score: cosines alone spread scores too little."""


class TowerSettings(Config):
    """Layers of a tower between the concatenated features and its unit vectors."""

    crossing: Literal["mask_net", "dcn", "none"] = "mask_net"
    blocks: int = Field(4, ge=1, description="mask blocks, or layers of dcn")
    block_dim: int = Field(256, ge=1, description="columns of a mask block")
    mask_ratio: float = Field(0.1, gt=0, description="rank of a mask as a share of the input's columns")
    hidden_dims: list[int] = Field(default_factory=lambda: [256, 128])
    dropout: float = Field(0.0, ge=0, lt=1, description="of mask blocks and hidden layers")
    input_dropout: float = Field(0.0, ge=0, lt=1, description="of the concatenated features")
    residual: bool = Field(
        False, description="add a plain linear map of the input, which learns ids faster on small logs"
    )


class SequenceSettings(Config):
    """How the user's history becomes a vector."""

    pooling: bool = Field(True, description="learned weighted pooling: u_p = sum alpha_i e_i")
    attention: bool = Field(True, description="query cross-attention: u_q = sum beta_i(q) e_i")
    transformer_layers: int = Field(0, ge=0, description="encoder layers over the events before pooling")
    transformer_heads: int = Field(2, ge=1)

    def problems(self) -> list[str]:
        """Something must summarise the events."""
        if not (self.pooling or self.attention):
            return ["turn on pooling or attention, or set model.use_sequence to false"]
        return []


class CrossFeatureModelSettings(Config):
    """How cross features enter the score."""

    transforms: tuple[Literal["rate", "log_count", "smoothed", "log_smoothed"], ...] = Field(
        ("log_smoothed",), min_length=1, description="of rates"
    )
    prior_strength: float = Field(
        1.0, gt=0, description="engagements that a rate is first smoothed by; learned"
    )
    hidden_dims: list[Annotated[int, Field(ge=1)]] = Field(
        default_factory=lambda: [16],
        description="hidden layers of an MLP over the cross features; it is added to their projection, with "
        "weights that depend on how much history the request's keys have",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="of those hidden layers")
    ratio_strength: float = Field(
        10.0, gt=0, description="impressions that a rate of impressions is first smoothed by; learned"
    )
    priors: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(
        default_factory=dict,
        description="feature or kind -> rate to expect without support; by default 1 / items of the "
        "catalogue, for cosines 0.02",
    )


class InteractionSettings(Config):
    """How query and item meet in the models ``early_interaction`` and ``late_interaction``."""

    hidden_dims: list[Annotated[int, Field(ge=1)]] = Field(
        default_factory=lambda: [64, 32],
        min_length=1,
        description="hidden layers of early_interaction's MLP over a candidate",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="of those hidden layers")
    vectors: int = Field(
        4, ge=2, description="vectors that late_interaction cuts a tower's vector into; they divide model.dim"
    )


class LossSettings(Config):
    """Weights of the parts of the loss; a part of weight 0 is not computed."""

    pointwise: Literal["focal", "bce"] = "focal"
    pointwise_weight: float = Field(1.0, ge=0)
    focal_gamma: float = Field(2.0, ge=0)
    listwise_weight: float = Field(
        1.0, ge=0, description="softmax over each request's candidates on the final score"
    )
    sampled_softmax_weight: float = Field(
        0.01,
        ge=0,
        description="sampled softmax over the items of the batch, of all ranks, on the dot product",
    )
    log_q: bool = Field(True, description="correct in-batch negatives for how often they are drawn")
    temperature: float = Field(1.0, gt=0, description="first temperature of the sampled softmax; learned")

    def problems(self) -> list[str]:
        """At least one part must count."""
        if self.pointwise_weight + self.listwise_weight + self.sampled_softmax_weight == 0:
            return ["every part of the loss has weight 0; there is nothing to learn from"]
        return []


class ModelSettings(Config):
    """InteractRank, or the plain two-tower, with ``use_sequence`` and ``use_cross_features`` off."""

    dim: int = Field(64, ge=1, description="D, width of the towers' vectors")
    request_tower: TowerSettings = Field(default_factory=lambda: TowerSettings())
    item_tower: TowerSettings = Field(default_factory=lambda: TowerSettings())
    use_sequence: bool = True
    use_cross_features: bool = True
    exclude_features: list[str] = Field(
        default_factory=list,
        description="cross features that the model does not read; a kind stands for all of its features",
    )
    sequence: SequenceSettings = Field(default_factory=lambda: SequenceSettings())
    cross_features: CrossFeatureModelSettings = Field(default_factory=lambda: CrossFeatureModelSettings())
    interaction: InteractionSettings = Field(default_factory=lambda: InteractionSettings())
    shared_projection: bool = Field(True, description="one cross-interaction projection for all heads")
    position_biases: int = Field(
        0,
        ge=0,
        description="positions whose bias is learned and left out of the final score; 0: none; needs "
        "events.position",
    )
    initial_dot_weight: float = Field(
        0.1,
        gt=0,
        description="of the dot product in the score; small, so that cross features lead while towers learn",
    )
    initial_cross_weight: float = 0.3
    table_std: float = Field(0.05, gt=0, description="standard deviation of the first table weights")
    loss: LossSettings = Field(default_factory=lambda: LossSettings())

    def reads(self, feature: CrossFeatureSettings) -> bool:
        """Return whether the model reads a cross feature of the schema.

        Example::

            >>> bm25 = CrossFeatureSettings(kind="bm25")
            >>> ModelSettings().reads(bm25), ModelSettings(exclude_features=["bm25"]).reads(bm25)
            (True, False)
        """
        excluded = {feature.name, feature.kind} & set(self.exclude_features)
        return self.use_cross_features and not excluded

    def two_tower(self) -> ModelSettings:
        """Return the same towers without sequence and cross features.

        The dot product is then the whole score: its first weight is at least :data:`DOT_ALONE`, however small
        the model with cross features starts with it.

        Example::

            >>> ModelSettings(dim=8).two_tower().use_cross_features
            False
            >>> ModelSettings(initial_dot_weight=0.01).two_tower().initial_dot_weight
            5.0
        """
        return self.model_copy(
            update={
                "use_sequence": False,
                "use_cross_features": False,
                "initial_dot_weight": max(self.initial_dot_weight, DOT_ALONE),
            }
        )
