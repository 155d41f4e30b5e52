"""The options of a measured run, which every process of it gets."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, ValidationError, model_validator

from loadtest.ids import new_run
from loadtest.profiles import PROFILES, Plan
from triage.urls import split_credentials

_Weight = Annotated[int, Field(ge=0, strict=True)]


class UserWeights(BaseModel):
    """How many users of each class there are, relative to each other."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    Browse: _Weight = 0
    Buy: _Weight = 0
    Report: _Weight = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not any(self.model_dump().values()):
            msg = "at least one weight has to be above 0"
            raise ValueError(msg)
        return self


class UsersFileError(ValueError):
    """A file of weights that cannot be used; the message names the file and the reason."""


def read_weights(path: Path) -> UserWeights:
    """Return the weights in a TOML file."""
    try:
        return UserWeights.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as exc:
        msg = f"Cannot read {path}: {exc.strerror}"
    except ValidationError as exc:
        error = exc.errors()[0]
        key = "".join(f"{each}: " for each in error["loc"])
        msg = f"{path}: {key}{error['msg'].removeprefix('Value error, ')}"
    except ValueError as exc:  # of the syntax, or of the encoding
        msg = f"{path} is not valid TOML: {exc}"
    raise UsersFileError(msg)


class RunOptions(BaseModel):
    """The options of `python -m loadtest.run`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: Literal["steady", "steps", "spike", "incident", "soak"] = "steady"
    loop: Literal["open", "closed"] = "open"
    rate: Annotated[float, Field(gt=0, le=10_000)] = 20
    seconds: Annotated[float | None, Field(ge=1, le=86_400)] = None
    host: HttpUrl = HttpUrl("http://127.0.0.1:8000")
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    users: UserWeights | None = None  # those of the locustfile
    folder: Path = Path("runs")
    # No dash, because request ids are `<run>-<worker>-<sequence>`.
    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._]{0,39}$", default_factory=new_run)]

    @property
    def url(self) -> str:
        """The base URL of the service under load, without credentials: it is printed and recorded."""
        return split_credentials(self.target)[0]

    @property
    def target(self) -> str:
        """The base URL of the service under load, with the credentials of `host`, for requests."""
        return str(self.host).rstrip("/")

    @property
    def run_folder(self) -> Path:
        """Where the files of this run are."""
        return self.folder / self.run

    @property
    def plan(self) -> Plan:
        """When the requests are due."""
        profile = PROFILES[self.profile]
        return Plan(profile, self.rate, self.seconds or profile.seconds)
