import pytest
import torch

from gpt2.train.muon import Muon, NorMuon, orthogonalize

SHAPES = [(6, 18), (24, 6), (6, 18), (6, 6)]


def matrices(seed: int, shapes: list[tuple[int, int]] = SHAPES) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def three_steps(
    optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter], scale: float = 1.0
) -> None:
    shapes = [(len(parameter), parameter.size(1)) for parameter in parameters]
    for step in range(3):
        for parameter, gradient in zip(parameters, matrices(10 + step, shapes), strict=True):
            parameter.grad = gradient.detach() * scale
        optimizer.step()


def test_one_singular_value_becomes_what_the_polynomial_makes_of_1() -> None:
    x = 1.0
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
    found = orthogonalize(torch.tensor([[[0.0, -7.0, 0.0]]]))
    torch.testing.assert_close(found, torch.tensor([[[0.0, -x, 0.0]]]))


@pytest.mark.parametrize("shape", [(6, 18), (24, 6), (6, 6)])
def test_singular_vectors_stay_and_singular_values_become_about_1(shape: tuple[int, int]) -> None:
    [matrix] = matrices(0, [shape])
    u, _, v = torch.linalg.svd(matrix.detach(), full_matrices=False)
    [found] = orthogonalize(matrix.detach()[None])
    values = u.T @ found @ v.T
    diagonal = values.diagonal()
    torch.testing.assert_close(values, torch.diag(diagonal), rtol=0, atol=1e-4)
    assert 0.6 < diagonal.min() < diagonal.max() < 1.25


def test_a_matrix_is_orthogonalized_alone_as_together_with_others() -> None:
    together = torch.stack([matrix.detach() for matrix in matrices(0, [(6, 18)] * 3)])
    found = orthogonalize(together)
    for number in range(3):
        torch.testing.assert_close(found[number], orthogonalize(together[[number]])[0])


def test_a_matrix_of_zeros_stays_one() -> None:
    assert not orthogonalize(torch.zeros(1, 3, 4)).any()


@pytest.mark.parametrize("scale", [1.0, 1e-7])  # gradients below what float16 can hold
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    # torch's iterations are in bfloat16, of 8 bits: each of the 5 rounds to 1/256 of a value, and
    # the polynomial's slope of up to 3.4 enlarges what the ones before have lost.
    [(torch.bfloat16, 0.02), (torch.float16, 0.06), (torch.float32, 0.06)],
)
def test_three_steps_are_those_of_torch(dtype: torch.dtype, tolerance: float, scale: float) -> None:
    settings = {"lr": 0.1, "weight_decay": 0.5}
    before, ours, theirs = matrices(1), matrices(1), matrices(1)
    three_steps(Muon(ours, dtype=dtype, **settings), ours, scale)
    torch_muon = torch.optim.Muon(theirs, **settings, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    three_steps(torch_muon, theirs, scale)
    for start, one, other in zip(before, ours, theirs, strict=True):
        assert (one - other).norm() < tolerance * (other - start).norm()


def test_many_matrices_are_updated_in_portions_as_all_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shapes = [(4, 6)] * 5
    at_once, in_portions = matrices(1, shapes), matrices(1, shapes)
    three_steps(Muon(at_once, lr=0.1, weight_decay=0.5), at_once)
    monkeypatch.setattr("gpt2.train.muon.MOST_ELEMENTS", 2 * 24)
    three_steps(Muon(in_portions, lr=0.1, weight_decay=0.5), in_portions)
    for one, other in zip(at_once, in_portions, strict=True):
        torch.testing.assert_close(one, other)


def test_a_matrix_without_a_gradient_stays_as_it_is() -> None:
    used, unused = parameters = matrices(0, [(3, 4), (3, 4)])
    before = unused.detach().clone()
    used.grad = torch.ones(3, 4)
    Muon(parameters, lr=0.1, weight_decay=0.5).step()
    assert torch.equal(unused, before)
    assert not torch.equal(used, before)


def test_the_first_step_of_normuon_has_rows_of_one_size_and_the_size_of_muons() -> None:
    before, balanced, plain = (matrices(0, [(4, 9)])[0] for _ in range(3))
    gradient = matrices(7, [(4, 9)])[0].detach()
    for kind, matrix in ((NorMuon, balanced), (Muon, plain)):
        matrix.grad = gradient.clone()
        kind([matrix], lr=0.1, weight_decay=0.0).step()
    update, muons = before - balanced, before - plain
    rows = update.norm(dim=1)
    torch.testing.assert_close(rows, rows[:1].expand(4))
    torch.testing.assert_close(update.norm(), muons.norm())
    torch.testing.assert_close(  # each row keeps its direction
        update / rows[:, None], muons / muons.norm(dim=1, keepdim=True)
    )


def test_the_second_step_of_normuon_divides_by_the_average_of_both() -> None:
    [matrix] = matrices(0, [(2, 3)])
    optimizer = NorMuon([matrix], lr=0.1, weight_decay=0.0)
    orthogonal, momentum, update = [], torch.zeros(2, 3), torch.zeros(2, 3)
    for seed in (1, 2):
        before, gradient = matrix.detach().clone(), matrices(seed, [(2, 3)])[0].detach()
        momentum = momentum.lerp(gradient, 0.05)
        orthogonal.append(orthogonalize(gradient.lerp(momentum, 0.95)[None])[0])
        matrix.grad = gradient
        optimizer.step()
        update = before - matrix.detach()
    first, second = (o.square().mean(1, keepdim=True) for o in orthogonal)
    wanted = orthogonal[1] / (0.05 * 0.95 * first + 0.05 * second).sqrt()
    wanted *= 0.1 * 0.2 * 3**0.5 * orthogonal[1].norm() / wanted.norm()
    torch.testing.assert_close(update, wanted, rtol=1e-4, atol=1e-6)
