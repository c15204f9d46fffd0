"""The papers by citation key, as a file that rests on them cites them; `CITATION.cff` has them in full."""

CITATIONS: dict[str, str] = {
    "park2025phase": (
        "C. Park, B. Lucini, G. Aarts: Phase diagram and eigenvalue dynamics of stochastic gradient descent in "
        "multilayer neural networks (2025), https://arxiv.org/abs/2509.01349"
    ),
    "park2024coulomb": (
        "G. Aarts, B. Lucini, C. Park: Stochastic weight matrix dynamics during learning and Dyson Brownian motion "
        "(2025), https://doi.org/10.1103/PhysRevE.111.015303, https://arxiv.org/abs/2407.16427"
    ),
    "zhang2021edge": (
        "L. Zhang, L. Feng, K. Chen, C. H. Lai: Edge of chaos as a guiding principle for modern neural network "
        "training (2021), https://arxiv.org/abs/2107.09437"
    ),
    "zhang2019optimality": (
        "L. Feng, L. Zhang, C. H. Lai: Optimal Machine Intelligence at the Edge of Chaos (2019), "
        "https://arxiv.org/abs/1909.05176"
    ),
    "zhang2023asymptotic": (
        "L. Zhang, L. Feng, K. Chen, C. H. Lai: Asymptotic Edge of Chaos as Guiding Principle for Neural Network "
        "Training (2023), https://doi.org/10.1142/s2972335323500011"
    ),
    "kunin2021limiting": (
        "D. Kunin, J. Sagastuy-Brena, L. Gillespie, E. Margalit, H. Tanaka, S. Ganguli, D. L. K. Yamins: The Limiting "
        "Dynamics of SGD: Modified Loss, Phase-Space Oscillations, and Anomalous Diffusion (2024), "
        "https://doi.org/10.1162/neco_a_01626, https://arxiv.org/abs/2107.09133"
    ),
    "atanasov2024richness": (
        "A. Atanasov, A. Meterez, J. B. Simon, C. Pehlevan: The Optimization Landscape of SGD Across the Feature "
        "Learning Strength (2025), https://arxiv.org/abs/2410.04642"
    ),
}
