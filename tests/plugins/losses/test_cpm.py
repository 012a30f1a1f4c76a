"""CPM against its definition, center by center, in both forms, and for centers on a line."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vireid.core.types import Context, HeadOutput
from vireid.errors import Mismatch
from vireid.plugins.losses.cpm import CPM

# visible, then infrared; identity 2 has no infrared images, and the images are in no order
PERSONS = torch.tensor([0, 1, 0, 2, 1, 3, 3, 1, 0, 0, 3, 1])
COUNTS = {'visible': 7, 'infrared': 5}
FORMS = ['released', 'paper']


def literal(copies: torch.Tensor, persons: torch.Tensor, counts: dict[str, int], margin: float, form: str):
    """The definition with plain loops, for (B, copies, C)."""
    modalities = [m for m, count in counts.items() for _ in range(count)]
    centers: dict = {}
    for copy in range(copies.shape[1]):
        for m in ('visible', 'infrared'):
            for p in persons.unique().tolist():
                rows = [copies[b, copy] for b in range(len(copies)) if persons[b] == p and modalities[b] == m]
                if rows:
                    centers[copy, m, p] = sum(rows) / len(rows)
    both = [p for p in persons.unique().tolist() if all((0, m, p) in centers for m in ('visible', 'infrared'))]
    total = torch.zeros((), dtype=copies.dtype)
    for m, o in (('visible', 'infrared'), ('infrared', 'visible')):
        for p in both:
            for copy in range(1, copies.shape[1]):
                across = margin + (centers[0, o, p] - centers[copy, m, p]).norm()
                within = (centers[0, m, p] - centers[copy, m, p]).norm()
                own, generated = (
                    min(
                        (centers[c, m, p] - center).norm()
                        for (n, of, k), center in centers.items()
                        if (n, of) == (c, m) and k != p
                    )
                    for c in (0, copy)
                )
                if form == 'paper':
                    total = total + (across - within - own).clamp_min(0)
                else:
                    halves = (across - generated).clamp_min(0) + (across - own).clamp_min(0)
                    total = total + (across - within.detach()).clamp_min(0) + halves / 2
    return total / 2 / len(both)


def loss_of(copies: torch.Tensor, persons: torch.Tensor, counts: dict[str, int], **arguments) -> torch.Tensor:
    k = copies.shape[1]
    context = Context(counts, persons).copied(k)
    return CPM(**arguments)(HeadOutput(copies.flatten(0, 1)), context.identities, context)


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('counts', [COUNTS, {'visible': 6, 'infrared': 4, 'x': 2}], ids=['two', 'and an auxiliary'])
def test_equals_the_literal_loop_with_gradients(form, counts):
    torch.manual_seed(0)
    copies = torch.randn(12, 3, 6, dtype=torch.float64, requires_grad=True)
    found = loss_of(copies, PERSONS, counts, margin=3.0, form=form)
    wanted = literal(copies, PERSONS, counts, 3.0, form)
    assert found.item() == pytest.approx(wanted.item(), abs=1e-10)
    one, other = (torch.autograd.grad(value, copies)[0] for value in (found, wanted))
    assert torch.allclose(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ('form', 'wanted'),
    [
        # visible originals at 0 and 4, generated at 1 and 6; infrared at 1 and 5, generated at 3 and 5
        # visible: A 0 and 1, own 1 and 2, nearest generated 5, original 4; infrared: A 3 and 1, own 2 and 0,
        # nearest 2 and 4
        ('released', ((0 + 0 + 0) + (0 + 0 + 0) + (1.2 + 1.2 / 2 + 0) + (1.2 + 0 + 0)) / 4),
        ('paper', 0.0),
    ],
)
def test_by_hand(form, wanted):
    copies = torch.tensor([[0.0, 1.0], [4.0, 6.0], [1.0, 3.0], [5.0, 5.0]])[..., None]
    loss = loss_of(copies, torch.tensor([0, 1, 0, 1]), {'visible': 2, 'infrared': 2}, form=form)
    assert loss.item() == pytest.approx(wanted, abs=1e-6)


@settings(max_examples=10)
@given(seed=st.integers(0, 99))
def test_the_order_of_the_images_within_a_modality_does_not_matter(seed):
    generator = torch.Generator().manual_seed(seed)
    copies = torch.randn(12, 3, 6, dtype=torch.float64, generator=generator)
    order = torch.cat([torch.randperm(7, generator=generator), 7 + torch.randperm(5, generator=generator)])
    shuffled = loss_of(copies[order], PERSONS[order], COUNTS)
    assert shuffled.item() == pytest.approx(loss_of(copies, PERSONS, COUNTS).item(), abs=1e-12)


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize(
    ('persons', 'counts'),
    [([0, 0, 1, 1], {'visible': 2, 'infrared': 2}), ([0, 0, 1, 1], {'infrared': 4})],
    ids=['no identity in both', 'one modality'],
)
def test_without_pairs_it_is_zero_with_a_zero_gradient(form, persons, counts):
    copies = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = loss_of(copies, torch.tensor(persons), counts, form=form)
    loss.backward()
    assert loss.item() == 0
    assert copies.grad is not None
    assert copies.grad.abs().max() == 0


def test_one_identity_has_no_other_and_keeps_the_term_without_a_minimum():
    copies = torch.tensor([[0.0, 1.0], [3.0, 3.0]])[..., None].requires_grad_()
    found = [loss_of(copies, torch.tensor([5, 5]), {'visible': 1, 'infrared': 1}, form=form) for form in FORMS]
    # visible: A = 2, own 1; infrared: A = 3, own 0
    assert [f.item() for f in found] == pytest.approx([((0.2 + 2 - 1) + (0.2 + 3 - 0)) / 2, 0])
    found[0].backward()
    assert copies.grad is not None
    assert copies.grad.isfinite().all()


def test_equal_vectors_have_a_finite_gradient_and_autocast_changes_nothing():
    copies = torch.ones(4, 2, 3, requires_grad=True)
    labels, counts = torch.tensor([0, 1, 0, 1]), {'visible': 2, 'infrared': 2}
    loss_of(copies, labels, counts).backward()
    assert copies.grad is not None
    assert copies.grad.isfinite().all()
    near = 1 + 0.01 * torch.randn(12, 3, 64, generator=torch.Generator().manual_seed(0))
    full = loss_of(near, PERSONS, COUNTS)
    with torch.autocast('cpu', torch.bfloat16):
        assert loss_of(near, PERSONS, COUNTS).item() == full.item()


def test_a_single_copy_or_parts_are_refused():
    with pytest.raises(Mismatch, match=r'CPM .*copies.* 1 '):
        loss_of(torch.ones(4, 1, 3), torch.tensor([0, 1, 0, 1]), {'visible': 2, 'infrared': 2})
    labels = torch.tensor([0, 0])
    with pytest.raises(Mismatch, match=r'CPM .*parts'):
        CPM()(HeadOutput(torch.ones(2, 3, 4)), labels, Context({'visible': 2}, labels, copies=2))


def test_learns_to_find_across_the_modalities():
    """Infrared vectors find the generated visible ones; both show the identity through different random matrices."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(6, 8, generator=generator)
    shown = {m: torch.randn(8, 16, generator=generator) for m in ('visible', 'infrared')}

    def draw(shots: int) -> tuple[list[torch.Tensor], torch.Tensor]:
        persons = torch.arange(6).repeat_interleave(shots)
        images = [centers[persons] @ mix for mix in shown.values()]
        return [image + 0.5 * torch.randn(image.shape, generator=generator) for image in images], persons

    branch = torch.randn(8, 8, generator=generator).div(3).requires_grad_()

    def rank_1(maps: list[torch.Tensor]) -> float:
        (visible, infrared), persons = draw(20)
        nearest = torch.cdist(infrared @ maps[1], visible @ maps[0] @ branch.detach()).argmin(dim=1)
        return (persons[nearest] == persons).double().mean().item()

    maps = [(0.2 * torch.randn(16, 8, generator=generator)).requires_grad_() for _ in shown]
    untrained = rank_1([m.detach() for m in maps])
    optimizer = torch.optim.Adam([*maps, branch], lr=0.02)
    for _ in range(100):
        images, persons = draw(4)
        feature = torch.cat([image @ own for image, own in zip(images, maps, strict=True)])
        copies = torch.stack([feature, feature @ branch], dim=1)
        loss = loss_of(copies, persons.repeat(2), {'visible': 24, 'infrared': 24})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert untrained < 0.4  # by chance 1/6
    assert rank_1([m.detach() for m in maps]) > 0.8
