"""The rank of this process among those that train one network together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Ranks:
    """The ranks of this process.

    Attributes
    ----------
    rank : int
        Its number among all processes.
    world_size : int
        Number of processes.
    local_rank : int
        Its number on its machine, which is also that of the GPU that it uses.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """The ranks in the variables that ``torchrun`` sets; without them, a single process."""
        return cls(
            int(environment.get("RANK", "0")),
            int(environment.get("WORLD_SIZE", "1")),
            int(environment.get("LOCAL_RANK", "0")),
        )

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and logs."""
        return self.rank == 0
