"""Gradients of several algorithms or tasks, made one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metasearch.algorithms.combine import blend, coordinates, inner_products, pcgrad


def gradients(*rows):
    return [{"w": torch.tensor(r[:2]), "b": torch.tensor(r[2:])} for r in rows]


def flat(g):
    return torch.cat([g["w"], g["b"]]).double().numpy()


THREE = gradients([1.0, 2.0, 0.5], [-2.0, 0.3, 1.0], [0.1, -1.0, -1.0])


def by_hand(rows, order_of):
    """Algorithm 1 as it is printed: project out, against the originals, one after another."""
    out = []
    for i, own in enumerate(rows):
        left = own.copy()
        for j in order_of(i):
            dot = left @ rows[j]
            if dot < 0:
                left -= dot / (rows[j] @ rows[j]) * rows[j]
        out.append(left)
    return np.mean(out, 0)


def test_surgery_is_the_printed_algorithm():
    rows = [flat(g) for g in THREE]
    rng, again = np.random.default_rng(7), np.random.default_rng(7)
    orders = {i: again.permutation([j for j in range(3) if j != i]) for i in range(3)}
    np.testing.assert_allclose(flat(pcgrad(THREE, rng)), by_hand(rows, orders.get), rtol=1e-5)


def test_surgery_leaves_gradients_that_agree_as_they_are():
    agreeing = gradients([1.0, 0.0, 0.2], [0.5, 0.5, 0.1])
    mean = np.mean([flat(g) for g in agreeing], 0)
    np.testing.assert_allclose(flat(pcgrad(agreeing, np.random.default_rng(0))), mean, rtol=1e-6)


def test_two_opposed_gradients_cancel():
    opposed = gradients([1.0, 0.0, 0.0], [-2.0, 0.0, 0.0])
    np.testing.assert_allclose(flat(pcgrad(opposed, np.random.default_rng(0))), 0, atol=1e-7)


def test_a_blend_has_one_length_and_one_gradient_stays_itself():
    assert blend(THREE[:1], [1.0]) is THREE[0]
    same = gradients([3.0, 0.0, 4.0], [3.0, 0.0, 4.0], [3.0, 0.0, 4.0])
    np.testing.assert_allclose(flat(blend(same, [0.2, 0.5, 0.3])), [3, 0, 4], rtol=1e-6)
    scaled = gradients([1.0, 0.0, 0.0], [0.0, 100.0, 0.0], [0.0, 0.0, 10.0])
    np.testing.assert_allclose(flat(blend(scaled, [0.2, 0.3, 0.5])), [2, 3, 5], rtol=1e-6)


def test_coordinates_keep_inner_products():
    vectors = coordinates(THREE)
    np.testing.assert_allclose(vectors @ vectors.T, inner_products(THREE).numpy(), atol=1e-9)
    assert inner_products(THREE)[0, 1] == pytest.approx(float(flat(THREE[0]) @ flat(THREE[1])))
