"""Settings of the section ``orchestration``."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator

from brainbrr_core.configuration.settings.section import Section
from brainbrr_core.nearest import nearest


class Orchestration(Section):
    """What the sensors and the schedule of the Dagster graph do, where they are turned on."""

    #: Most recordings that one run builds. With ``null`` one run builds all of them.
    recordings_per_run: Annotated[int, Field(gt=0)] | None = None
    #: When the schedule trains and evaluates, as a cron expression of five fields. The default is
    #: Friday at 20:00, so that a training can run over the weekend.
    training_cron: str = "0 20 * * 5"
    #: Time zone of the cron expression, by its name in the IANA database, such as
    #: ``Europe/Berlin``.
    time_zone: str = "UTC"
    #: Function that the sensor ``notify_of_failures`` calls for each run that fails, as
    #: ``package.module:function``. With ``null`` there is none.
    on_failure: str | None = None
    #: Address of Dagster's UI for the links in notices of failed runs. With ``null`` it is that of
    #: the running ``brainbrr ui``, or otherwise ``http://127.0.0.1:3000``.
    ui_url: str | None = None

    @field_validator("time_zone")
    @classmethod
    def _is_a_time_zone(cls, name: str) -> str:
        # Imported here because it reads the names of hundreds of files.
        from zoneinfo import available_timezones

        names = available_timezones()
        if name not in names:
            raise ValueError(
                f"there is no such time zone: the nearest is {nearest(name, sorted(names))}"
            )
        return name

    @field_validator("on_failure")
    @classmethod
    def _names_a_function(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", name):
            raise ValueError("write package.module:function, such as notices:send")
        return name

    @field_validator("ui_url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"https?://[^\s/]+\S*", url):
            raise ValueError("write an address, such as http://127.0.0.1:3000")
        return url
