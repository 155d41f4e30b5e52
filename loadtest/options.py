"""What a measured run is like: said once on the command line, and handed on to every process of it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, HttpUrl

from loadtest.ids import new_run
from loadtest.mix import SHIPPED
from loadtest.profiles import PROFILES, Plan


class RunOptions(BaseModel):
    """The options of `python -m loadtest.run`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: Literal["steady", "steps", "spike", "incident", "soak"] = "steady"
    loop: Literal["open", "closed"] = "open"
    rate: Annotated[float, Field(gt=0, le=10_000)] = 20
    seconds: Annotated[float | None, Field(ge=1, le=86_400)] = None
    host: HttpUrl = HttpUrl("http://127.0.0.1:8000")
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    users: Path = SHIPPED
    folder: Path = Path("runs")
    # No dash, because request ids are `<run>-<worker>-<sequence>`.
    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._]{0,39}$", default_factory=new_run)]

    @property
    def url(self) -> str:
        """What is loaded."""
        return str(self.host).rstrip("/")

    @property
    def own_folder(self) -> Path:
        """Where the files of this run are."""
        return self.folder / self.run

    @property
    def plan(self) -> Plan:
        """When its requests are due."""
        profile = PROFILES[self.profile]
        return Plan(profile, self.rate, self.seconds or profile.seconds)
