"""The mistakes with language models, as `plant` plants them."""

from __future__ import annotations

from tests.classics.plant import Mistake

_TESTS = "test_mistakes_tokens.py::"
_FAMILY, _CELLS, _ENGINE, _SHAPING = (
    "families/autoregressive.py",
    "networks/_recurrent.py",
    "sampling/decoding.py",
    "sampling/token_controls.py",
)

MISTAKES = [
    Mistake(
        "targets off by one",
        _FAMILY,
        "self.network(tokens[:, :-1], logits=logits), tokens[:, 1:], weight[:, 1:]",
        "self.network(tokens[:, 1:], logits=logits), tokens[:, 1:], weight[:, 1:]",
        _TESTS + "test_targets_are_the_next_tokens",
    ),
    Mistake(
        "loss on the last step only",
        _FAMILY,
        "        counted = weight > 0\n        total, nats = head_loss(",
        "        weight = weight * (weight.flip(1).cumsum(1).flip(1) == 1)\n"
        "        counted = weight > 0\n        total, nats = head_loss(",
        _TESTS + "test_the_loss_counts_every_step_and_no_padding",
    ),
    Mistake(
        "padding counted in the loss",
        "families/_layout.py",
        "return tokens * real, weight * real",
        "return tokens * real, torch.ones_like(weight)",
        _TESTS + "test_the_loss_counts_every_step_and_no_padding",
    ),
    Mistake(
        "hidden state dropped between steps",
        _CELLS,
        "old = tuple(part[layer] for part in cache.state)",
        "old = tuple(torch.zeros_like(part[layer]) for part in cache.state)",
        _TESTS + "test_hidden_state_lives_through_an_item_and_ends_with_it",
    ),
    Mistake(
        "hidden state carried from one batch into the next",
        _CELLS,
        "            return self.dropout(self.layers(x)[0])  # type: ignore[no-any-return]",
        "            out, self.carried = self.layers(x, getattr(self, 'carried', None))\n"
        "            return self.dropout(out)",
        _TESTS + "test_hidden_state_lives_through_an_item_and_ends_with_it",
    ),
    Mistake(
        "samples never fed back",
        _ENGINE,
        "self._logits = self._stepped(self._batch.spread(tokens))",
        "self._logits = self._stepped(torch.zeros_like(self._batch.spread(tokens)))",
        _TESTS + "test_samples_are_fed_back",
    ),
    Mistake(
        "dropout on while generating",
        _FAMILY,
        "    training = network.training\n    network.eval()",
        "    training = network.training",
        _TESTS + "test_no_dropout_while_generating",
    ),
    Mistake(
        "top-p without sampling",
        _SHAPING,
        "drawn = shaping.draw(self._shaped(logits), uniform)",
        "drawn = self._shaped(logits).argmax(-1)",
        _TESTS + "test_top_p_samples_within_the_nucleus",
    ),
]
