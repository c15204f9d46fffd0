"""What a card may say of each kind of figure, with the value that holds if it says nothing. Light to import."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from sgdphases.choices import one_of
from sgdphases.figures.diffusion_options import Displacements, Orbits, Plane
from sgdphases.figures.option_parts import Chosen, Limits, OfFit, Options, Placed
from sgdphases.figures.richness_options import CatapultPeaks, ClockCurves, RateExponents, RatePortrait, Sharpness


class OnGrid(Options):
    """Options of all maps.

    Attributes:
        x: Coordinate along the columns.
        y: Coordinate along the rows.
        boundaries: True for all boundaries of the fit `boundaries`, or their names.
        published: Show what is published (from the fit `published`) as well.
    """

    x: str = "inverse_init_scale"
    y: str = "temperature"
    boundaries: Chosen = False
    published: bool = False


class PhaseMap(OnGrid):
    """Options of `phase_map`.

    Attributes:
        variable: What is shown.
        fit: Name of the fit that holds it; the cube does if not given.
        statistic: Of the replicas; if not given the median with logarithmic colours, otherwise the mean.
        colour: "auto" is logarithmic for positive values that span two decades, where limits are positive, too.
        limits: Least and largest value of the colours.
        palette: Name of a colour map.
    """

    variable: str
    fit: str | None = None
    statistic: Literal["mean", "median"] | None = None
    colour: Literal["auto", "linear", "log"] = "auto"
    limits: Limits | None = None
    palette: str | None = None

    @model_validator(mode="after")
    def _positive(self) -> "PhaseMap":
        if self.colour == "log" and self.limits and self.limits[0] <= 0:
            raise ValueError(f"colour: log needs limits above zero, not {self.limits}")
        return self


class MapsOverview(OnGrid):
    """Options of `maps_overview`.

    Attributes:
        variables: What is shown, in reading order; a label such as `phase` is shown by its majority.
        columns: Maps in a row.
        limits: Variable to the least and largest value of its colours.
        palette: Name of a colour map.
    """

    variables: Annotated[list[str], Field(min_length=1)]
    columns: Annotated[int, Field(ge=1)] = 4
    limits: dict[str, Limits] = {}
    palette: str | None = None


class PhaseDiagram(OnGrid):
    """Options of `phase_diagram`.

    Attributes:
        variable: The label.
        peak_lines: Mean squares of the layer's inputs for which to draw where features turn from one peak to two.
        names: Write the phases' names into their regions.
    """

    variable: str = "phase"
    boundaries: Chosen = True
    published: bool = True
    peak_lines: list[Annotated[float, Field(gt=0)]] = []
    names: bool = True


class Trajectories(Options):
    """Options of `trajectories`.

    Attributes:
        cells: One column of panels each: coordinate to value.
        variable: What is shown, with one value for each mode.
        x: Clock: `flow_time`, `step` or `epoch`.
        target: Variables with the target's spectrum; the first one that the cube holds is marked.
        replica: The replica that is drawn mode by mode.
        label: Label whose majority names the cells.
        prediction: Name of the fit that compares levels with the Langevin equation, shown where it is there.
        ratios: Its variables against the clock, shown below the levels.
        ratio_limits: Least and largest ratio shown.
    """

    cells: Annotated[list[dict[str, float]], Field(min_length=1)]
    variable: str = "eigenvalues"
    x: str = "flow_time"
    target: list[str] = ["teacher_eigenvalues", "target_largest"]
    replica: int = 0
    label: str = "phase"
    prediction: str = "langevin"
    ratios: list[str] = ["velocity_ratio", "noise_ratio", "valid_share"]
    ratio_limits: Limits = [-0.5, 4.0]


class Curves(Options):
    """Options of `curves`.

    Attributes:
        variables: One panel each; those of a list within the list share a panel.
        fit: Name of the fit that holds the variables; the cube does if not given.
        x: Coordinate along the axis; against one that counts time all records are drawn.
        series: Coordinate that tells lines apart.
        values: Values of `series` to draw; all if not given.
        pool: Grid axes whose values count as further replicas.
        squared: Variables of which the square is drawn.
        limits: Variable (of several in a panel the first) to the ends of its vertical axis.
        levels: Variable to heights that are marked in its panel.
        marks: Fit to the beginnings of its variables `<mark>_<x>`, marked across all panels with their errors.
        fitted: Variable to the fit with its straight line in `epoch_time`, drawn in the fit's window.
        published: Variable to the variable of the fit `published` that is marked beside it.
        scale: Of the vertical axes.
        x_scale: Of the horizontal ones: "auto" as the coordinate says; "log" leaves out what lies at 0.
    """

    variables: Annotated[list[str | Annotated[list[str], Field(min_length=1)]], Field(min_length=1)]
    fit: str | None = None
    x: str = "temperature"
    series: str | None = "inverse_init_scale"
    values: list[float] = []
    pool: list[str] = []
    squared: list[str] = []
    limits: dict[str, Limits] = {}
    levels: dict[str, list[float]] = {}
    marks: dict[str, list[str]] = {}
    fitted: dict[str, str] = {}
    published: dict[str, str] = {}
    scale: Literal["log", "linear"] = "log"
    x_scale: Literal["auto", "log"] = "auto"


class PhasePlane(Options):
    """Options of `phase_plane`.

    Attributes:
        variable: What the background shows: measured on random matrices where the cube holds that, else mean field.
        layer: The layer whose way is drawn.
        time: Clock that colours the ways.
        series: Coordinate that colours them instead.
        optimum: Name of the fit whose `optimum_epoch_time` is marked, where it is there.
        x_limits: Ends of the J0/J axis of a plane without a measured map.
        y_limits: Ends of its 1/J axis; if not given, what shows all ways.
        limits: Least and largest value of the colours.
        palette: Name of a colour map.
        cells: Cells of a calculated background along each axis.
    """

    variable: Literal["asymptotic_distance", "jacobian_norm", "lyapunov"] = "asymptotic_distance"
    layer: Annotated[int, Field(ge=0)] = 0
    time: str = "epoch_time"
    series: str | None = None
    optimum: str = "optimum"
    x_limits: Limits = [-1.0, 2.0]
    y_limits: Limits | None = None
    limits: Limits | None = None
    palette: str | None = None
    cells: Annotated[int, Field(ge=2)] = 100


class Dynamics(Placed):
    """Options of `dynamics`.

    Attributes:
        variables: Measures of the iterated map, one panel each.
        controls: Names of the controls to draw; all if not given.
        x: "coupling" for J², or a coordinate that counts time.
        limits: Variable to the ends of its axis.
        marks: With a time along x, fit to the beginnings of its variables `<mark>_<x>`, marked with their errors.
        layer: The layer whose J² is the axis.
    """

    variables: Annotated[list[str], Field(min_length=1)] = ["lyapunov", "jacobian_norm", "asymptotic_distance"]
    controls: list[str] = []
    x: str = "coupling"
    limits: dict[str, Limits] = {}
    marks: dict[str, list[str]] = {}
    layer: Annotated[int, Field(ge=0)] = 0


class Poincare(Placed):
    """Options of `poincare`.

    Attributes:
        times: Places along `x` where weights were recorded, one panel each.
        x: Coordinate that counts time.
        variable: What is shown, at neighbouring iterations.
        replica: The replica.
        images: Number of orbits, those of the first images.
        layer: The layer whose J² the titles give.
    """

    times: Annotated[list[float], Field(min_length=1)]
    x: str = "epoch"
    variable: str = "poincare"
    replica: int = 0
    images: Annotated[int, Field(ge=1)] = 6
    layer: Annotated[int, Field(ge=0)] = 0


class Collapse(Placed):
    """Options of `collapse`.

    Attributes:
        fit: Name of the fit with the mean over the points.
        x: Clock in which the curves collapse.
        group: Coordinate that colours the curves.
        tolerance: Share of the mean that is marked around it.
        residuals: Ends of the residuals' axis, as shares; if not given, what shows all up to J² = 1.
        layer: The layer.
    """

    fit: str = "collapse"
    x: Literal["epoch_time", "flow_time"] = "epoch_time"
    group: str | None = None
    tolerance: Annotated[float, Field(gt=0)] = 0.03
    residuals: Limits | None = None
    layer: Annotated[int, Field(ge=0)] = 0


class Decay(Placed):
    """Options of `decay`.

    Attributes:
        fit: Name of the fit over the strengths of decay.
        x: Clock of the ways.
        layer: The layer.
    """

    fit: str = "decay"
    x: str = "epoch_time"
    layer: Annotated[int, Field(ge=0)] = 0


class Scaling(OfFit):
    """Options of `scaling`.

    Attributes:
        y: Estimates, one panel each; the variable of the same name with "_error" is the error.
        x: Variable or coordinate along the axis; a list gives one for each panel, of one estimate or of as many.
        exponents: Name of the fit with the exponents `<x>_exponent`, drawn through the points beside a power of 1. The
            axes then show what growth is a power of, 1/(1 - momentum) and 1/batch_size, and points that differ in
            nothing else are joined.
        group: Variable or coordinate that tells points apart.
        predicted: Variable with the law's values; or estimate to the variables with values of several laws.
        equal: Draw where the estimate equals x.
        joined: Join the points of a group by a thin line; with `exponents` they always are.
        powers: Estimate to powers of x, drawn dashed through the middle of all points; if they are as many as the
            groups, each through its group's.
        powers_range: Least and largest x of the points that powers are drawn through.
        scale: Of both axes; "semilog" of x alone. On a logarithmic axis decades (`log_...`) are drawn as what they are
            decades of.
    """

    y: Annotated[list[str], Field(min_length=1)]
    x: str | Annotated[list[str], Field(min_length=1)]
    exponents: str | None = None
    group: str | None = None
    predicted: str | dict[str, Annotated[list[str], Field(min_length=1)]] | None = None
    equal: bool = False
    joined: bool = False
    powers: dict[str, list[float]] = {}
    powers_range: Limits | None = None
    scale: Literal["log", "semilog", "linear"] = "linear"


class BatchCollapse(OfFit):
    """Options of `batch_collapse`.

    Attributes:
        marks: What marks the boundary: the beginnings of `<mark>_learning_rate` and `<mark>_temperature`.
        group: Coordinate that tells lines of one mark apart.
        theory: Variable with the theory's learning rate.
    """

    fit: str = "batch_boundary"
    marks: Annotated[list[str], Field(min_length=1)] = ["loss", "growth"]
    group: str = "init_scale"
    theory: str = "stability_learning_rate"


class Spacing(OfFit):
    """Options of `spacing`.

    Attributes:
        density: Variable with the density of the normalised spacing.
        x: Its coordinate.
        group: Coordinate that tells lines apart; over everything else the density is averaged.
        surmises: Laws to draw.
    """

    fit: str = "spacing"
    density: str = "spacing_density"
    x: str = "spacing"
    group: str | None = None
    surmises: list[Literal["orthogonal", "unitary", "poisson"]] = ["orthogonal", "poisson"]


OPTIONS: dict[str, type[BaseModel]] = {
    "phase_map": PhaseMap,
    "maps_overview": MapsOverview,
    "phase_diagram": PhaseDiagram,
    "trajectories": Trajectories,
    "curves": Curves,
    "phase_plane": PhasePlane,
    "dynamics": Dynamics,
    "poincare": Poincare,
    "collapse": Collapse,
    "decay": Decay,
    "scaling": Scaling,
    "batch_collapse": BatchCollapse,
    "spacing": Spacing,
    "rate_portrait": RatePortrait,
    "clock_curves": ClockCurves,
    "catapult_peaks": CatapultPeaks,
    "rate_exponents": RateExponents,
    "sharpness": Sharpness,
    "displacements": Displacements,
    "orbits": Orbits,
    "plane": Plane,
}


def options_of(kind: str, said: Mapping[str, Any]) -> Any:
    """The options of one figure, checked and completed.

    Args:
        kind: Kind of figure.
        said: What the card says beside the kind.

    Returns:
        The options as attributes.

    Raises:
        ValueError: If a word is unknown, missing or of the wrong type; the message names what is allowed.
    """
    model = OPTIONS[one_of(kind, OPTIONS, "kind of figure")]
    for word in said:
        one_of(word, model.model_fields, f"option of the figure {kind}")
    try:
        return model(**said)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, row['loc']))}: {row['msg']}" for row in error.errors(include_url=False)]
        raise ValueError(f"options of the figure {kind}: {'; '.join(faults)}") from None
