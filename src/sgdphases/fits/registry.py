"""Fits: the word of a card, and the function that makes the estimate from a cube."""

FITS: dict[str, str] = {
    "fractions": "sgdphases.fits.fractions:fractions",
    "boundaries": "sgdphases.fits.boundaries:boundaries",
    "averages": "sgdphases.fits.averages:averages",
    "published": "sgdphases.fits.published:published",
    "power_laws": "sgdphases.fits.power_laws:power_laws",
    "langevin": "sgdphases.fits.langevin:langevin",
    "spacing": "sgdphases.fits.spacing:spacing",
    "batch_boundary": "sgdphases.fits.batch:batch_boundary",
    "weight_growth": "sgdphases.fits.weight_growth:weight_growth",
    "growth_exponents": "sgdphases.fits.weight_growth:growth_exponents",
    "collapse": "sgdphases.fits.collapse:collapse",
    "optimum": "sgdphases.fits.optimum:optimum",
    "decay": "sgdphases.fits.decay:decay",
    "balance": "sgdphases.fits.balance:balance",
    "edges": "sgdphases.fits.edges:edges",
}
