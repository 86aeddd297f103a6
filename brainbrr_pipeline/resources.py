"""Resources: the configuration of a run, and the device a training is bound to."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from brainbrr_core.configuration import Configuration, load
from brainbrr_core.errors import BrainbrrError


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


class GpuResource(dg.ConfigurableResource[str]):
    """The hardware profile a training is bound to: ``rtx4090``, ``a100`` or ``cpu``.

    The training process checks that the card it got is the card it is bound to.
    """

    profile: str = "cpu"


@contextmanager
def users_mistakes_as_failures() -> Iterator[None]:
    """A mistake a user can mend fails the step with its one line, without a traceback."""
    try:
        yield
    except BrainbrrError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None
