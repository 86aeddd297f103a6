"""Resources: the configuration of a run, and the device that a training is bound to."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import dagster as dg

from brainbrr_core.cache.profile_cache import ProfileCache
from brainbrr_core.configuration import Configuration, Hardware, Overrides, load
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.remote.address import redact
from brainbrr_pipeline.records.event_writer import Context
from brainbrr_pipeline.records.run_tags import run_tags

#: Pool of steps that use the GPU. With a limit of one, two trainings never share a GPU.
GPU_POOL = "gpu"


Resource = TypeVar("Resource", bound=type)


def _dedent_docstring(resource: Resource) -> Resource:
    """Dedent a resource's docstring, which the UI shows as Markdown: an indented one is code."""
    resource.__doc__ = inspect.getdoc(resource)
    return resource


@_dedent_docstring
class Workspace(dg.ConfigurableResource[Configuration]):
    """The configuration of a run.

    It is given as JSON in settings or, if that is empty, loaded from the environment as by the
    brainbrr command.
    """

    settings: str = ""

    @classmethod
    def of(cls, configuration: Configuration) -> "Workspace":
        """The resource that returns exactly this configuration."""
        return cls(settings=configuration.model_dump_json())

    def load(self, profile: str | None = None) -> Configuration:
        """Load the configuration, by default with its own profile.

        Raises :class:`BrainbrrError` if it cannot be loaded, or if settings are given and have
        another profile.
        """
        if not self.settings:
            return load(Overrides(profile=profile))
        configuration = Configuration.model_validate_json(self.settings)
        if profile not in (None, configuration.profile):
            raise BrainbrrError(
                f"the profile {profile} cannot be chosen, because the resource workspace has fixed "
                f"settings with the profile {configuration.profile}: leave the profile out"
            )
        return configuration

    def load_for(self, context: Context) -> Configuration:
        """Load the configuration of a run, and tag the run with its profile and version.

        Tags of a job come from the definitions that requested it, and a run of assets without a job
        has none. Raises as :meth:`load` does.
        """
        configuration = self.load()
        context.instance.add_run_tags(context.run.run_id, run_tags(ProfileCache.of(configuration)))
        return configuration


@_dedent_docstring
class GpuResource(dg.ConfigurableResource[Hardware]):
    """The device that a training is bound to, given by a hardware profile.

    A profile is a configuration file, such as rtx4090, a100, cpu or one of your own. The settings
    are its content as JSON.
    """

    profile: str
    settings: str

    @classmethod
    def of(cls, hardware: Hardware) -> "GpuResource":
        """The resource for a configuration's hardware."""
        return cls(profile=hardware.name, settings=hardware.model_dump_json())

    @classmethod
    def of_profile(cls, name: str) -> "GpuResource":
        """The resource for a hardware profile. Raises :class:`BrainbrrError` for an unknown one."""
        return cls.of(load(Overrides(config=f"full:{name}")).hardware)

    def hardware(self) -> Hardware:
        """The hardware settings: device, batch size, precision, workers and compilation."""
        return Hardware.model_validate_json(self.settings)

    def verify(self, requested: Hardware) -> str:
        """Check that a run may use this machine's device, and return a description of the device.

        Raises :class:`BrainbrrError` if the run requests another hardware profile than that of the
        resource, or if the device is not the one that the profile names.
        """
        hardware = self.hardware()
        if requested != hardware:
            raise BrainbrrError(
                f"the configuration is for {requested.name} and the gpu resource "
                f"is bound to {self.profile}: set BRAINBRR_CONFIG to a profile and {self.profile}"
            )
        # Imported here because it imports torch, which loading the definitions does not need.
        from brainbrr_core.model.device import check_device, describe_device

        return str(describe_device(check_device(hardware)))


@contextmanager
def user_errors_as_failures() -> Iterator[None]:
    """Turn an error that a user can fix into a failure of the step or tick: one line."""
    try:
        yield
    except BrainbrrError as error:
        raise dg.Failure(description=redact(str(error)), allow_retries=False) from None
