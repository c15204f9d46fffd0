"""What one network is trained on, as plain arrays."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class Task:
    """The data of one network: what it sees, what it should answer, and the matrices it does not learn.

    Synthetic data are float64, images float32. Layers are numbered 0..L-1; the matrix of layer l has the shape
    (widths[l+1], widths[l]).

    Attributes:
        inputs: Training inputs, (samples, inputs).
        targets: Training targets: (samples, outputs) as numbers, or (samples,) int64 class numbers.
        test_inputs: Test inputs, (test samples, inputs).
        test_targets: Test targets, in the form of `targets`.
        frozen: The weights of the layers that are not trained, by layer.
        teacher: The teacher's weights of the layers that are trained, by layer; empty where there is no teacher.
        validation_inputs: Inputs held out from training, (validation samples, inputs); None where there are none.
        validation_targets: Their targets, in the form of `targets`.
        shuffled: Which training samples have a label from the shuffled ones, (samples,); None where none has.
        clean_targets: The targets before some labels were shuffled, in the form of `targets`; None where none was.
    """

    inputs: np.ndarray
    targets: np.ndarray
    test_inputs: np.ndarray
    test_targets: np.ndarray
    frozen: dict[int, np.ndarray] = field(default_factory=dict)
    teacher: dict[int, np.ndarray] = field(default_factory=dict)
    validation_inputs: np.ndarray | None = None
    validation_targets: np.ndarray | None = None
    shuffled: np.ndarray | None = None
    clean_targets: np.ndarray | None = None

    def __post_init__(self) -> None:
        for inputs, targets, what in (
            (self.inputs, self.targets, "training"),
            (self.test_inputs, self.test_targets, "test"),
        ):
            if inputs.ndim != 2 or targets.ndim not in (1, 2) or len(inputs) != len(targets):
                raise ValueError(f"{what} inputs {inputs.shape} and targets {targets.shape} do not fit together")

    @property
    def epoch(self) -> int:
        """The number of training samples: one epoch shows each once."""
        return len(self.inputs)
