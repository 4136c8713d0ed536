"""The array level on every namespace: values, axes, broadcasting, gradients, and what is refused."""

import importlib.util
import math
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest

import tiltz
from tests.oracles import exact, precisely
from tiltz.errors import InputError

LIBRARIES = ["numpy", "torch", "array_api_strict"]


@pytest.fixture(params=LIBRARIES)
def xp(request):
    """An array library and how to bring its arrays back to NumPy."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    module = importlib.import_module(request.param)
    make = module.tensor if request.param == "torch" else module.asarray
    return SimpleNamespace(
        name=request.param, module=module, array=make, float32=module.float32, float64=module.float64
    )


def back(array):
    return array.detach().numpy() if type(array).__module__ == "torch" else np.asarray(array)


def random_table(shape, seed=0):
    rng = np.random.default_rng(seed)
    return np.log(rng.dirichlet(np.ones(math.prod(shape))).reshape(shape)), rng.normal(size=shape)


def by_hand(log_ref, reward, beta, axis):
    log_ref, reward = np.broadcast_arrays(log_ref, reward)
    beta = np.broadcast_to(beta, np.delete(log_ref.shape, axis))
    return np.log(np.sum(np.exp(log_ref + reward / np.expand_dims(beta, axis)), axis=axis))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_every_axis(xp, dtype, axis):
    log_ref, reward = random_table((2, 3, 4))
    arrays = [xp.array(a.tolist(), dtype=getattr(xp, dtype)) for a in (log_ref, reward)]
    log_z = tiltz.log_partition(*arrays, 0.5, axis=axis)
    log_prob = tiltz.tilted_log_prob(*arrays, 0.5, axis=axis)
    assert log_z.dtype == log_prob.dtype == getattr(xp, dtype)
    assert tuple(log_prob.shape) == (2, 3, 4)
    tolerance = 1e-13 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(back(log_z), by_hand(log_ref, reward, 0.5, axis), atol=tolerance)
    np.testing.assert_allclose(np.exp(back(log_prob)).sum(axis=axis), 1.0, atol=tolerance)
    np.testing.assert_allclose(
        back(log_prob),
        log_ref + reward / 0.5 - np.expand_dims(by_hand(log_ref, reward, 0.5, axis), axis),
        atol=tolerance,
    )


@pytest.mark.parametrize(
    ("beta", "shape"),
    [([0.1, 1.0, 10.0], (3,)), ([[0.1], [2.0]], (2, 3)), ([[[1.0]]], (1, 1, 3)), (0.3, (3,)), ([2.0], (3,))],
)
def test_an_array_beta_broadcasts_against_the_reduced_shape(xp, beta, shape):
    log_ref, reward = random_table((3, 4))
    betas = beta if isinstance(beta, float) else xp.array(beta, dtype=xp.float64)
    arrays = [xp.array(a.tolist(), dtype=xp.float64) for a in (log_ref, reward)]
    log_z, log_prob = tiltz.log_partition(*arrays, betas), tiltz.tilted_log_prob(*arrays, betas)
    assert tuple(log_z.shape) == shape
    assert tuple(log_prob.shape) == (*shape, 4)
    wanted = np.log(np.sum(np.exp(log_ref + reward / np.array(beta)[..., None]), axis=-1))
    np.testing.assert_allclose(back(log_z), wanted, atol=1e-13)


def test_a_curve_over_beta_for_one_distribution(xp):
    log_ref, reward = (xp.array(a.tolist(), dtype=xp.float64) for a in random_table((5,)))
    betas = xp.array([0.1, 1.0, 10.0], dtype=xp.float64)
    log_z = tiltz.log_partition(log_ref, reward, betas)
    assert tuple(log_z.shape) == (3,)
    for i, beta in enumerate((0.1, 1.0, 10.0)):
        assert float(log_z[i]) == float(tiltz.log_partition(log_ref, reward, beta))


def test_log_ref_and_reward_broadcast(xp):
    log_ref, reward = random_table((4,)), random_table((3, 1, 4), seed=1)
    arrays = xp.array(log_ref[0].tolist(), dtype=xp.float64), xp.array(reward[1].tolist(), dtype=xp.float64)
    np.testing.assert_allclose(
        back(tiltz.log_partition(*arrays, 0.5)), by_hand(log_ref[0], reward[1], 0.5, 2), atol=1e-13
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weight_zero(xp, dtype):
    kind = getattr(xp, dtype)
    log_ref = xp.array(
        [[math.log(0.5), math.log(0.5)], [-math.inf, 0.0], [-math.inf, 0.0], [-math.inf, -math.inf]],
        dtype=kind,
    )
    reward = xp.array([[-math.inf, 1.0], [math.inf, 1.0], [5.0, -math.inf], [1.0, 2.0]], dtype=kind)
    log_z = back(tiltz.log_partition(log_ref, reward, 0.5))
    np.testing.assert_allclose(log_z, [2 + math.log(0.5), 2.0, -math.inf, -math.inf], rtol=1e-6)
    log_prob = back(tiltz.tilted_log_prob(log_ref, reward, 0.5))
    np.testing.assert_array_equal(log_prob[:2], [[-math.inf, 0.0], [-math.inf, 0.0]])


@pytest.mark.parametrize(
    ("dtype", "betas"),
    [
        ("float64", [1e-300, 1e-100, 1e-8, 1e8, 1e100, 1e300]),
        ("float32", [1e-30, 1e-10, 1e-4, 1e4, 1e10, 1e30]),
    ],
)
def test_extreme_betas(xp, dtype, betas):
    kind = getattr(xp, dtype)
    log_ref = xp.array([math.log(0.5), math.log(0.25), math.log(0.25)], dtype=kind)
    reward = xp.array([1.0, -2.0, 1.0], dtype=kind)
    tolerance = 1e-14 if dtype == "float64" else 1e-6
    for beta in betas:
        truth = exact([0.5, 0.25, 0.25], [1, -2, 1], beta, digits=1000)
        assert float(tiltz.log_partition(log_ref, reward, beta)) == pytest.approx(
            float(truth["log_z"]), rel=tolerance, abs=tolerance
        )
        prob = np.exp(back(tiltz.tilted_log_prob(log_ref, reward, beta)).astype(float))
        assert prob == pytest.approx([float(p) for p in truth["prob"]], abs=tolerance)


@pytest.mark.parametrize("offset", [1e4, -1e5, 1e9])
def test_common_offsets_cost_no_digits(offset):
    log_ref, reward = random_table((6,))
    reward = offset + np.round(reward * 1024) / 1024
    truth = exact([mpmath.exp(mpmath.mpf(x)) for x in log_ref], reward, 0.01)
    prob = np.exp(tiltz.tilted_log_prob(log_ref, reward, 0.01))
    for found, wanted in zip(prob, truth["prob"], strict=True):
        assert found == precisely(wanted, rel=1e-12)


def test_normalize(xp):
    scores = xp.array([12.0, 7.0, 1.0], dtype=xp.float64)
    assert back(tiltz.normalize(scores)) == pytest.approx([0.6, 0.35, 0.05], rel=1e-15)
    square = xp.array([[1.0, 3.0], [1.0, 1.0]], dtype=xp.float64)
    np.testing.assert_allclose(back(tiltz.normalize(square, axis=0)), [[0.5, 0.75], [0.5, 0.25]])


def test_normalize_exact_values():
    assert tiltz.normalize([12, 7, 1]).tolist() == [0.6, 0.35, 0.05]


@pytest.mark.parametrize("scores", [[1e308] * 3, [5e-324] * 3, [1e-310, 1e-310, 1e-310]])
def test_normalize_at_the_ends_of_the_range(scores):
    assert tiltz.normalize(scores) == pytest.approx([1 / 3] * 3, rel=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_types_are_kept_and_integers_become_floats(xp, dtype):
    assert tiltz.normalize(xp.array([1.0, 1.0], dtype=getattr(xp, dtype))).dtype == getattr(xp, dtype)
    assert "float" in str(tiltz.normalize(xp.array([1, 3])).dtype)


def test_callers_arrays_are_not_written_to(xp):
    log_ref, reward = (xp.array(a.tolist(), dtype=xp.float64) for a in random_table((4,)))
    before = back(log_ref).copy(), back(reward).copy()
    tiltz.log_partition(log_ref, reward, 0.1)
    tiltz.tilted_log_prob(log_ref, reward, 0.1)
    tiltz.normalize(reward**2)
    assert np.array_equal(back(log_ref), before[0])
    assert np.array_equal(back(reward), before[1])


# What is refused


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
def test_empty_axes(xp, shape):
    empty = xp.array(np.zeros(shape).tolist(), dtype=xp.float64)
    for call in (lambda: tiltz.log_partition(empty, empty, 1.0), lambda: tiltz.normalize(empty)):
        with pytest.raises(InputError, match="empty"):
            call()


def test_no_rows_but_outcomes_is_an_empty_result(xp):
    module = xp.module
    assert tuple(tiltz.log_partition(module.zeros((0, 3)), module.zeros((0, 3)), 1.0).shape) == (0,)


@pytest.mark.parametrize("axis", [1, -2, 7])
def test_axes_that_do_not_exist(xp, axis):
    array = xp.array([1.0, 2.0], dtype=xp.float64)
    with pytest.raises(InputError, match="axis"):
        tiltz.log_partition(array, array, 1.0, axis=axis)
    with pytest.raises(InputError, match="axis"):
        tiltz.normalize(array, axis=axis)


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan, math.inf])
def test_betas_that_are_not_positive(xp, beta):
    array = xp.array([1.0, 2.0], dtype=xp.float64)
    for value in (beta, xp.array([1.0, beta], dtype=xp.float64)):
        with pytest.raises(InputError, match="beta must be positive"):
            tiltz.log_partition(array, array, value)


def test_a_beta_too_small_for_float32(xp):
    array = xp.array([1.0, 2.0], dtype=xp.float32)
    with pytest.raises(InputError, match="beta must be positive"):
        tiltz.log_partition(array, array, 1e-60)


@pytest.mark.parametrize("scores", [[-1.0, 2.0], [math.nan, 1.0], [math.inf, 1.0], [0.0, 0.0]])
def test_scores_that_cannot_be_normalised(xp, scores):
    with pytest.raises(InputError, match="scores"):
        tiltz.normalize(xp.array(scores, dtype=xp.float64))


def test_libraries_cannot_be_mixed():
    torch = pytest.importorskip("torch")
    with pytest.raises(InputError, match="one library"):
        tiltz.log_partition(np.zeros(3), torch.zeros(3), 1.0)


@pytest.mark.parametrize("swap", [False, True])
def test_libraries_of_beta_cannot_be_mixed_either(swap):
    torch = pytest.importorskip("torch")
    arrays, beta = (torch.zeros(3), np.ones(2)) if swap else (np.zeros(3), torch.ones(2))
    with pytest.raises(InputError, match="one library"):
        tiltz.log_partition(arrays, arrays, beta)


def test_a_numpy_scalar_is_a_number():
    torch = pytest.importorskip("torch")
    assert float(tiltz.log_partition(torch.zeros(3), torch.zeros(3), np.float64(2.0))) == pytest.approx(
        math.log(3)
    )


def test_what_is_not_a_number():
    with pytest.raises(InputError, match="real numbers"):
        tiltz.log_partition(np.zeros(3), np.zeros(3) * 1j, 1.0)
    with pytest.raises(InputError, match="real numbers"):
        tiltz.normalize(["a", "b"])


# Gradients


def torch_table(*, hard=False):
    torch = pytest.importorskip("torch")
    log_ref, reward = (torch.tensor(a) for a in random_table((3, 4)))
    if hard:
        reward[0, 1] = -math.inf
        reward[1, :] = -math.inf
        log_ref[2, 0] = -math.inf
    return torch, log_ref.requires_grad_(), reward.requires_grad_()


@pytest.mark.parametrize("axis", [0, -1])
def test_gradients_against_finite_differences(axis):
    torch, log_ref, reward = torch_table()
    beta = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    for function in (tiltz.log_partition, tiltz.tilted_log_prob):
        assert torch.autograd.gradcheck(lambda *a, f=function: f(*a, axis=axis), (log_ref, reward, beta))


def test_the_derivative_by_lambda_is_the_tilted_mean_reward():
    torch, log_ref, reward = torch_table()
    for inverse in (1e-6, 0.5, 3.0, 1e3):
        lam = torch.tensor(inverse, dtype=torch.float64, requires_grad=True)
        log_z = tiltz.log_partition(log_ref, reward, 1 / lam)
        (slope,) = torch.autograd.grad(log_z.sum(), lam)
        prob = torch.exp(tiltz.tilted_log_prob(log_ref, reward, 1 / inverse))
        assert float(slope) == pytest.approx(float((prob * reward).sum().detach()), rel=1e-10)


def test_the_derivative_by_reward_is_the_tilted_policy():
    torch, log_ref, reward = torch_table()
    (by_reward,) = torch.autograd.grad(tiltz.log_partition(log_ref, reward, 0.3).sum(), reward)
    prob = torch.exp(tiltz.tilted_log_prob(log_ref, reward, 0.3))
    torch.testing.assert_close(0.3 * by_reward, prob, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("beta", [1e-30, 0.5, 1e30])
def test_hard_constraints_leave_no_nan_in_gradients(beta):
    torch, log_ref, reward = torch_table(hard=True)
    betas = torch.tensor(beta, dtype=torch.float64, requires_grad=True)
    log_z = tiltz.log_partition(log_ref, reward, betas)
    gradients = torch.autograd.grad(log_z[torch.isfinite(log_z)].sum(), (log_ref, reward, betas))
    assert all(bool(torch.all(torch.isfinite(g))) for g in gradients)
    assert float(gradients[1][0, 1]) == float(gradients[1][1, 0]) == 0.0
    everything = torch.autograd.grad(tiltz.log_partition(log_ref, reward, betas).sum(), (log_ref, reward))
    assert not any(bool(torch.any(torch.isnan(g))) for g in everything)
