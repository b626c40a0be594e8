"""Modules of InteractRank, usable one by one: they know tensors, not files, configs or trainers."""

from interactrank.modules.batch_norm import WeightedBatchNorm
from interactrank.modules.count_smoothing import CountSmoothing
from interactrank.modules.cross import CrossInteraction, PositiveWeight
from interactrank.modules.cross_correction import CrossCorrection
from interactrank.modules.dcn import DCNv2
from interactrank.modules.embeddings import TableConfig, embedding_bag_collection, embedding_collection
from interactrank.modules.group_summary import GroupSummary
from interactrank.modules.losses import (
    AccidentalHits,
    CountMinSketch,
    HardNegativeMining,
    HeadRule,
    HeadWeighting,
    ListwiseSoftmax,
    LogQ,
    PriorityLabels,
    SampledSoftmax,
    Temperature,
    binary_focal_loss,
    weighted_bce,
)
from interactrank.modules.managed import Eviction, ManagedIds, manage
from interactrank.modules.mask_net import ParallelMaskNet
from interactrank.modules.mlp import MLP, DenseLayer, LowRankLinear
from interactrank.modules.norm import DenseVectorNorm, normalize_heads
from interactrank.modules.numeric import NumericNorm, NumericStats
from interactrank.modules.position_bias import PositionBias
from interactrank.modules.ratio_smoothing import RatioSmoothing
from interactrank.modules.scores import candidate_dots, metamodel_score, mix_heads
from interactrank.modules.sequence import (
    LearnedWeightedPooling,
    QueryCrossAttention,
    RelativeTimeEmbedding,
    SequenceTransformer,
    UserSequenceEmbedder,
)
from interactrank.modules.tower import FeatureConcat, Tower, mask_net_tower

__all__ = [
    "MLP",
    "AccidentalHits",
    "CountMinSketch",
    "CountSmoothing",
    "CrossCorrection",
    "CrossInteraction",
    "DCNv2",
    "DenseLayer",
    "DenseVectorNorm",
    "Eviction",
    "FeatureConcat",
    "GroupSummary",
    "HardNegativeMining",
    "HeadRule",
    "HeadWeighting",
    "LearnedWeightedPooling",
    "ListwiseSoftmax",
    "LogQ",
    "LowRankLinear",
    "ManagedIds",
    "NumericNorm",
    "NumericStats",
    "ParallelMaskNet",
    "PositionBias",
    "PositiveWeight",
    "PriorityLabels",
    "QueryCrossAttention",
    "RatioSmoothing",
    "RelativeTimeEmbedding",
    "SampledSoftmax",
    "SequenceTransformer",
    "TableConfig",
    "Temperature",
    "Tower",
    "UserSequenceEmbedder",
    "WeightedBatchNorm",
    "binary_focal_loss",
    "candidate_dots",
    "embedding_bag_collection",
    "embedding_collection",
    "manage",
    "mask_net_tower",
    "metamodel_score",
    "mix_heads",
    "normalize_heads",
    "weighted_bce",
]
