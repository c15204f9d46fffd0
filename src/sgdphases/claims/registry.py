"""Papers whose claims are entered: the citation key of a card, and the function that states them."""

PAPERS: dict[str, str] = {
    "park2025phase": "sgdphases.claims.park2025phase:statements",
    "park2024coulomb": "sgdphases.claims.park2024coulomb:statements",
    "zhang2021edge": "sgdphases.claims.zhang2021edge:statements",
    "zhang2019optimality": "sgdphases.claims.zhang2019optimality:statements",
    "zhang2023asymptotic": "sgdphases.claims.zhang2023asymptotic:statements",
    "atanasov2024richness": "sgdphases.claims.atanasov2024richness:statements",
    "kunin2021limiting": "sgdphases.claims.kunin2021limiting:statements",
}
