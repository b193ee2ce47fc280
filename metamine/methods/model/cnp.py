"""Conditional neural processes."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor

from metamine.encoders.base import Encoder
from metamine.episode import Support
from metamine.methods.metric.class_means import class_means
from metamine.methods.model.neural_process import (
    Columns,
    Decoder,
    NeuralProcess,
    Rows,
    overall_mean,
)


class CNP(NeuralProcess):
    """Marta Garnelo, Dan Rosenbaum, Chris J. Maddison, Tiago Ramalho, David Saxton, Murray
    Shanahan, Yee Whye Teh, Danilo J. Rezende, S. M. Ali Eslami: "Conditional Neural Processes"
    (2018), equations 1 to 3.

    The support becomes one vector, the mean of what a network makes of its rows; a second network
    reads it beside a query row and answers with a distribution:

        r_i = h(x_i, y_i),    r = mean_i r_i
        regression:       y ~ N(mean, sigma^2),    (mean, sigma) = g(x, r)
        classification:   logit_c = g(x, r_c, mean_c r_c),    r_c = mean of r_i over y_i = c

    Trained by the likelihood of the query rows. For classification the paper lines up its r_c, so
    that their number and order are fixed; here the same g reads every class, beside the mean of
    all: there may be any number, under any names. x is the encoder's embedding; where that keeps
    columns apart, h and the first layer of g read each by itself, and g sums up what it saw.

    encoder: of x, in h and g.
    hidden: width of h, of g and of r.
    least_sigma: what sigma stays above.

    Good for regression with error bars; answers in one pass, at a cost that grows with S + Q.
    """

    def __init__(
        self,
        encoder: Encoder,
        hidden: PositiveInt,
        least_sigma: Annotated[float, Field(gt=0, lt=1)],
    ) -> None:
        super().__init__()
        self.encoder = Columns(encoder)
        self.rows = Rows(self.encoder.width, hidden)
        self.decoder = Decoder(self.encoder.width, hidden)
        self.least_sigma = least_sigma

    def outputs(
        self, support: Support, query_x: Float[Tensor, "T Q F"]
    ) -> Float[Tensor, "T Q C 2"]:
        z_TQKD = self.encoder(support, query_x)
        r_TCKH = class_means(self.rows(self.encoder(support, None), support), support)
        overall_TKH = overall_mean(r_TCKH, support)
        return self.decoder(z_TQKD, r_TCKH[:, None], overall_TKH, self.encoder.share(support))
