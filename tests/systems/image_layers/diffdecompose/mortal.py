"""A module that dies in the middle of its training, to be begun again."""

from __future__ import annotations

from typing import Any

import lightning

from systems.parts.run import Strict


class Seeded(Strict):
    seed: int = 0


class KilledError(Exception):
    """Stands for the end of a process."""


class Mortal(lightning.LightningModule):
    """Put before a module's class: remembers its first step, and dies at another."""

    dies, began = -1, -1

    def training_step(self, batch: dict[str, Any], number: int) -> Any:
        self.began = self.global_step if self.began < 0 else self.began
        if self.global_step == self.dies:
            raise KilledError
        return super().training_step(batch, number)
