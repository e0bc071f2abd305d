import pytest
import torch

from miaobi.errors import RequestError
from miaobi.networks.transformer import Transformer
from miaobi.sampling.decoding import Engine, Output, Request, decode
from miaobi.sampling.noise import uniform
from miaobi.sampling.token_controls import TokenControls
from miaobi.types import Form, Spec

END = 9


def network(span=24):
    torch.manual_seed(0)
    port = Spec(Form.TOKENS, vocabulary=12, max_length=span)
    built = Transformer(Transformer.Config(width=32, depth=2, heads=2), port, port, {}).eval()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.3)
    return built


def request(seed, limit=12, tokens=(10, 3), **controls):
    return Request(tokens, 1, seed, limit, TokenControls(**controls), free=(11, *tokens[1:]))


def engine(net=None, **options):
    return Engine(net or network(), Output(10, end=END), **options)


def drawn_by_hand(net, wanted):
    """The same item with a whole forward pass a token."""
    tokens, drawn = list(wanted.tokens), []
    numbers = uniform(torch.tensor([wanted.seed]), "token", (wanted.limit,))[0].double()
    for number in numbers:
        with torch.no_grad():
            logits = net(torch.tensor([tokens]))[0, -1, :10]
        reached = logits.softmax(-1).cumsum(-1, dtype=torch.float64)
        drawn.append(int(torch.searchsorted(reached, number * reached[-1])))
        tokens.append(drawn[-1])
        if drawn[-1] == END:
            break
    return drawn


def test_decoding_equals_a_whole_pass_a_token():
    net = network()
    for seed in range(4):
        assert decode(engine(net), [request(seed)])[0][0] == drawn_by_hand(net, request(seed))


def test_requests_that_join_and_leave_do_not_change_each_other():
    net = network()
    wanted = [request(seed, limit=4 + 2 * seed, tokens=(10, *range(seed))) for seed in range(5)]
    alone = [decode(engine(net), [one])[0][0] for one in wanted]
    shared, tokens = engine(net), {}
    waiting, names = list(enumerate(wanted)), {}
    while waiting or len(shared):
        if waiting:
            index, one = waiting.pop(0)
            names[shared.add([one])[0]] = index
        for number, token, _, _ in shared.step():
            tokens.setdefault(names[number], []).append(token)
    assert [tokens[index] for index in range(5)] == alone


def test_removed_requests_stop_and_the_others_go_on():
    net, wanted = network(), [request(seed, limit=8, temperature=0.1) for seed in range(4)]
    alone = decode(engine(net), [wanted[1]])[0][0]
    shared, tokens = engine(net), []
    first, second, *_ = shared.add(wanted)
    shared.step()
    shared.remove(first)
    shared.remove(first + 100)
    fresh = engine(net)
    (kept,) = fresh.add([wanted[1]])
    while len(fresh):
        tokens += [token for number, token, _, _ in fresh.step() if number == kept]
    assert tokens == alone
    assert first not in {token.id for token in shared.step()}
    assert second in {0, 1, 2, 3}


def test_log_probabilities_are_the_networks_before_controls():
    net = network()
    (tokens, log_prob), *_ = decode(engine(net), [request(3, temperature=0.5, top_k=3, repetition_penalty=1.3)])
    with torch.no_grad():
        logits = net(torch.tensor([[10, 3, *tokens]]))[0, 1:-1, :10]
    expected = logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None]).sum()
    assert log_prob == pytest.approx(float(expected), abs=1e-3)


def test_guidance_follows_the_condition_more_and_zero_ignores_it():
    net = network()
    free = Request((11, 3), 1, 5, 12, TokenControls())
    assert decode(engine(net), [request(5, guidance=0.0)])[0][0] == decode(engine(net), [free])[0][0]
    mixed = [request(5, guidance=3.0), request(5), request(6, guidance=0.0)]
    together = [tokens for tokens, _ in decode(engine(net), mixed)]
    assert together == [decode(engine(net), [one])[0][0] for one in mixed]
    assert together[0] != together[1]


def test_an_item_longer_than_the_network_slides():
    net = network(span=8)
    wanted = [Request((10, 3), 1, seed, 40, TokenControls()) for seed in range(3)]
    output = Output(10, end=None)
    together = [tokens for tokens, _ in decode(Engine(net, output), wanted)]
    alone = [decode(Engine(net, output), [one])[0][0] for one in wanted]
    assert together == alone
    assert [len(tokens) for tokens in together] == [40] * 3


def test_a_prompt_longer_than_the_network_keeps_its_head_and_its_end():
    net = network(span=8)
    long = Request((10, *([1] * 20), 2, 3, 4), 1, 0, 2, TokenControls(temperature=0))
    short = Request((10, 2, 3, 4), 1, 0, 1, TokenControls(temperature=0))
    assert decode(engine(net), [long])[0][0][0] == decode(engine(net), [short])[0][0][0]


def test_only_allowed_tokens_are_drawn():
    net, output = network(), Output(5, end=None, banned=2)
    tokens = [t for row, _ in decode(Engine(net, output), [request(s, limit=10) for s in range(20)]) for t in row]
    assert set(tokens) == {0, 1, 3, 4}


def test_bfloat16_differs_by_near_ties_only():
    net = network()
    wanted = [request(seed, limit=16, temperature=0) for seed in range(6)]
    exact, fast = decode(engine(net), wanted), decode(engine(net, dtype=torch.bfloat16), wanted)
    for one, (left, _), (right, _) in zip(wanted, exact, fast, strict=True):
        for place, (mine, its) in enumerate(zip(left, right, strict=False)):
            if mine != its:
                with torch.no_grad():
                    logits = net(torch.tensor([[*one.tokens, *left[:place]]]))[0, -1]
                assert float((logits[mine] - logits[its]).abs()) < 0.15
                break


def test_a_full_engine_and_an_empty_request_are_refused():
    small = engine(slots=1)
    small.add([request(0)])
    with pytest.raises(RequestError, match="full"):
        small.add([request(1)])
    with pytest.raises(RequestError, match="start from"):
        engine().add([Request((), 0, 0, 5)])
    assert engine().step() == []


def test_requests_wait_for_a_place_and_take_those_of_finished_ones(monkeypatch):
    net = network(span=40)
    wanted = [request(seed, limit=1 + seed * 5 % 17, tokens=(10, *range(seed % 4))) for seed in range(13)]
    alone = [decode(engine(net), [one])[0][0] for one in wanted]
    shared, most = engine(net, slots=3), 0
    step = shared.step

    def counted():
        nonlocal most
        most = max(most, len(shared))
        return step()

    monkeypatch.setattr(shared, "step", counted)
    assert [tokens for tokens, _ in decode(shared, wanted)] == alone
    assert most == 3


def test_a_place_is_written_over_without_copying_the_others(monkeypatch):
    net = network()
    shared = engine(net, slots=2)
    shared.add([request(0, limit=2), request(1, limit=20)])
    while len(shared) == 2:
        shared.step()
    keys = shared._cache.keys[0].data_ptr()
    shared.add([request(2, limit=4)])
    assert shared._cache.keys[0].data_ptr() == keys


def test_a_request_after_guided_ones_that_slid_has_its_room():
    net = network(span=12)
    shared = engine(net, slots=1)
    wanted = [request(0, limit=25, guidance=2.0), request(1, limit=9)]
    assert [tokens for tokens, _ in decode(shared, wanted)] == [decode(engine(net), [one])[0][0] for one in wanted]
