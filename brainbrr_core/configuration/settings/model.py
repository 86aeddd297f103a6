"""Settings of the section ``model``."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from brainbrr_core.configuration.settings.section import Section
from brainbrr_core.nearest import nearest

#: The default network, whose size is a preset.
DEFAULT_NETWORK = "bimamba2"
#: Every network that has a name.
NETWORKS = (
    DEFAULT_NETWORK,
    "dcrnn",
    "eegnet",
    "line_length",
    "seizure_transformer",
    "tcn",
    "tcn_bimamba",
    "unet",
)
#: ``braindecode:NAME``, a network of that package.
BRAINDECODE = "braindecode"
_CLASS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


class Model(Section):
    """The network."""

    #: The network: ``bimamba2``, another one that the program has (see the page on networks),
    #: ``braindecode:NAME``, or a class of your own as ``package.module:Class``.
    network: str = DEFAULT_NETWORK
    #: Options of the network, by the names of the parameters of its class. ``bimamba2`` has none.
    options: dict[str, JsonValue] = Field(default={})
    #: Size of the network ``bimamba2``. ``tiny`` trains on two CPU cores, ``base`` is meant for a
    #: GPU. Other networks ignore it.
    preset: Literal["tiny", "small", "base"] = "base"

    @field_validator("network")
    @classmethod
    def _names_a_network(cls, name: str) -> str:
        if name in NETWORKS or _CLASS.fullmatch(name):
            return name
        raise ValueError(
            f"there is no such network, the nearest is {nearest(name, NETWORKS)}: use one of "
            f"{', '.join(NETWORKS)}, {BRAINDECODE}:NAME, or package.module:Class"
        )

    @model_validator(mode="after")
    def _options_of_the_default(self) -> Model:
        if self.network == DEFAULT_NETWORK and self.options:
            raise ValueError(
                f"{DEFAULT_NETWORK} has no options: its size is model.preset (tiny, small, base)"
            )
        return self

    @property
    def name(self) -> str:
        """The network in a word, for people: the preset of the default network, or its name."""
        return self.preset if self.network == DEFAULT_NETWORK else self.network

    def shaping(self) -> dict[str, JsonValue]:
        """What of these settings says which network it is.

        Returns
        -------
        dict
            The preset of the default network; the name and the options of any other.
        """
        if self.network == DEFAULT_NETWORK:
            return {"preset": self.preset}
        return {"network": self.network, "options": dict(self.options)}
