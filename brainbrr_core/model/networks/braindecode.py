"""The networks of the package braindecode, which classify short windows, through one adapter."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable

from torch import Tensor, nn

from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model.networks.segments import cut, segment_samples

#: Parameters of braindecode's classes that follow from the window.
_OF_THE_WINDOW = ("n_chans", "n_outputs", "n_times", "sfreq", "input_window_seconds", "chs_info")

#: Seconds of a segment where no option says it.
SEGMENT_S = 10.0


class OfSegments(nn.Module):
    """A network of braindecode on segments of a window: as many logits for each as it gives.

    Parameters
    ----------
    made_by : callable
        A class with the parameters ``n_chans``, ``n_outputs``, ``n_times`` and ``sfreq``.
    channels, samples, rate : int
        Channels and samples of a window, and samples per second.
    segment_s : float
        Seconds of a segment, which must divide the window evenly.
    options
        Other parameters of the class.

    Raises
    ------
    ValueError
        Where segments do not divide the window.
    """

    def __init__(
        self,
        made_by: Callable[..., nn.Module],
        channels: int,
        samples: int,
        rate: int,
        segment_s: float = SEGMENT_S,
        **options: object,
    ) -> None:
        super().__init__()
        self.segment = segment_samples(samples, rate, segment_s)
        self.network = made_by(
            n_chans=channels, n_outputs=1, n_times=self.segment, sfreq=rate, **options
        )

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (batch, channels, samples) to (batch, segments * logits of a segment).

        Raises ``ValueError`` where the network gives anything else than logits of one class.
        """
        segments = cut(x, self.segment)
        logits: Tensor = self.network(segments)
        shape = tuple(logits.shape)
        if shape[:1] != (len(segments),) or (len(shape) > 1 and shape[1] != 1) or len(shape) > 3:
            raise ValueError(
                f"it gives {shape} for {len(segments)} segments: only networks with one logit per "
                "segment, or one per step of it, can be used"
            )
        return logits.reshape(len(x), -1)


class Adapted:
    """A class of braindecode as one that takes (channels, samples, rate) and options."""

    def __init__(self, made_by: Callable[..., nn.Module]) -> None:
        self._made_by = made_by

    @property
    def __signature__(self) -> inspect.Signature:
        """The parameters of :class:`OfSegments`, and those of the class as further options."""
        of_adapter = inspect.signature(OfSegments).parameters
        own = [
            each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for each in inspect.signature(self._made_by).parameters.values()
            if each.name not in _OF_THE_WINDOW
            and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
        ]
        window = [of_adapter[name] for name in ("channels", "samples", "rate", "segment_s")]
        return inspect.Signature([*window, *own])

    def __call__(
        self,
        channels: int,
        samples: int,
        rate: int,
        segment_s: float = SEGMENT_S,
        **options: object,
    ) -> nn.Module:
        """A network for windows of this shape. Raises what the class raises."""
        return OfSegments(self._made_by, channels, samples, rate, segment_s, **options)


def braindecode_network(name: str) -> Adapted:
    """What makes the network of braindecode with this name, as a class of a network does.

    Raises :class:`BrainbrrError` where the package cannot be imported or has no such network.
    """
    try:
        with warnings.catch_warnings():
            # Of names of montages in MNE, which are nobody's here.
            warnings.simplefilter("ignore", FutureWarning)
            models = importlib.import_module("braindecode.models")
    # A compiled part of a package that it needs raises OSError where it does not fit.
    except (ImportError, OSError) as error:
        raise BrainbrrError(
            f"model.network is braindecode:{name}, and braindecode cannot be imported "
            f"({' '.join(str(error).split())}): pip install 'brainbrr[braindecode]'"
        ) from None
    made_by: object = getattr(models, name, None)
    if not (isinstance(made_by, type) and issubclass(made_by, nn.Module)):
        raise BrainbrrError(
            f"model.network is braindecode:{name}, and braindecode has no network {name}: its "
            "networks are the classes of braindecode.models"
        )
    return Adapted(made_by)
