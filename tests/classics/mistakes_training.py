"""The mistakes in the loop and with data, as `plant` plants them."""

from __future__ import annotations

from tests.classics.plant import Mistake

_TESTS = "test_mistakes_training.py::"

MISTAKES = [
    Mistake(
        "gradients left over for the next turn",
        "training/optimisers.py",
        "            optimiser.step()\n        self.drop_gradients()",
        "            optimiser.step()",
        _TESTS + "test_a_step_uses_this_batchs_gradient_once",
    ),
    Mistake(
        "stepping after zeroing",
        "training/optimisers.py",
        "        for optimiser in self._optimisers:\n            optimiser.step()\n        self.drop_gradients()",
        "        self.drop_gradients()\n        for optimiser in self._optimisers:\n            optimiser.step()",
        _TESTS + "test_a_step_uses_this_batchs_gradient_once",
    ),
    Mistake(
        "every module trained in every phase",
        "training/step.py",
        "parameter.requires_grad_(key in inside)",
        "parameter.requires_grad_(True)",
        _TESTS + "test_a_phase_takes_no_gradient_of_another",
    ),
    Mistake(
        "training data called test data",
        "data/prepare.py",
        "{part: _open_part(folder, part, manifest",
        "{part: _open_part(folder, 'train', manifest",
        _TESTS + "test_training_data_is_never_called_test_data",
    ),
    Mistake(
        "evaluated on training data",
        "evaluation/scoring.py",
        'part="validation",',
        'part="test",',
        _TESTS + "test_evaluation_reads_the_held_out_part",
    ),
]
