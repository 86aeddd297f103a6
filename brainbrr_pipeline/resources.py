"""Resources: the configuration of a run, and the device a training is bound to."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from brainbrr_core.configuration import Configuration, Hardware, Overrides, load
from brainbrr_core.errors import BrainbrrError

#: Pool of runs that use the card: with a limit of one, two trainings never share it.
GPU_POOL = "gpu"


class Workspace(dg.ConfigurableResource[Configuration]):
    """Where the configuration comes from; empty, the variables of the environment say.

    ``settings`` is a whole configuration as JSON, as ``build_defs(configuration)`` gives it.
    """

    settings: str = ""

    @classmethod
    def of(cls, configuration: Configuration) -> "Workspace":
        """The resource that gives this very configuration."""
        return cls(settings=configuration.model_dump_json())

    def load(self) -> Configuration:
        """The configuration, as the ``brainbrr`` command would load it.

        Raises :class:`BrainbrrError` as that does.
        """
        return Configuration.model_validate_json(self.settings) if self.settings else load()


class GpuResource(dg.ConfigurableResource[Hardware]):
    """The device a training is bound to: a profile, with all that it says of the card.

    Profiles are configuration files: ``rtx4090``, ``a100``, ``cpu``, and any of your own.
    """

    profile: str
    settings: str

    @classmethod
    def of(cls, hardware: Hardware) -> "GpuResource":
        """The resource for a configuration's hardware."""
        return cls(profile=hardware.name, settings=hardware.model_dump_json())

    @classmethod
    def of_profile(cls, name: str) -> "GpuResource":
        """The resource for a profile by its name. Raises :class:`BrainbrrError` for none such."""
        return cls.of(load(Overrides(config=f"full:{name}")).hardware)

    def hardware(self) -> Hardware:
        """Card, memory and capability wanted; batch size, precision, workers and compilation."""
        return Hardware.model_validate_json(self.settings)

    def verify(self, configuration: Configuration) -> str:
        """Check that a run may use the device it would get; what the device is, in words.

        Raises :class:`BrainbrrError` naming what was found, for another card than the one it is
        bound to, or for a configuration that asks for another profile.
        """
        hardware = self.hardware()
        if configuration.hardware != hardware:
            raise BrainbrrError(
                f"the configuration is for {configuration.hardware.name} and the gpu resource "
                f"is bound to {self.profile}: set BRAINBRR_CONFIG to a profile and {self.profile}"
            )
        # Heavy, and only of use where a training is about to start.
        from brainbrr_core.model.device import check_device, describe_device

        return str(describe_device(check_device(hardware)))


@contextmanager
def users_mistakes_as_failures() -> Iterator[None]:
    """A mistake a user can mend fails the step with its one line, without a traceback."""
    try:
        yield
    except BrainbrrError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None
