"""Estimators of plain arrays on data with a known truth: means, resampling, lines, Kramers-Moyal coefficients."""

from collections.abc import Callable

import numpy as np

from made_coverage import (
    EXACT_INTERVAL,
    Draws,
    Family,
    Row,
    against,
    each_against,
    near,
    samples,
    streams,
    student,
    with_freedom,
    without_interval,
)
from sgdphases.fits.arrays import Floats, replica_mean, slopes
from sgdphases.fits.bootstrap import bootstrap, jackknife
from sgdphases.fits.curves import mean_over, over_replicas
from sgdphases.fits.interval_lines import bootstrapped_lines
from sgdphases.fits.intervals import Estimate, wilson_interval
from sgdphases.fits.kramers_moyal import kramers_moyal, projected_moments, regress_drift
from sgdphases.fits.learning_rate_edges import middles
from sgdphases.fits.power_law import fit_power_law, replica_average, replica_exponent
from sgdphases.fits.stationary_moments import weighted_lines

RICHNESS = np.arange(-3.5, -1.0, 0.5)
"""Abscissae of lines through searched learning rates, in decades."""


def normal(count: int) -> Callable[[np.random.Generator], Floats]:
    return lambda random: random.standard_normal(count)


def _means(draws: int) -> dict[str, Draws]:
    made = {f"mean_{n}": against(replica_mean(samples(f"mean_{n}", draws, normal(n))), 0.0) for n in (3, 5, 16)}
    heavy = samples("mean_heavy", draws, lambda random: random.standard_t(4, 5))
    return made | {"mean_heavy": against(replica_mean(heavy), 0.0)}


def _resampled(draws: int) -> dict[str, Draws]:
    found = {}
    for n in (3, 5, 10):
        found[f"over_replicas_{n}"] = against(
            over_replicas(mean_over, samples(f"over_replicas_{n}", draws, normal(n))), 0.0
        )
    for n in (5, 16):
        plain = bootstrap(lambda sample: sample.mean(axis=0), samples(f"bootstrap_{n}", draws, normal(n)))
        found[f"bootstrap_{n}"] = against(plain, 0.0)
    median = samples("median_10", draws, normal(10))
    found["median_10"] = against(bootstrap(lambda s: replica_average(s, "median"), median, resamples=200), 0.0)
    skewed = samples("skewed", draws, lambda random: random.exponential(size=16))
    for method in ("percentile", "BCa"):
        found[f"skewed_{method}"] = against(bootstrap(lambda s: s.mean(axis=0), skewed, method=method), 1.0)
    return found


def _left_out(draws: int) -> dict[str, Draws]:
    def spread(sample: Floats) -> Floats:
        return sample.var(axis=0) / sample.mean(axis=0) ** 2

    truth = 4 / np.pi - 1
    found = {}
    for count, groups in ((20, None), (200, 50)):
        spacings = samples(f"jackknife_{count}", draws, lambda random, count=count: random.rayleigh(size=count))
        found[f"jackknife_{count}"] = against(jackknife(spread, spacings, groups=groups), truth)
    return found


def _shares(draws: int) -> dict[str, Draws]:
    found = {}
    for trials in (5, 20):
        chance, hits = samples(
            f"wilson_{trials}", draws, lambda random, n=trials: np.array([p := random.random(), random.binomial(n, p)])
        )
        found[f"wilson_{trials}"] = against(wilson_interval(hits, trials), chance)
    return found


def _powers(draws: int) -> dict[str, Draws]:
    x, truth = np.geomspace(1, 100, 8), 1.5
    scatter = samples("power_law", draws, normal(8)).T
    by_scatter = [fit_power_law(x, 2 * x**truth * np.exp(0.1 * each)) for each in scatter]
    laws = [fit_power_law(x, y := 2 * x**truth * (1 + 0.1 * each), error=0.1 * y) for each in scatter]
    known = [fit_power_law(x, 2 * x**truth * (1 + 0.1 * e), error=0.2 * x**truth) for e in scatter]
    curves = samples("replica_exponent", draws, lambda random: random.standard_normal((10, 9)))
    walks = [
        2 * x**truth * np.exp(0.3 * each[:, :1] + 0.1 * np.cumsum(each[:, 1:], axis=1))
        for each in np.moveaxis(curves, -1, 0)
    ]
    medians = [replica_exponent(x, each, resamples=100) for each in walks]
    rho = np.geomspace(0.1, 10, 12)
    modes = np.log(rho)[:, None] + 0.3 * samples("noise_power", draws, normal(12))
    power = bootstrap(lambda place, height: slopes(place, height.T), (np.log(rho), modes))
    return {
        "power_scatter": each_against([law.exponent for law in by_scatter], truth),
        "prefactor_scatter": each_against([law.prefactor for law in by_scatter], 2.0),
        "power_relative": each_against([law.exponent for law in laws], truth),
        "power_known": each_against([law.exponent for law in known], truth),
        "power_median": each_against(medians, truth),
        "power_modes": against(power, 1.0),
    }


def _lines(draws: int) -> dict[str, Draws]:
    x, error = np.array([0.5, 1.0, 2.0]), np.array([0.1, 0.1, 0.2])
    y = 1 + 0.5 * x + error * samples("weighted_lines", draws, normal(3)).T
    height, slope = weighted_lines(x, y, np.broadcast_to(error, y.shape))
    found = {"intercept": without_interval(*height, 1.0), "slope": without_interval(*slope, 0.5)}
    for name, replicas, scatter, cell in (("searched", 2, 0.1, 0.02), ("lattice", 3, 0.03, 0.25)):
        low, truth = _searched(name, draws, replicas, scatter, cell)
        line, _, there = bootstrapped_lines(RICHNESS, low, low + cell, place=-2.5)
        found |= {f"{name}_slope": against(line, 0.667), f"{name}_height": against(there, truth - 2.5 * 0.667)}
    low, truth = _searched("middles", draws, 3, 0.03, 0.25)
    return found | {"middles": against(middles(low[:, 0], low[:, 0] + 0.25), truth + 0.667 * RICHNESS[0])}


def _searched(name: str, draws: int, replicas: int, scatter: float, cell: float) -> tuple[Floats, Floats]:
    """Lower ends (replicas, points, draws) of the cells of a lattice that hold a line with scatter; heights at 0."""
    size = replicas * len(RICHNESS)

    def make(random: np.random.Generator) -> Floats:
        height, phase = random.uniform(0, 1), random.uniform(0, cell)
        values = height + 0.667 * np.tile(RICHNESS, replicas) + scatter * random.standard_normal(size)
        return np.append(phase + np.floor((values - phase) / cell) * cell, height)

    made = samples(name, draws, make)
    return made[:-1].reshape(replicas, len(RICHNESS), draws), made[-1]


def _coefficients(draws: int) -> dict[str, Draws]:
    found, time = {}, 0.1
    for replicas in (8, 25):
        moves = 0.3 * time + np.sqrt(2 * 0.5 * time) * samples(f"kramers_moyal_{replicas}", draws, normal(replicas))
        made = kramers_moyal(moves[..., None], flow_time=time)
        found[f"drift_{replicas}"] = against(made.drift, 0.3)
        found[f"diffusion_{replicas}"] = against(made.diffusion, 0.5)
    drives = 0.3 + samples("projected", draws, normal(60))
    projected = projected_moments(drives[..., None])
    found |= {"projected_drift": against(projected[0], 0.3), "projected_noise": against(projected[1], 1.0)}
    for replicas in (8, 25):
        fits = [_regressed(random, replicas, time) for random in streams(f"regressed_{replicas}", draws)]
        found[f"regressed_{replicas}"] = each_against(fits, 0.5)
    return found


def _regressed(random: np.random.Generator, replicas: int, time: float) -> Estimate:
    """Coefficient of the second of two terms in the drift of 12 states, by its own errors."""
    terms = {"drift": random.standard_normal(12), "coulomb": random.standard_normal(12)}
    drift = terms["drift"] + 0.5 * terms["coulomb"]
    moves = drift * time + np.sqrt(2 * 0.5 * time) * random.standard_normal((replicas, 12))
    measured = kramers_moyal(moves[..., None], flow_time=time).drift
    return regress_drift(measured.value[:, 0], terms, error=measured.error[:, 0]).coefficients["coulomb"]


FEW = (
    "Errors come from the scatter of R replicas while the interval takes the normal quantile, so that 3, 5, 8 and 16 "
    "normal replicas hold 81, 88, 91 and 93 % instead of 95 %. Student's t with R - 1 degrees of freedom "
    "(4.30, 2.78, 2.36 and 2.13 errors instead of 1.96) would hold 95 %."
)
WIDENED = (
    "Widening by √(R/(R - 1)) gives the bootstrap the error of the replicas' scatter, and its interval holds what a "
    "normal quantile holds: 80, 88 and 91 % of 3, 5 and 10 replicas. Student's t times the same error is right, as the "
    "column `by t` shows."
)
PLAIN = (
    "A plain bootstrap scatters about the replicas' own mean, so that its error is √((R - 1)/R) of the right one, and "
    "its percentiles know nothing of Student's t either: 5 replicas hold 81 to 84 %. `over_replicas` mends the former "
    "alone; fits that call `bootstrap` itself on few replicas or modes have both."
)
MEDIAN = (
    "The bootstrap's error of a median of 10 replicas is about a tenth too large, which makes up for part of what 10 "
    "replicas lack. At one error they hold 68 to 74 %, at the interval 93 to 96 %."
)
SKEWED = (
    "Means of 16 exponential variables have small errors where the mean is small, so that intervals end too low and "
    "miss on one side; Student's t is no cure. BCa moves its ends and gains about a third of what is missing."
)
RATIO = (
    "Of 20 spacings the variance over the squared mean is skewed and too small by an eighth of its error, and its "
    "error is small where it is. With 200 spacings all of this is gone."
)
SHARE = (
    "Wilson's interval is right on average over all fractions, while `fraction ± error` is the half-width of the score "
    "interval about the fraction instead of about the shifted centre, and holds 62 % at 5 and 64 % at 20 trials. Of "
    "few replicas the interval should be drawn, never the error."
)
LINE = (
    "The interval takes Student's t of 6 degrees of freedom and is right, while one error of 8 points holds the 64 % "
    "that it must. Errors of short lines should be read with their intervals."
)
WIDE = (
    "Errors of three points are widened where these scatter more than they say and are never made smaller, so that "
    "they are about a fifth too large. This is on the safe side, and by design."
)
SEARCHED = (
    "The bootstrap over 10 cells has the right error on average, and the normal interval knows nothing of how "
    "uncertain that is: it holds 90 or 91 %. Student's t with 8 degrees of freedom (2.31 errors) holds 94 to 96 %."
)
LATTICE = (
    "On a lattice without scatter all points may be off by the same part of a cell, and the error counts that in full, "
    "so that it is two to four times the scatter of draws with random phases. This is on the safe side, and by design."
)
VARIANCE = (
    "The percentile bootstrap of a variance of 60 samples is skewed the wrong way: its upper end is too low, and 90 to "
    "91 % of draws lie inside. The χ² interval that `kramers_moyal` gives D2 holds 95 % of normal increments."
)
PROJECTED = "Percentiles of 200 resamples of 60 samples hold 92 to 94 %. The drift's error itself is right."
WEIGHTED = (
    "Weights are the measured errors of 8 replicas, and points whose error happens to be small count too much: the "
    "error is a fifth too small and the interval holds 88 %. With 25 replicas it holds 94 %."
)


_FEWEST = {
    f"{word}_{n}": Row(name, f"{n} normal replicas", *student(n), finding=note)
    for word, name, note, sizes in (
        ("mean", "arrays.replica_mean", FEW, (3, 5, 16)),
        ("over_replicas", "curves.over_replicas", WIDENED, (5, 10)),
    )
    for n in sizes
}

MEANS = {
    **{name: row for name, row in _FEWEST.items() if name.startswith("mean")},
    "mean_heavy": Row("arrays.replica_mean", "5 replicas, Student's t with 4 degrees", *near(0.61, 0.9), finding=FEW),
}

RESAMPLED = {
    "over_replicas_3": Row("curves.over_replicas", "mean of 3 normal replicas", *near(0.575, 0.80), finding=WIDENED),
    **{name: row for name, row in _FEWEST.items() if name.startswith("over")},
    "bootstrap_5": Row("bootstrap.bootstrap", "mean of 5 normal replicas", *near(0.578, 0.835), finding=PLAIN),
    "bootstrap_16": Row("bootstrap.bootstrap", "mean of 16 normal replicas", *near(0.652, 0.915), finding=PLAIN),
    "median_10": Row("bootstrap.bootstrap", "median of 10 normal replicas", *near(0.69, 0.93), finding=MEDIAN),
    "skewed_percentile": Row(
        "bootstrap.bootstrap", "mean of 16 exponential replicas", *near(0.62, 0.875), finding=SKEWED
    ),
    "skewed_BCa": Row("bootstrap.bootstrap", "mean of 16 exponential replicas, BCa", *near(0.62, 0.9), finding=SKEWED),
}

LEFT_OUT = {
    "jackknife_20": Row(
        "bootstrap.jackknife", "relative variance of 20 spacings of pairs", *near(0.64, 0.855), finding=RATIO
    ),
    "jackknife_200": Row("bootstrap.jackknife", "relative variance of 200 spacings of pairs, 50 groups"),
}

SHARES = {
    "wilson_5": Row("intervals.wilson_interval", "5 trials, any chance", (0.60, 0.64), (0.94, 0.97), finding=SHARE),
    "wilson_20": Row("intervals.wilson_interval", "20 trials, any chance", (0.63, 0.67), EXACT_INTERVAL, finding=SHARE),
}

POWERS = {
    "power_scatter": Row(
        "power_law.fit_power_law", "exponent, 8 points, errors by scatter", student(7)[0], finding=LINE
    ),
    "prefactor_scatter": Row(
        "power_law.fit_power_law", "prefactor, 8 points, errors by scatter", student(7)[0], finding=LINE
    ),
    "power_relative": Row("power_law.fit_power_law", "exponent, 8 points, errors of 10 % of what was measured"),
    "power_known": Row("power_law.fit_power_law", "exponent, 8 points, errors of 10 % of the truth"),
    "power_median": Row(
        "power_law.replica_exponent", "median of 10 correlated curves", *near(0.72, 0.96), finding=MEDIAN
    ),
    "power_modes": Row(
        "bootstrap.bootstrap", "power of the noise in 12 modes (noise_structure)", *near(0.64, 0.91), finding=PLAIN
    ),
}

LINES = {
    "intercept": Row(
        "stationary_moments.weighted_lines", "height of 3 points with known errors", *near(0.72, 0.963), finding=WIDE
    ),
    "slope": Row(
        "stationary_moments.weighted_lines", "slope of 3 points with known errors", *near(0.72, 0.963), finding=WIDE
    ),
    "searched_slope": Row(
        "interval_lines.bootstrapped_lines", "slope, 2 × 5 narrow cells", *near(0.655, 0.905), finding=SEARCHED
    ),
    "searched_height": Row(
        "interval_lines.bootstrapped_lines", "height, 2 × 5 narrow cells", *near(0.65, 0.91), finding=SEARCHED
    ),
    "lattice_slope": Row(
        "interval_lines.bootstrapped_lines", "slope, 3 × 5 wide cells", *near(0.955, 0.999), finding=LATTICE
    ),
    "lattice_height": Row(
        "interval_lines.bootstrapped_lines", "height, 3 × 5 wide cells", *near(0.999, 0.999), finding=LATTICE
    ),
    "middles": Row("learning_rate_edges.middles", "an edge in 3 wide cells", *near(0.775, 0.995), finding=LATTICE),
}

COEFFICIENTS = {
    **{
        f"drift_{n}": Row("kramers_moyal.kramers_moyal", f"D1, {n} replicas", *student(n), finding=FEW) for n in (8, 25)
    },
    **{f"diffusion_{n}": Row("kramers_moyal.kramers_moyal", f"D2, {n} replicas") for n in (8, 25)},
    "projected_drift": Row(
        "kramers_moyal.projected_moments", "K, 60 samples", *near(0.67, 0.93, 0.015), finding=PROJECTED
    ),
    "projected_noise": Row("kramers_moyal.projected_moments", "V, 60 samples", *near(0.66, 0.905), finding=VARIANCE),
    "regressed_8": Row(
        "kramers_moyal.regress_drift", "12 drifts, errors of 8 replicas", *near(0.58, 0.88), finding=WEIGHTED
    ),
    "regressed_25": Row(
        "kramers_moyal.regress_drift", "12 drifts, errors of 25 replicas", *near(0.665, 0.94, 0.015), finding=WEIGHTED
    ),
}

REPLICAS = {"mean_heavy": 5, "median_10": 10, "skewed_percentile": 16, "skewed_BCa": 16, "jackknife_20": 20}
REPLICAS |= {
    f"{name}_{n}": n
    for name, sizes in {
        "mean": (3, 5, 16),
        "over_replicas": (3, 5, 10),
        "bootstrap": (5, 16),
        "drift": (8, 25),
        "regressed": (8, 25),
    }.items()
    for n in sizes
}
FREEDOM = {name: count - 1 for name, count in REPLICAS.items()} | {"searched_slope": 8, "searched_height": 8}

FAMILIES = {
    "means": Family(_means, with_freedom(FREEDOM, MEANS)),
    "resampling": Family(_resampled, with_freedom(FREEDOM, RESAMPLED)),
    "jackknife": Family(_left_out, with_freedom(FREEDOM, LEFT_OUT)),
    "fractions": Family(_shares, SHARES),
    "power laws": Family(_powers, POWERS),
    "lines": Family(_lines, with_freedom(FREEDOM, LINES)),
    "Kramers-Moyal": Family(_coefficients, with_freedom(FREEDOM, COEFFICIENTS)),
}
