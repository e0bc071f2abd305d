import itertools
import json
from dataclasses import replace

import pytest
import torch

from miaobi import models, networks, training
from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.families import Decoding, Likelihood, Sampling
from miaobi.families._relaxed_decoding import _Rereading, _Stepping, unroll
from miaobi.families._text_gan_estimators import Scores, discounted
from miaobi.families.autoregressive import Autoregressive
from miaobi.families.text_gan import TextGAN
from miaobi.models import Model
from miaobi.recipe import Recipe
from miaobi.sampling.noise import seeds_of
from miaobi.types import Batch, Field, Form, Spec
from tests.support.killing import assert_identical, killed_and_resumed
from tests.support.tensors import freeze_but
from tests.support.worlds import recipe

TARGET = Spec(Form.TOKENS, vocabulary=5, max_length=4)
CONDITIONS = {
    "label": Spec(Form.LABEL, vocabulary=3),
    "title": Spec(Form.TOKENS, vocabulary=5, max_length=3, shared=True),
}
ESTIMATORS = ["policy", "relaxed"]
both = pytest.mark.parametrize("estimator", ESTIMATORS)


def family(estimator="policy", target=TARGET, conditions=CONDITIONS, generator="lstm", **options):
    """Small networks with weights large enough to matter."""
    torch.manual_seed(0)
    config = TextGAN.Config.parse({"estimator": estimator, **options})
    built = {}
    for role, port in TextGAN.ports(config, target, conditions).items():
        kind = networks.find(generator if role == "generator" else "token_critic")
        preset = kind.preset("tiny", port.source, port.target, {}).model_copy(update={"dropout": 0.0})
        built[role] = kind(preset, port.source, port.target, {})
        for parameter in built[role].parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return TextGAN(config, built, {}, target, conditions)


def batch(rows=6, conditions=CONDITIONS):
    generator = torch.Generator().manual_seed(1)
    target = Field(
        torch.randint(5, (rows, 4), generator=generator),
        lengths=torch.tensor([4, 2, 0, 3, 1, 4])[torch.arange(rows) % 6],
    )
    title = Field(torch.randint(5, (rows, 3), generator=generator), lengths=torch.arange(rows) % 4)
    fields = {"label": Field(torch.arange(rows) % 3), "title": title}
    return Batch(target, {name: fields[name] for name in conditions}, ids=torch.arange(rows) + 1)


def step(built, phase, one, seeds):
    freeze_but(built, phase.modules)
    loss = built(one, phase.name, seeds)
    loss.total.backward()
    return loss


def test_it_ships_the_generator_as_a_language_model():
    built, one = family(), batch()
    assert all(isinstance(built, ability) for ability in (Sampling, Likelihood, Decoding))
    shipped = built.shipped()
    assert isinstance(shipped, Autoregressive)
    assert shipped.network is built.generator
    assert {name.split(".")[0] for name in built.state_dict()} == {"generator", "discriminator", "estimator"}
    assert {name.split(".")[0] for name in shipped.state_dict()} == {"network"}
    ours, theirs = (made.sample(one.conditions, seeds=one.ids).values for made in (built, shipped))
    assert torch.equal(ours, theirs)
    nats = [made.log_likelihood(one, seeds=one.ids).nats for made in (built, shipped)]
    assert torch.equal(*nats)


@both
def test_every_phase_trains_its_modules_and_leaves_none_out(estimator):
    built, one = family(estimator), batch()
    for phase in built.phases():
        assert torch.isfinite(step(built, phase, one, seeds_of(3, one.ids)).total)
        moved = {name for name, p in built.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        assert moved == {name for name, _ in built.named_parameters() if name.split(".")[0] in phase.modules}


def test_likelihood_first_then_the_discriminator_then_both():
    built = family(pretrain=3, lead=2, discriminator_steps=4)
    at = [[phase.name for phase in built.phases() if phase.active(step)] for step in range(7)]
    assert at[2:6] == [["likelihood"], ["discriminator"], ["discriminator"], ["discriminator", "generator"]]
    assert next(phase.repeat for phase in built.phases() if phase.name == "discriminator") == 4
    assert [phase.name for phase in family(pretrain=0, lead=0).phases()] == ["discriminator", "generator"]


def test_returns_by_hand():
    rewards = torch.tensor([[1.0, 2.0, 4.0]])
    assert discounted(rewards, 0.5).tolist() == [[3.0, 4.0, 4.0]]
    assert discounted(rewards, 0.0).tolist() == rewards.tolist()
    assert discounted(rewards, 1.0).tolist() == [[7.0, 6.0, 4.0]]


PAIRS = Spec(Form.TOKENS, vocabulary=3, max_length=2)


def enumerated(built):
    """Every item of `PAIRS`, which of each one's tokens are drawn, and its probability by the generator."""
    items = [item for length in range(3) for item in itertools.product(range(3), repeat=length)]
    lengths = torch.tensor([len(item) for item in items])
    values = torch.tensor([[*item, *[0] * (2 - len(item))] for item in items])
    every = Batch(Field(values, lengths=lengths), ids=torch.arange(len(items)))
    tokens, weight = built.players.writer.layout.sequence(every)
    # The end of an item that is as long as may be is not drawn.
    drawn = weight.clone()
    drawn[lengths == 2, 3] = 0
    logits = built.generator(tokens[:, :-1])[..., : built.players.writer.layout.outputs.size].log_softmax(-1)
    chosen = logits.gather(2, tokens[:, 1:, None].clamp(max=3))[..., 0]
    probability = (chosen * drawn[:, 1:]).sum(1).exp()
    assert float(probability.detach().sum()) == pytest.approx(1, abs=1e-5)
    return every, drawn, probability


def test_the_policy_gradient_is_the_gradient_of_the_expected_reward():
    """Two tokens at most over a vocabulary of three: every item's reward and probability is exact."""
    built = family({"name": "policy", "discount": 1.0}, target=PAIRS, conditions={}).eval()
    built.estimator.baseline.fill_(0.4)
    every, drawn, probability = enumerated(built)
    reward = ((2 * built.players.judge(every).logits.sigmoid() - 1) * drawn).sum(1).detach()
    wanted = torch.autograd.grad((probability * reward).sum(), list(built.generator.parameters()))
    many = Batch(Field(torch.zeros(8_000, 2, dtype=torch.int64)), ids=torch.arange(8_000))
    freeze_but(built, ("generator",))
    loss = built(many, "generator", seeds_of(5, many.ids))
    loss.total.backward()
    found = torch.cat([p.grad.flatten() for p in built.generator.parameters()]) / -8_000
    exact = torch.cat([one.flatten() for one in wanted])
    assert (found + exact).norm() > 1.5 * exact.norm()
    assert (found - exact).norm() < 0.2 * exact.norm()
    mean = float((probability.detach() * reward).sum())
    assert float(loss.parts["reward"]) / 8_000 == pytest.approx(mean, abs=0.02)


def test_the_baseline_follows_the_mean_return():
    estimator = family({"name": "policy", "baseline_decay": 0.75}).estimator
    for returns in (4.0, 8.0):
        estimator.after_generator({"returns": torch.tensor(returns), "tokens": torch.tensor(2.0)})
    assert float(estimator.baseline) == pytest.approx(2.5)
    assert {"estimator.baseline", "estimator.turns"} <= set(family().state_dict())


def test_policy_scores_every_token_and_relaxed_whole_items():
    scores = [Scores(torch.tensor([[0.0, 2.0, 9.0]]), torch.tensor([[1.0, 1.0, 0.0]]))]
    scores.append(Scores(torch.tensor([[-1.0, 1.0, 1.0]]), torch.ones(1, 3)))
    real, fake = scores
    softplus = torch.nn.functional.softplus
    by_token = softplus(torch.tensor([0.0, -2.0])).mean() + softplus(torch.tensor([-1.0, 1.0, 1.0])).mean()
    assert float(family("policy").estimator.discriminator(real, fake)) == pytest.approx(float(by_token))
    by_item = softplus(torch.tensor(1 / 3 - 1.0))
    assert float(family("relaxed").estimator.discriminator(real, fake)) == pytest.approx(float(by_item))


def test_the_temperature_falls_geometrically_and_stays():
    settings = {"name": "relaxed", "temperature": 4.0, "final_temperature": 1.0, "annealing": 4}
    estimator, seen = family(settings).estimator, []
    for _ in range(7):
        seen.append(estimator.temperature)
        estimator.after_generator({})
    assert seen == pytest.approx([4, 4 * 0.25**0.25, 2, 4 * 0.25**0.75, 1, 1, 1])


def test_relaxed_items_are_whole_sequences_as_data_is_shown():
    """Each row, read back as tokens, is laid out as the same item would be if it were data."""
    built, one = family("relaxed"), batch(60)
    layout = built.players.writer.layout
    head = layout.head(one.conditions, 60, one.target.values.device)
    made = unroll(built.generator, layout, head, one.ids, 0.7)
    tokens = made.rows.argmax(-1)
    torch.testing.assert_close(made.rows.sum(-1).detach().round(), made.rows.sum(-1).detach(), atol=1e-5, rtol=0)
    starts, lengths = head[1].sum(1), made.drawn.sum(1) - 1
    assert set(lengths.tolist()) == {0, 1, 2, 3, 4}
    longest = int(lengths.max())
    places = (starts[:, None] + torch.arange(longest)).clamp(max=tokens.shape[1] - 1)
    values = tokens.gather(1, places) * (torch.arange(longest) < lengths[:, None])
    wanted, weight = layout.sequence(replace(one, target=Field(values, lengths=lengths)))
    width = wanted.shape[1]
    real = torch.arange(width) < (starts + lengths + 1)[:, None]
    assert torch.equal(tokens[:, :width][real], wanted[real])
    assert torch.equal(made.drawn[:, :width], weight > 0)


def test_relaxed_items_are_drawn_with_the_models_probabilities():
    built = family("relaxed", target=PAIRS, conditions={}).eval()
    seeds = seeds_of(2, range(20_000))
    layout = built.players.writer.layout
    head = layout.head({}, len(seeds), seeds.device)
    with torch.no_grad():
        every, _, probability = enumerated(built)
        wanted, _ = layout.sequence(every)
        for temperature in (0.3, 2.0):
            made = unroll(built.generator, layout, head, seeds, temperature).rows.argmax(-1)
            share = (made[:, None] == wanted).all(2).float().mean(0)
            torch.testing.assert_close(share, probability, atol=0.01, rtol=0)


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_stepping_equals_reading_everything_again_in_values_and_gradients(name):
    built, one = family("relaxed", generator=name), batch()
    layout = built.players.writer.layout
    head = layout.head(one.conditions, 6, one.target.values.device)
    chosen = torch.rand(3, 6, layout.vocabulary, generator=torch.Generator().manual_seed(0)).softmax(-1)
    found = []
    for writing in (_Stepping(built.generator, head, 4), _Rereading(built.generator, layout, head, 4)):
        rows = chosen.clone().requires_grad_(True)
        logits = [writing.logits]
        for row in rows:
            writing.feed(row)
            logits.append(writing.logits)
        built.generator.zero_grad(set_to_none=True)
        torch.stack(logits).square().mean().backward()
        found.append([torch.stack(logits).detach(), rows.grad, *(p.grad for p in built.generator.parameters())])
    for stepped, reread in zip(*found, strict=True):
        torch.testing.assert_close(stepped, reread, rtol=1e-4, atol=1e-4)


def test_any_token_network_can_be_relaxed():
    built, one = family("relaxed", generator="transformer"), batch()
    assert not built.generator.differentiable
    phase = built.phases()[-1]
    step(built, phase, one, seeds_of(0, one.ids))
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in built.generator.parameters())


@both
def test_the_generator_learns_what_its_discriminator_likes(estimator):
    """A discriminator that calls token 2 real, and nothing else: it must come often, whatever its first probability."""
    target = Spec(Form.TOKENS, vocabulary=4, max_length=3, fixed=True)
    built = family(estimator, target=target, conditions={})
    built.discriminator.forward = _LikesTwo()
    freeze_but(built, ("generator",))
    optimiser = torch.optim.Adam(built.generator.parameters(), 0.02)
    one = Batch(Field(torch.full((64, 3), 2)), ids=torch.arange(64))
    before = (built.sample({}, seeds=seeds_of(9, range(200))).values == 2).float().mean()
    for turn in range(40):
        loss = built(one, "generator", seeds_of(turn, one.ids))
        (loss.total / loss.count).backward()
        optimiser.step()
        optimiser.zero_grad()
        built.after_phase("generator", loss.statistics)
    after = (built.sample({}, seeds=seeds_of(9, range(200))).values == 2).float().mean()
    assert before < 0.5
    assert after > 0.8


class _LikesTwo:
    def __call__(self, x, conditions=None):
        rows = torch.nn.functional.one_hot(x, 6).float() if not x.is_floating_point() else x
        return (4 * rows[..., 2] - 2)[:, None]


@both
def test_the_discriminator_tells_data_from_samples(estimator):
    built = family(estimator, conditions={})
    optimiser = torch.optim.Adam(built.discriminator.parameters(), 0.01)
    one = Batch(Field(torch.full((32, 4), 3)), ids=torch.arange(32))
    freeze_but(built, ("discriminator",))
    for turn in range(30):
        loss = built(one, "discriminator", seeds_of(turn, one.ids))
        (loss.total / loss.count).backward()
        optimiser.step()
        optimiser.zero_grad()
    assert loss.parts["real_score"] > loss.parts["fake_score"] + 32


@both
def test_conditions_reach_both_players(estimator):
    built, one = family(estimator, condition_drop=0.0), batch()
    other = replace(one, conditions={**one.conditions, "label": Field((one.conditions["label"].values + 1) % 3)})
    scores = [built.players.judge(each).logits for each in (one, other)]
    assert not torch.allclose(*scores)
    for phase in built.phases():
        losses = [built(each, phase.name, seeds_of(1, one.ids)).total for each in (one, other)]
        assert not torch.equal(*losses)


@both
def test_drawing_is_as_precise_as_ever_under_autocast(estimator):
    built, one = family(estimator), batch()
    seen = []
    built.discriminator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            for phase in built.phases()[1:]:
                assert torch.isfinite(step(built, phase, one, seeds_of(1, one.ids)).total)
    half = len(seen) // 2
    assert all(torch.equal(plain, cast) for plain, cast in zip(seen[:half], seen[half:], strict=True))


def test_an_item_without_an_end_of_its_own():
    target = Spec(Form.TOKENS, vocabulary=5, max_length=4, fixed=True)
    one = Batch(Field(torch.zeros(6, 4, dtype=torch.int64)), ids=torch.arange(6))
    for estimator in ESTIMATORS:
        built = family(estimator, target=target, conditions={})
        losses = [step(built, phase, one, seeds_of(0, one.ids)) for phase in built.phases()]
        assert losses[-1].count == (24 if estimator == "policy" else 6)


def test_it_starts_from_a_language_model(tmp_path):
    def section(name, network, seed=0, **more):
        model = {"family": name, "size": "tiny", "network": network, **more}
        return Recipe.load({"modality": "text", "data": {"source": "unused"}, "model": model, "seed": seed})

    from miaobi import modalities

    modality = modalities.create("text")
    modality.fit(["some text", "to learn letters from"])
    spec = modality.spec
    first = models.build(section("autoregressive", {"name": "lstm"}, seed=1), spec, {})
    models.save(Model(first, modality), tmp_path)
    fresh = models.build(section("text_gan", {"generator": "lstm"}), spec, {})
    started = models.build(section("text_gan", {"generator": "lstm"}, start=f"run:{tmp_path}"), spec, {})
    theirs = first.network.state_dict()
    assert all(torch.equal(theirs[name], tensor) for name, tensor in started.generator.state_dict().items())
    assert not torch.equal(fresh.generator.embedding.weight, started.generator.embedding.weight)
    assert {"discriminator.head.linear.weight", "estimator.baseline"} <= set(started.state_dict())
    with pytest.raises(Unsupported, match="another shape"):
        models.build(section("text_gan", {"generator": "gru"}, start=f"run:{tmp_path}"), spec, {})


def test_killed_in_the_adversarial_part_and_resumed_is_the_same_run(tmp_path):
    sections = recipe(
        "text_gan", Form.TOKENS, tmp_path / "data", steps=8, evaluate_every=4, checkpoint_every=3, ema=0.9
    )
    sections["modality"]["max_length"] = 16
    sections["model"]["options"] = {"estimator": "policy", "pretrain": 1, "lead": 1}
    training.train(sections, run=tmp_path / "whole", progress=False)
    killed_and_resumed(sections, tmp_path / "killed", 5)
    assert_identical(tmp_path / "whole", tmp_path / "killed")
    logged = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert any("diversity" in line for line in map(str, logged)), "the guard against collapse watches it"
    assert type(models.load(tmp_path / "whole").family) is Autoregressive


def test_what_it_cannot_do_is_refused():
    with pytest.raises(Unsupported, match="stream"):
        TextGAN.ports(TextGAN.Config(), replace(TARGET, stream=True), {})
    with pytest.raises(InvalidRecipe, match="policy"):
        TextGAN.Config.parse({"estimator": "straight_up"})
    with pytest.raises(InvalidRecipe, match="discount"):
        TextGAN.Config.parse({"estimator": {"name": "policy", "discount": 2}})
    with pytest.raises(InvalidRecipe):
        TextGAN.Config.parse({"estimator": {"name": "relaxed", "discount": 0.5}})
    config = TextGAN.Config.parse({"estimator": "relaxed"})
    assert TextGAN.Config.parse(config.to_json()) == config
