"""What arXiv 2410.04642 says (A. Atanasov, A. Meterez, J. B. Simon, C. Pehlevan, 2025): richness and learning rates.

Networks whose centred output is divided by the richness γ are lazy where it is small and learn features where it is
large. Expected values and tolerances stand as they were written down before the runs. The full text was not at hand:
statements are the abstract's, its reviews' and the released program's, numbers of figures may be off. Learning rates
(claims 1 to 7) stand in `atanasov2024rates`, the course of training (8 to 10, 14, 20) in `atanasov2024time`, curvature,
kernels and outputs (11 to 13, 15 to 18) in `atanasov2024landscape`, what the study asks beyond (22 to 25) in
`atanasov2024beyond`; here what needs other networks than perceptrons.
"""

import math

from sgdphases.claims import atanasov2024beyond, atanasov2024landscape, atanasov2024rates, atanasov2024time
from sgdphases.claims.claim import Claim, Needs, Statement, Tolerance, listed, single
from sgdphases.claims.readings import unreachable
from sgdphases.claims.richness_conditions import PAPER, OnStrips

CONVOLUTIONAL_LAYERS = 4
NO_CIFAR = "needs CIFAR-5M, three seeds and the best learning rate of every richness, on a GPU"


def statements() -> list[Statement]:
    """All claims of the paper that the study follows, and what it asks beyond them, by number."""
    own = [_accuracy(), _architectures()]
    parts = (module.statements() for module in (atanasov2024rates, atanasov2024time, atanasov2024landscape))
    found = [statement for part in parts for statement in part]
    return sorted([*found, *own, *atanasov2024beyond.statements()], key=lambda statement: statement.name)


def _accuracy() -> Statement:
    """Claim 19; claim 24 is the same of networks that are trained here."""
    return single(
        Claim(
            name="richness-19",
            source=f"{PAPER}, Fig. 2b",
            quantity="test accuracy of richness 1 and more less that of richness 1, one pass",
            expected=math.nan,
            tolerance=Tolerance("above", -0.01),
            needs=Needs(),
            measure=unreachable(NO_CIFAR),
        )
    )


def _architectures() -> Statement:
    """Claim 21. A residual network with batch normalisation has no depth to compare with."""
    parts = [
        Claim(
            name="",
            source=f"{PAPER}, Figs. 1c, 1d",
            quantity=quantity,
            expected=expected,
            tolerance=Tolerance("absolute", 0.15),
            needs=OnStrips(
                network="cnn",
                layers=(CONVOLUTIONAL_LAYERS,),
                spans=atanasov2024rates.grid(regime),
                least_steps=atanasov2024rates.STEPS,
                fits=(atanasov2024rates.EXPONENTS,),
            ),
            measure=atanasov2024rates.largest(regime, CONVOLUTIONAL_LAYERS),
        )
        for quantity, regime, expected in (("lazy", "lazy", 2.0), ("rich, L = 4", "rich", 0.5))
    ]
    return listed("richness-21", "power of the richness in the largest learning rate of convolutional networks", parts)
