"""The service's settings: TOML in, validated, every default documented where it is set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from latticewatch.alerting.options import AlertOptions, AlertSettings
from latticewatch.alerting.quantities import Names
from latticewatch.alerting.rules import AlertRule
from latticewatch.segmenter_options import SegmenterSettings
from latticewatch.standing import Rule
from latticewatch_models.crystal import crystal_named
from latticewatch_models.devices import parse_devices

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Port = Annotated[str, Field(pattern=r"^tcp://")]


class ConfigError(ValueError):
    """A settings file that cannot be used; the message names the key and the mend."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Endpoints(_Section):
    """Where the service listens. Loopback only, until peers have keys."""

    frames: Port = Field(default="tcp://127.0.0.1:7701", description="frames in (ROUTER)")
    results: Port = Field(default="tcp://127.0.0.1:7702", description="results out (XPUB)")
    queries: Port = Field(
        default="tcp://127.0.0.1:7703", description="queries and control (ROUTER)"
    )
    metrics: str = Field(
        default="http://127.0.0.1:7704/metrics",
        pattern=r"^(http://[^/]+/metrics)?$",
        description="Prometheus metrics; an empty string for none",
    )


class StoreSettings(_Section):
    """Where results are kept."""

    data: Path = Field(
        default=Path("latticewatch-data"), description="each stream gets DATA/<stream>/"
    )
    fsync: Literal["always", "interval", "never"] = Field(
        default="always",
        description="always: every commit reaches the disk before its frames are acknowledged; "
        "interval: a power cut may lose the last seconds; never: as the system pleases",
    )


class SecuritySettings(_Section):
    """Who may talk to the service; see docs/security.md."""

    keys: Path | None = Field(
        default=None,
        description="folder of keys that every port then asks for; none: loopback alone",
    )


class AnalysisSettings(_Section):
    """One frame to its defects."""

    crystal: str = Field(default="WS2", description="WS2, MoS2, WSe2 or graphene")
    model: Path | None = Field(
        default=None, description="ONNX file of the segmenter; none: the one shipped"
    )
    device: str = Field(
        default="auto",
        description="auto (every GPU that can be used, else the CPU), cpu, cuda:N, or several with "
        "commas: cuda:0,cuda:1; each stream stays on one",
    )
    backend: Literal["onnxruntime", "torch"] = Field(
        default="onnxruntime",
        description="what runs the segmenter; torch (the train extra) where onnxruntime-gpu is not "
        "to be had",
    )
    providers: str = Field(
        default="auto", description="ONNX Runtime provider: auto, cpu, openvino, cuda or tensorrt"
    )
    threshold: float = Field(
        default=0.5, gt=0, lt=1, description="least probability of a defect that is reported"
    )
    vacancy_threshold: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="the same for vacancies that their column's intensity tells; none: what makes "
        "the expected F1 of each frame greatest",
    )
    workers: int = Field(
        default=2, ge=1, le=64, description="frames analysed at the same time, on each device"
    )
    threads: int = Field(
        default=1,
        ge=0,
        le=64,
        description="threads of the segmenter within one frame; 0: all cores",
    )
    record: bool = Field(
        default=True,
        description="on a GPU, record the work of frames as CUDA graphs; with segmenter.max_batch "
        "whole frames are then run together",
    )

    @field_validator("device")
    @classmethod
    def _known_device(cls, text: str) -> str:
        return ",".join(map(str, parse_devices(text)))

    @field_validator("crystal")
    @classmethod
    def _known_crystal(cls, name: str) -> str:
        return crystal_named(name).name


class TrackerOptions(_Section):
    """What remembers; see docs/tracker.md."""

    classes: Annotated[int, Field(ge=1, le=32)] | Literal["bic"] = Field(
        default=5, description='classes of the Gaussian mixture; "bic": as many as its BIC wants'
    )
    most_classes: int = Field(
        default=8, ge=1, le=32, description="class numbers that a session may ever give out"
    )
    covariance: Literal["full", "diagonal"] = Field(
        default="full", description="covariance of a class: full or diagonal"
    )
    warm_up: int = Field(
        default=500,
        ge=20,
        description="descriptors gathered before the mixture starts",
    )
    max_gap_frames: int = Field(
        default=3, ge=0, le=100, description="frames a defect may be missed before its track ends"
    )


class CalibrationSettings(_Section):
    """The segmenter against labels from Bragg peaks; see docs/self-calibration.md."""

    every: int = Field(
        default=10,
        ge=0,
        description="every n-th frame is checked, which costs it about 40 ms at 512 x 512; 0: none",
    )
    window: int = Field(
        default=12,
        ge=1,
        le=1000,
        description="newest checks that are pooled; as their defects stay, twelve tell as much as "
        "1.4 frames of other columns would, and more of them hardly more",
    )
    limit: float = Field(
        default=0.85,
        gt=0,
        lt=1,
        description="least agreement that is well; the shipped model's on good frames is 0.97 and "
        "more",
    )
    patience: int = Field(
        default=3,
        ge=1,
        le=1000,
        description="checks in a row wholly below the limit before the service says so: a frame "
        "out of focus is none of its business",
    )
    self_train: bool = Field(
        default=False,
        description="train on the newest frames when agreement is low, and go on with the new "
        "model where it agrees better; takes two cores for minutes, hence asked for",
    )
    frames: int = Field(
        default=8,
        ge=4,
        le=64,
        description="newest checked frames kept in memory; three quarters are trained on, the rest "
        "and what comes later judge (one frame with a hundred labels is enough to learn from)",
    )
    apart: int = Field(
        default=1000,
        ge=1,
        description="least frames from the start of one training to that of the next, whatever "
        "came of it: a training that failed fails again on much the same frames",
    )
    iterations: int = Field(
        default=1200, ge=1, description="steps of a training, as 'latticewatch train' takes"
    )
    timeout_s: float = Field(
        default=1800.0,
        gt=0,
        description="a training is ended after so long, s: nine times what it takes on two cores",
    )

    @model_validator(mode="after")
    def _checked_to_train(self) -> CalibrationSettings:
        if self.self_train and not self.every:
            raise ValueError("self_train needs checks: set calibration.every to 1 or more")
        return self

    @property
    def rule(self) -> Rule:
        """The part of it that says when agreement is low."""
        return Rule(self.every, self.window, self.limit, self.patience)


class StreamLimits(_Section):
    """Bounds on what the outside may ask for."""

    streams: int = Field(default=16, ge=1, description="streams that may be open at once")
    queue: int = Field(
        default=32, ge=1, description="frames of a stream in hand before more are turned away"
    )
    reorder: int = Field(
        default=8,
        ge=1,
        le=15,
        description="later frames that wait for a missing one before it is given up; must stay "
        "below the publisher's window of 16",
    )
    overlay_px: int = Field(
        default=512, ge=64, description="longest side of the overlay's preview image"
    )


class Settings(_Section):
    """Everything that ``latticewatch serve --config FILE`` reads."""

    endpoints: Endpoints = Endpoints()
    security: SecuritySettings = SecuritySettings()
    store: StoreSettings = StoreSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    segmenter: SegmenterSettings = SegmenterSettings()
    tracker: TrackerOptions = TrackerOptions()
    calibration: CalibrationSettings = CalibrationSettings()
    alerts: AlertSettings = AlertSettings()
    limits: StreamLimits = StreamLimits()

    @model_validator(mode="after")
    def _rules_can_be_read(self) -> Settings:
        self.alert_rules()
        return self

    @model_validator(mode="after")
    def _workers_suffice(self) -> Settings:
        self.segmenter.check(self.analysis.workers)
        return self

    def alert_rules(self) -> tuple[AlertRule, ...]:
        """Return the rules, read with the names of the crystal.

        Raises
        ------
        RuleError
            One cannot be used; settings that were made have none such.
        """
        return self.alerts.read(Names.of(crystal_named(self.analysis.crystal)))


def load_settings(path: Path | None = None, **overrides: dict[str, Any]) -> Settings:
    """Read settings from a TOML file; `overrides` are sections whose keys win over the file's.

    Raises
    ------
    ConfigError
        The file is missing, not TOML, or a key is unknown or out of range.
    """
    document: dict[str, Any] = {}
    if path is not None:
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}; check the path") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not TOML: {error}; mend that line") from error
    for section, values in overrides.items():
        given = {key: value for key, value in values.items() if value is not None}
        document[section] = {**document.get(section, {}), **given}
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "alerts.rules"
        reason = first["msg"].removeprefix("Value error, ")  # pydantic's word for ours
        raise ConfigError(
            f"setting {key}: {reason}; see 'latticewatch serve --print-config'"
        ) from error


def default_toml() -> str:
    """Write the defaults as a commented TOML file."""
    lines: list[str] = []
    for section, field in Settings.model_fields.items():
        model = field.default
        lines += [f"# {type(model).__doc__}", f"[{section}]"]
        for key, option in type(model).model_fields.items():
            value = getattr(model, key)
            lines.append(f"# {option.description}")
            lines.append(f"# {key} =" if value is None else f"{key} = {_toml_value(value)}")
        lines.append("")
    return "\n".join(lines)


def _toml_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, tuple):
        return f"[{', '.join(_toml_value(part) for part in value)}]"
    if isinstance(value, AlertOptions):
        return _toml_value(value.when)
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
