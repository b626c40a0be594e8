"""The settings of a service: which exports it answers with, where, and within what bounds."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from interactrank.core.settings import Config, Name

__all__ = ["TOKEN", "Limits", "LogSettings", "ServedModel", "ServerSettings"]

TOKEN = "INTERACTRANK_TOKEN"
"""Environment variable of the token that requests which write must bring."""


class ServedModel(Config):
    """An export, and how many users are answered with it."""

    export: Path = Field(description="folder that interactrank export wrote")
    share: float = Field(1.0, ge=0, description="of the users, relative to the shares of the other models")


class Limits(Config):
    """What a request may ask for at most; more is refused, and the refusal names the field."""

    body_bytes: int = Field(16 << 20, ge=1024, description="of a request's body")
    candidates: int = Field(100_000, ge=1, description="of one request")
    k: int = Field(10_000, ge=1, description="results of one request")
    explained: int = Field(100, ge=1, description="results of one explanation")
    sequence: int = Field(1_000, ge=1, description="engagements of a sequence that comes with a request")
    text: int = Field(4_000, ge=1, description="characters of a text, such as a query or an id")
    events: int = Field(1_000, ge=1, description="events of one body")
    items: int = Field(1_000, ge=1, description="items of one body")
    queue: int = Field(64, ge=1, description="requests of a worker that wait; the next ones get 503")
    timeout_ms: int = Field(1_000, ge=1, description="deadline of a request that names none, and the longest")


class LogSettings(Config):
    """The request log: what was served, and what came back."""

    folder: Path = Field(description="of the log; its folder events is one for interactrank prepare --append")
    shown: int = Field(20, ge=1, le=1000, description="results of a request that count as shown")
    rotate_s: float = Field(600.0, gt=0, description="seconds after which rows become a Parquet file")


class ServerSettings(Config):
    """Everything about a service; ``interactrank serve --config`` reads it from YAML."""

    models: dict[Name, ServedModel] = Field(min_length=1, description="name -> export and share")
    host: str = Field("127.0.0.1", description="address to listen on; other machines are heard by 0.0.0.0")
    port: int = Field(8000, ge=0, le=65535, description="to listen on; 0 takes a free one")
    workers: int = Field(1, ge=1, description="processes that answer")
    events: str | None = Field(
        None,
        description="log of the events that are recorded: a folder of this machine, or redis://host/name",
    )
    log: LogSettings | None = Field(None, description="the request log; none when left out")
    poll_ms: int = Field(100, ge=10, description="how often a worker looks for a new version of an export")
    slow_ms: float = Field(100.0, gt=0, description="a request that takes longer is logged with its stages")
    limits: Limits = Field(default_factory=Limits, description="what a request may ask for")

    def problems(self) -> list[str]:
        """Return what is wrong with the shares."""
        if sum(model.share for model in self.models.values()) <= 0:
            return ["models: no model has a share above 0"]
        return []
