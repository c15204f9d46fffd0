"""The temperature as an axis: which dimension of a cube it runs along, and the cube with it as a dimension."""

from typing import TypeVar

import xarray as xr

Labelled = TypeVar("Labelled", xr.Dataset, xr.DataArray)


def temperature_dimension(cube: xr.Dataset | xr.DataArray) -> str:
    """The dimension along which the temperature changes at a fixed batch size.

    Args:
        cube: A cube, or one of its variables.

    Returns:
        `temperature` or `learning_rate`.

    Raises:
        ValueError: If the grid has neither.
    """
    for word in ("temperature", "learning_rate"):
        if word in cube.dims:
            return word
    raise ValueError(f"the grid has no axis of temperature; its axes are {', '.join(map(str, cube.dims))}")


def on_temperature(cube: Labelled) -> Labelled:
    """The cube with the dimension `temperature` in place of `learning_rate`, where one batch size makes them one axis.

    Args:
        cube: A cube, or one of its variables.

    Returns:
        The same values; unchanged where the temperature depends on more than the learning rate.
    """
    if cube["temperature"].dims == ("learning_rate",):
        return cube.swap_dims(learning_rate="temperature")
    return cube
