"""Numbers computed by others for the toy model of arXiv 2410.04642: sharpness, times, trajectories, catapults."""

import numpy as np
import pytest

from sgdphases.theory import catapult, richness, richness_flow

# L, γ, top eigenvalue at the start, at the minimum, largest learning rate, ηt/γ at f = 1/2, steps at half of that rate.
BALANCED = np.array(
    [
        [2, 1e-4, 1.999900e8, 2.000200e8, 9.999000e-9, 3.46564e-5, 0.69],
        [2, 1e-2, 1.990000e4, 2.020000e4, 9.900990e-5, 3.45611e-3, 0.70],
        [2, 0.1, 190, 220, 9.090909e-3, 0.0337244, 0.74],
        [2, 1, 1, 4, 0.5, 0.274653, 1.10],
        [2, 10, 0.1, 0.22, 9.090909, 1.129503, 2.48],
        [2, 100, 0.01, 0.0202, 99.00990, 2.289591, 4.62],
        [2, 1e4, 1e-4, 2.0002e-4, 9999.000, 4.604810, 9.21],
        [3, 1e-2, 2.980000e4, 3.040067e4, 6.578803e-5, 2.30194e-3, 0.70],
        [3, 0.1, 280, 340.6524, 5.871087e-3, 0.0222804, 0.76],
        [3, 1, 1, 7.559526, 0.2645668, 0.169956, 1.28],
        [3, 10, 0.1, 0.7339134, 2.725117, 0.549462, 4.03],
        [3, 100, 0.01, 0.1411074, 14.17360, 0.806177, 11.38],
        [3, 1e3, 1e-3, 0.03004001, 66.57788, 0.913674, 27.45],
        [3, 1e4, 1e-4, 6.464166e-3, 309.3980, 0.960394, 62.08],
        [4, 1e-2, 3.970000e4, 4.060150e4, 4.925927e-5, 1.72566e-3, 0.70],
        [4, 0.1, 370, 461.4759, 4.333921e-3, 0.0166349, 0.77],
        [4, 1, 1, 11.31371, 0.1767767, 0.122877, 1.39],
        [4, 10, 0.1, 1.459315, 1.370506, 0.356156, 5.20],
        [4, 100, 0.01, 0.4060150, 4.925927, 0.464573, 18.86],
        [4, 1e3, 1e-3, 0.1266809, 15.78770, 0.490611, 62.15],
        [4, 1e4, 1e-4, 0.04000600, 49.99250, 0.497237, 198.92],
    ]
)

# L, γ, learning rate 1/λ*, outputs after steps 1 to 5, first step with f ≥ 1/2.
TRAJECTORIES = [
    (2, 0.01, 4.95049505e-5, [0.99254975, 0.99999959, 1, 1, 1], 1),
    (2, 10, 4.54545455, [0.11157025, 0.31695068, 0.6160502, 0.8877937, 0.99112385], 3),
    (3, 10, 1.36255852, [0.046699421, 0.12171256, 0.24254427, 0.42858614, 0.674145], 5),
    (3, 1e3, 33.2889407, [1.0322817e-4, 2.2101991e-4, 3.560134e-4, 5.1143688e-4, 6.9126727e-4], 30),
    (4, 100, 2.46296334, [0.0010221838, 0.0022059495, 0.003586532, 0.0052091254, 0.007132391], 20),
]


def test_balanced_toy():
    depth, gamma, start, end, largest, time, steps = BALANCED.T
    np.testing.assert_allclose(richness.initial_sharpness(gamma, depth), start, rtol=1e-12)
    np.testing.assert_allclose(richness.final_sharpness(gamma, depth), end, rtol=1e-6)
    np.testing.assert_allclose(richness.largest_learning_rate(gamma, depth), largest, rtol=1e-6)
    flow = richness_flow.flow_time(gamma, depth)
    np.testing.assert_allclose(richness.early_time(1, learning_rate=flow, richness=gamma), time, rtol=3e-6)
    np.testing.assert_allclose(richness_flow.plateau_steps(gamma, depth, share=0.5), steps, atol=0.0051)
    assert richness.uniform_sharpness(10, 3) == pytest.approx(-0.17)


@pytest.mark.parametrize(("depth", "gamma", "rate", "outputs", "first"), TRAJECTORIES)
def test_trajectories(depth, gamma, rate, outputs, first):
    exact = 1 / richness.final_sharpness(gamma, depth)
    assert exact == pytest.approx(rate, rel=5e-9)
    found = richness_flow.output_trajectory(exact, gamma, depth, steps=60)
    np.testing.assert_allclose(found[1:6], outputs, rtol=7e-8, atol=6e-9)
    assert np.argmax(found >= 0.5) == first
    # The same by the universal map.
    u = richness_flow.universal_start(gamma, depth)
    for f in found[1:20]:
        u = richness_flow.universal_map(u, richness_flow.step_size(exact, gamma, depth), depth)
        assert ((1 + gamma) * u**depth - 1) / gamma == pytest.approx(f, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("first", "last", "slopes"),
    [
        (-4, -1.5, [1.9954, 1.9938, 1.9931]),
        (1, 3, [1.0188, 0.6918, 0.5282]),
        (1, 4, [1.0111, 0.6814, 0.5166]),
        (2, 4, [1.0020, 0.6693, 0.5029]),
    ],
)
def test_slopes_on_half_decade_grids(first, last, slopes):
    x = np.arange(first, last + 0.1, 0.5)
    for depth, slope in zip((2, 3, 4), slopes, strict=True):
        found = np.polyfit(x, np.log10(richness.largest_learning_rate(10**x, depth)), 1)[0]
        assert found == pytest.approx(slope, abs=5.1e-5)


def brute_force(learning_rate, gamma, depth, steps):
    """Gradient descent on L separate weights; the output after the last step."""
    weights = [np.ones(np.broadcast_shapes(np.shape(learning_rate), np.shape(gamma)))] * depth
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(steps):
            f = (np.prod(weights, axis=0) - 1) / gamma
            slopes = [np.prod([w for k, w in enumerate(weights) if k != place], axis=0) for place in range(depth)]
            weights = [w - learning_rate * (f - 1) / gamma * g for w, g in zip(weights, slopes, strict=True)]
        return (np.prod(weights, axis=0) - 1) / gamma


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_convergence_ends_at_the_largest_learning_rate(depth):
    gamma, factor = np.array([0.01, 1, 100, 1e4]), np.array([0.9, 0.99, 0.9995, 1.0005, 1.01])[:, None]
    rate = factor * richness.largest_learning_rate(gamma, depth)
    found = np.abs(brute_force(rate, gamma, depth, 20_000) - 1)
    assert np.all((found < 1e-6) == (factor < 1))


def test_two_layers_blow_up_at_twice_the_largest_learning_rate():
    gamma = np.array([0.01, 1, 100, 1e4])
    for factor, bounded in ((1.999, True), (2.005, False)):
        rate = factor * richness.largest_learning_rate(gamma, 2)
        assert np.all(np.isfinite(brute_force(rate, gamma, 2, 20_000)) == bounded)


@pytest.mark.parametrize("depth", [3, 4])
def test_deeper_chains_blow_up_later_than_that(depth):
    gamma = np.array([1, 100, 1e4])
    for factor, bounded in ((2.0, True), (2.7, False)):
        rate = factor * richness.largest_learning_rate(gamma, depth)
        assert np.all(np.isfinite(brute_force(rate, gamma, depth, 5000)) == bounded)


def test_catapults_of_the_squared_error():
    for gamma, factor in ((0.1, 1.98), (0.01, 1.997), (1e-3, 1.997), (1e-4, 1.997)):
        scan = catapult.converging_learning_rates(np.arange(1.9, 2.1, 5e-4) * gamma**2, gamma)
        assert scan.unbroken / gamma**2 >= factor - 5e-4
        bound = catapult.largest_catapult_learning_rate(gamma)
        assert scan.largest == scan.unbroken == pytest.approx(bound, abs=5.1e-4 * gamma**2)
    gamma = np.array([0.1, 0.01, 1e-3, 1e-4])
    flight = catapult.flight(1.5 * gamma**2, gamma, steps=20_000)
    np.testing.assert_allclose(flight.peak * gamma, [0.60, 0.56, 0.61, 0.59], atol=0.0051)
    assert np.all(1.5 * flight.kernel < 0.34)
    np.testing.assert_allclose(flight.output, 1, rtol=1e-9)


@pytest.mark.parametrize(("gamma", "edge"), [(0.01, 0.990), (0.1, 0.905), (1, 0.500), (10, 0.0906)])
def test_equal_weights_do_not_catapult(gamma, edge):
    rates = np.geomspace(0.5, 1.2, 2001) / (1 + gamma) * gamma**2
    scan = catapult.converging_learning_rates(rates, gamma, weights=(1, 1))
    assert scan.largest == scan.unbroken == pytest.approx(gamma**2 / (1 + gamma), rel=1e-3)
    assert scan.largest / gamma**2 == pytest.approx(edge, rel=0.008)
    assert richness.largest_learning_rate(gamma, 2) == pytest.approx(gamma**2 / (1 + gamma))
    assert catapult.largest_catapult_learning_rate(gamma, weights=(1, 1)) == pytest.approx(gamma**2 / (1 + gamma))


# On this grid; 4.51 is an island beside the last piece of the band, which ends at 4.45 (another scan found 4.42).
@pytest.mark.parametrize(("gamma", "largest"), [(1, 5.08), (0.1, 4.92), (0.01, 4.51), (1e-3, 4.39), (1e-4, 4.33)])
def test_catapults_of_the_cross_entropy(gamma, largest):
    scan = catapult.converging_learning_rates(np.arange(200, 601) / 100 * gamma, gamma, loss="cross_entropy")
    assert scan.largest / gamma == pytest.approx(largest)
    assert (scan.unbroken < scan.largest) == (gamma < 1)  # islands


def test_cross_entropy_of_two_weights():
    critical, _ = catapult.cross_entropy_band(0.01)
    assert critical == pytest.approx(5.086e-4, rel=1e-4)
    # Equal weights converge as far as the minimum is stable, and stay finite up to 7.4 γ.
    gamma, rates = 0.01, np.arange(450, 550) / 100
    words = {"loss": "cross_entropy"}
    scan = catapult.converging_learning_rates(rates * gamma**2, gamma, weights=(1, 1), **words)
    assert scan.largest == scan.unbroken == pytest.approx(5.03 * gamma**2)
    rates = np.array([7.4, 7.6]) * gamma
    finite = np.isfinite(catapult.flight(rates, gamma, weights=(1, 1), steps=20_000, **words).output)
    assert finite.tolist() == [True, False]
    # Unequal ones with uv ≠ 0 do hardly better.
    scan = catapult.converging_learning_rates(np.arange(500, 700) / 100 * gamma**2, gamma, weights=(1.2, 0.5), **words)
    assert scan.largest / gamma**2 == pytest.approx(6, rel=0.03)


def test_numbers_of_the_cross_entropy():
    assert richness.loss_slope(0, "cross_entropy") == pytest.approx(-0.2310585786, abs=5e-11)
    assert richness.loss_curvature(1, "cross_entropy") == pytest.approx(0.1966119332, abs=5e-11)
    assert richness.loss_value(1, "cross_entropy") == pytest.approx(0.5822031089, abs=5e-11)
