"""Balanced, modal and reachable-space truncation compared at the same orders and treatment."""

from __future__ import annotations

import numpy as np

from .balance import Balanced
from .low_rank import ModalModel
from .order import truncated
from .replay import replay_error

ORDERS = 6  # that are compared


def error_against_order(modal: ModalModel, balanced: Balanced, truth, powers, step: float) -> dict:
    """Largest error over all outputs in a replayed treatment [K], up to the order of `balanced`.

    "modal" keeps the modes with the largest ||b|| ||c|| / rate, "reachable_space" the leading
    eigenvectors of the reachability Gramian, by a Galerkin projection. Both keep A symmetric.

    Returns
    -------
    {"order": [...], "balanced_k": [...], "modal_k": [...], "reachable_space_k": [...]}
    """
    orders = np.unique(np.geomspace(min(10, len(balanced.A)), len(balanced.A), ORDERS).astype(int))
    rates, inputs, outputs = modal.rates, modal.inputs, modal.outputs
    gramian = (inputs @ inputs.T) / (rates[:, None] + rates)
    leading = np.linalg.eigh(gramian)[1][:, ::-1]
    weight = np.linalg.norm(inputs, axis=1) * np.linalg.norm(outputs, axis=0) / rates
    dominant = np.argsort(-weight, kind="stable")
    errors = {"order": orders.tolist(), "balanced_k": [], "modal_k": [], "reachable_space_k": []}
    for order in orders:
        kept, space = dominant[:order], leading[:, :order]
        models = {
            "balanced_k": truncated(balanced, order),
            "modal_k": Balanced(np.diag(-rates[kept]), inputs[kept], outputs[:, kept], None),
            "reachable_space_k": Balanced(-(space.T * rates) @ space, space.T @ inputs,
                                          outputs @ space, None)}
        for name, model in models.items():
            errors[name].append(float(replay_error(truth, model, powers, step).max()))
    return errors
