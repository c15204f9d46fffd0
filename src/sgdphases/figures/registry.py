"""Kinds of figures: the word of a card and the function that draws it (what each takes is in `options`).

Light to import.
"""

FIGURES: dict[str, str] = {
    "phase_map": "sgdphases.figures.maps:phase_map",
    "maps_overview": "sgdphases.figures.maps:maps_overview",
    "phase_diagram": "sgdphases.figures.diagram:phase_diagram",
    "trajectories": "sgdphases.figures.trajectories:trajectories",
    "curves": "sgdphases.figures.curves:curves",
    "phase_plane": "sgdphases.figures.phase_plane:phase_plane",
    "dynamics": "sgdphases.figures.dynamics:dynamics",
    "poincare": "sgdphases.figures.poincare:poincare",
    "collapse": "sgdphases.figures.collapse:collapse",
    "decay": "sgdphases.figures.decay:decay",
    "scaling": "sgdphases.figures.scaling:scaling",
    "batch_collapse": "sgdphases.figures.scaling:batch_collapse",
    "spacing": "sgdphases.figures.spacing:spacing",
    "rate_portrait": "sgdphases.figures.rate_portrait:rate_portrait",
    "clock_curves": "sgdphases.figures.clock_curves:clock_curves",
    "catapult_peaks": "sgdphases.figures.catapult_peaks:catapult_peaks",
    "rate_exponents": "sgdphases.figures.rate_exponents:rate_exponents",
    "sharpness": "sgdphases.figures.sharpness:sharpness",
    "displacements": "sgdphases.figures.displacements:displacements",
    "orbits": "sgdphases.figures.orbits:orbits",
    "plane": "sgdphases.figures.planes:plane",
}
