# /// script
# requires-python = ">=3.12"
# dependencies = ["k-wave-python==0.6.2", "scipy", "pyyaml", "jsonschema"]
# ///
"""Reference fields by k-Wave (NumPy back end, single precision): `kwave_STRUCTURE.npz`.

    PYTHONPATH=. uv run tests/validation/kwave_reference.py 4mm|2mm

k-Wave solves the first-order equations of sound in time, with all reflections, on the medium and
from the source plane of `breast_medium.py`. It is not a dependency of the project: it wants an
older NumPy, so the line above runs it in an environment of its own. 5 CPU minutes each.
"""

from __future__ import annotations

import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import breast_medium as case
import numpy as np

# Importing kwave would fetch its C++ programs, which are not used.
urllib.request.urlretrieve = lambda url, path: Path(path).touch()

STRUCTURES = {"4mm": 4e-3, "2mm": 2e-3}
STEPS_PER_PERIOD, RAMP_PERIODS = 12, 5
DB_PER_NEPER = 20 / np.log(10)


def main(name: str) -> None:
    from kwave.solvers.kspace_solver import Simulation

    medium, shape = case.mixture(STRUCTURES[name]), case.SHAPE
    dt = 1 / (case.FREQUENCY * STEPS_PER_PERIOD)
    deepest = (shape[2] - 2 * case.LAYER) * case.SPACING
    # The longest oblique way, and half of it again for what is reflected.
    periods = int(1.3 * deepest / 1480 * case.FREQUENCY * 1.5) + RAMP_PERIODS + 2
    plane = np.zeros(shape, dtype=bool)
    plane[:, :, case.LAYER] = True
    t = dt * np.arange(periods * STEPS_PER_PERIOD)
    ramp = np.minimum(t * case.FREQUENCY / RAMP_PERIODS, 1)
    drive = (source_strength().ravel()[:, None] * np.exp(-2j * np.pi * case.FREQUENCY * t)).real
    # Stokes absorption: at one frequency only its value there counts.
    alpha = medium.attenuation / 100 * DB_PER_NEPER / (case.FREQUENCY * 1e-6) ** 2
    simulation = Simulation(
        SimpleNamespace(Nx=shape[0], Ny=shape[1], Nz=shape[2], dx=case.SPACING, dy=case.SPACING,
                        dz=case.SPACING, Nt=len(t), dt=dt),
        SimpleNamespace(sound_speed=medium.speed, density=medium.density,
                        alpha_coeff=alpha, alpha_power=2.0),
        SimpleNamespace(p_mask=plane, p=drive * ramp, p_mode="additive"),
        SimpleNamespace(mask=None, record=["p_final"], record_start_index=len(t)),
        use_sg=True, use_kspace=True, pml_size=(case.LAYER,) * 3, pml_alpha=(2.0,) * 3,
        quiet=True, dtype=np.float32)
    start, cpu = time.perf_counter(), time.process_time()
    field = np.zeros(shape, dtype=complex)
    while simulation.t < len(t):
        simulation.step()
        if simulation.t > len(t) - STEPS_PER_PERIOD:
            field += simulation.p * np.exp(2j * np.pi * case.FREQUENCY * simulation.t * dt)
        if simulation.t % 60 == 0:
            print(simulation.t, len(t), f"{time.perf_counter() - start:.0f} s", flush=True)
    amplitude = np.abs(field) * 2 / STEPS_PER_PERIOD
    inner = slice(case.LAYER, -case.LAYER)
    amplitude = amplitude[inner, inner, inner].transpose(2, 0, 1)  # planes along the beam
    peak = np.array(np.unravel_index(amplitude.argmax(), amplitude.shape))
    np.savez_compressed(
        Path(__file__).with_name(f"kwave_{name}.npz"),
        coarse=amplitude[::4, 1::3, 1::3].astype(np.float32), peak=peak,
        planes_x=amplitude[:, peak[1]].astype(np.float32),
        planes_z=amplitude[peak[0]].astype(np.float32),
        cpu_seconds=time.process_time() - cpu, seconds=time.perf_counter() - start)
    print(name, "peak", amplitude.max(), "at", peak, f"{time.process_time() - cpu:.0f} CPU s")


def source_strength() -> np.ndarray:
    """Strength of the layer of mass sources that sends out the beam.

    A layer radiates a plane wave k/kz times as strongly as it does one at normal incidence.
    """
    k0 = 2 * np.pi * case.FREQUENCY / 1500.0
    k = 2 * np.pi * np.fft.fftfreq(case.SHAPE[0], case.SPACING)
    cosine = np.sqrt(np.maximum(1 - (k[:, None] ** 2 + k**2) / k0**2, 0))
    return np.fft.ifft2(np.fft.fft2(case.beam()) * cosine)


if __name__ == "__main__":
    main(sys.argv[1])
