"""A network as a graph that runs without brainbrr: ONNX, or what ``torch.export`` writes.

Input ``signals`` (batch, channels, samples) in standard deviations; outputs ``logits`` and
``probabilities``, both (batch, samples). The number of samples is fixed, that of windows is not.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, fx, nn

from brainbrr_core.constants import RATE
from brainbrr_core.errors import BrainbrrError
from brainbrr_core.model import AnyNetwork
from brainbrr_core.model.contract import described

ONNX, TORCH_EXPORT, STANDALONE = "model.onnx", "model.pt2", "predict.py"
#: The version of ONNX's operators.
_OPERATORS = 20
#: More windows than any memory holds.
_MOST_WINDOWS = 1 << 16


class _WithProbabilities(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, signals: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and probabilities of the samples of windows."""
        logits: Tensor = self.network(signals)
        return logits, torch.sigmoid(logits)


def write_graphs(folder: Path, network: AnyNetwork, window_s: int, formats: Sequence[str]) -> None:
    """Write a network, for windows of ``window_s`` seconds, to files in a folder.

    ``onnx`` also writes a program that goes from an EDF to events with it. Raises
    :class:`BrainbrrError` where a package is missing that ONNX needs, and where torch makes no
    graph of the network.
    """
    if "onnx" in formats:
        _require("onnxscript")
    graph = _WithProbabilities(network.eval().requires_grad_(False))
    # Two windows: of a single one, the number would be taken as fixed.
    example = torch.zeros(2, network.channels, window_s * RATE)
    batch = torch.export.Dim("batch", min=1, max=_MOST_WINDOWS)
    try:
        program = torch.export.export(graph, (example,), dynamic_shapes={"signals": {0: batch}})
    # It may be somebody's own network, of which torch raises many kinds of errors.
    except Exception as error:
        raise BrainbrrError(
            f"torch makes no graph of this network ({described(error)[:300]}): export it with "
            "--format safetensors"
        ) from error
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, fx.GraphModule) else ():
            # Lines of source with the paths of this machine.
            node.meta.pop("stack_trace", None)
    if "torch-export" in formats:
        torch.export.save(program, folder / TORCH_EXPORT)
    if "onnx" in formats:
        with warnings.catch_warnings():
            # Of torch's own code.
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            written = torch.onnx.export(
                program,
                input_names=["signals"],
                output_names=["logits", "probabilities"],
                opset_version=_OPERATORS,
                dynamo=True,
                verbose=False,
            )
        if written is None:
            raise BrainbrrError("torch wrote no ONNX graph: export with --format torch-export")
        written.save(folder / ONNX, external_data=False)
        shutil.copyfile(Path(__file__).with_name("standalone.py"), folder / STANDALONE)


def _require(module: str) -> None:
    if find_spec(module) is None:
        raise BrainbrrError(
            f"--format onnx needs {module}, which is not installed: pip install 'brainbrr[onnx]'"
        )
