"""Body only in the inner loop: adapting everything but the head."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeInt, PositiveFloat
from torch import Tensor, nn

from metamine.encoders.base import Encoder
from metamine.episode import Support
from metamine.methods.base import Method, only_present
from metamine.methods.optimization.inner_loop import clipped, descend
from metamine.methods.optimization.network import Network, Weights


class BOIL(Method):
    """Jaehoon Oh, Hyungjun Yoo, ChangHwan Kim, Se-Young Yun: "BOIL: Towards Representation Change
    for Few-shot Learning" (2021), section 3.

    MAML whose inner loop leaves the head w alone, so that embeddings have to move towards it:

        theta_0 = theta,    theta_(j+1) = theta_j - alpha grad_theta L_support(theta_j, w)
        min over theta, w of L_query(theta_K, w)

    A head that is the same for every class would give the body no gradient. Here w_k = w * a_k for
    class k, with a learned vector a_k for each of `max_classes`; beyond, classes share. Which class
    of a task is called k therefore matters, but not to the unadapted network, whose logits have the
    mean 0 over the support rows. The paper only classifies; regression has w alone.

    encoder: the body theta; best one with weights for each column, for the head has none.
    max_classes: class vectors.
    inner_lr: alpha.
    inner_steps: K.
    inner_clip: bound on the norm of each task's gradient; null is the paper's algorithm.
    first_order: drop the second derivatives, as in first-order MAML.

    Good for tasks that need other features than those of training; costs as much as MAML.
    """

    any_class_names: ClassVar[bool] = False

    def __init__(
        self,
        encoder: Encoder,
        max_classes: Annotated[int, Field(ge=2)],
        inner_lr: PositiveFloat,
        inner_steps: NonNegativeInt,
        inner_clip: PositiveFloat | None,
        first_order: bool,
    ) -> None:
        super().__init__()
        self.network = Network(encoder)
        self.classes = nn.Parameter(torch.randn(max_classes, encoder.width))
        self.inner_lr, self.inner_steps = inner_lr, inner_steps
        self.inner_clip, self.first_order = inner_clip, first_order

    def predict(self, support: Support, query_x: Float[Tensor, "T Q F"]) -> Float[Tensor, "T Q C"]:
        body = self.network.initial(support)
        head = {name: body.pop(name) for name in ("head", "bias")}
        if support.kind == "classification":
            ids_C = torch.arange(support.way, device=support.x.device) % len(self.classes)
            apart = self.network.spread({"head": self.classes[ids_C]}, support)
            head["head"] = head["head"] * apart["head"]
            unadapted_TSC = self.network.read(head, self.network.encoder(support, None))
            head["bias"] = head["bias"] - unadapted_TSC.mean(dim=1)
        body = descend(
            lambda body: self.network.losses(body | head, support),
            body,
            self._step,
            self.inner_steps,
            second_order=not self.first_order,
        )
        return only_present(self.network.outputs(body | head, support, query_x), support)

    def _step(self, step: int, body: Weights, slopes: Weights) -> Weights:
        slopes = clipped(slopes, self.inner_clip)
        return {name: weight - self.inner_lr * slopes[name] for name, weight in body.items()}
