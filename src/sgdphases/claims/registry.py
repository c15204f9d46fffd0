"""Papers whose claims are entered: the citation key of a card, and the function that states them."""

PAPERS: dict[str, str] = {
    "park2025phase": "sgdphases.claims.park2025phase:statements",
    "park2024coulomb": "sgdphases.claims.park2024coulomb:statements",
}
