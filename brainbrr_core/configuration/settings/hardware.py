"""Settings of the section ``hardware``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from brainbrr_core.configuration.settings.section import Section

Precision = Literal["float32", "bfloat16"]
#: How the network is run: operation by operation, compiled, or compiled and recorded as a CUDA
#: graph, which starts all operations of a step at once.
Compilation = Literal[False, True, "cuda_graphs"]


class Hardware(Section):
    """The device that a training runs on, and the batch that fits it."""

    #: Name of the device in what is printed.
    name: str = "cpu"
    #: Type of the device that trains and runs the network.
    device: Literal["cpu", "cuda"] = "cpu"
    #: Accepted GPUs: one of these must occur in the name that CUDA reports. Empty accepts any.
    card: tuple[str, ...] = ()
    #: Least memory of the GPU, in GB.
    memory_gb: Annotated[float, Field(ge=0)] = 0.0
    #: Least compute capability of the GPU. With ``null`` any is accepted.
    compute_capability: tuple[int, int] | None = None
    #: Windows of one optimizer step, the total over all processes.
    batch_size: Annotated[int, Field(gt=0)] = 16
    #: Number of parts in which each process computes its share of a batch, to need less memory.
    accumulate: Annotated[int, Field(gt=0)] = 1
    #: Windows of a batch in validation, evaluation and prediction. With ``null`` it is 4 on a CPU,
    #: and on a GPU as many as a process computes at once in training, at least 32.
    inference_batch_size: Annotated[int, Field(gt=0)] | None = None
    #: Whether a training stores only the activations between the blocks of the network and computes
    #: the others again for the gradient. The result is the same, with less memory and a third
    #: slower.
    recompute_activations: bool = False
    #: Precision of the network's computation; its weights are always float32.
    precision: Precision = "float32"
    #: Whether torch compiles the network. With ``cuda_graphs``, on one GPU, all operations of a
    #: step are also started at once, which helps small networks, whose GPU waits for the next
    #: operation.
    compile: Compilation = False
    #: Whether a training on a GPU gives the same bits each time, on the same GPU with the same
    #: software. It is slower. A training on a CPU always gives the same bits.
    deterministic: bool = False
    #: Steps after which the loss is read from the GPU, which waits for it. The figures of every
    #: step are recorded all the same. With ``null`` it is 20 on a GPU and 1 on a CPU.
    report_every: Annotated[int, Field(gt=0)] | None = None
    #: Implementation of the state-space layers: torch, or the fused kernels of mamba-ssm (GPU
    #: only).
    ssm_backend: Literal["torch", "mamba_ssm"] = "torch"

    @model_validator(mode="after")
    def _graphs_of_cuda(self) -> Hardware:
        if self.compile == "cuda_graphs" and self.device != "cuda":
            raise ValueError("compile: cuda_graphs needs device: cuda; use compile: true")
        return self
