"""Papers whose claims are entered: the citation key of a card, and the module that holds them."""

PAPERS: dict[str, str] = {
    "park2025phase": "sgdphases.claims.park2025phase",
    "park2024coulomb": "sgdphases.claims.park2024coulomb",
}
