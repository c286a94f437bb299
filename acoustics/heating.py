"""Heat that every focus deposits per watt of acoustic power."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import ndimage

from hifuflow.artifacts import Anatomy, Heating, Plan
from hifuflow.errors import InputError, NumericalError
from hifuflow.job import Progress, log

from .angular_spectrum import HybridAngularSpectrum
from .grid import BeamGrid, place_grid, sample_medium
from .source import source_plane
from .storage import HELD, choose_box, choose_coarsening, coarsen
from .transducer import Transducer

FINEST_WAVELENGTHS, COARSEST_WAVELENGTHS = 0.1, 0.6
CELL_LIMIT = 60_000_000
BALANCE_TOLERANCE = 0.01


def compute_heating(anatomy: Anatomy, plan: Plan, transducer: dict, tissues: dict, config: dict,
                    threads: int = 1) -> Heating:
    """Absorbed power density q = 2 alpha_abs I, I = |p|^2/(2 rho c), of every focus at 1 W.

    The array's pressure on a plane in the water (`source_plane`) is carried through the body by
    the hybrid angular spectrum method. Cells on a boundary absorb in proportion to the part of
    them that lies in the body.

    Parameters
    ----------
    transducer : content of a file in `config/transducers`.
    tissues : tissue name -> properties; `water` and every tissue of the anatomy.
    config : {"file": the patient file, "spacing_mm": edge length of the beam's grid cells}.
    threads : foci computed at the same time.

    Returns
    -------
    Heating; `q` is cropped to the box that holds 99.9 % of the absorbed power, and averaged over
    2^3 (3^3, ...) cells where all foci would otherwise not fit into a reasonable file.

    Raises
    ------
    InputError : a spacing that does not suit the wave or needs too many cells, a body that does
        not absorb.
    NumericalError : more power absorbed than radiated.
    """
    device = Transducer.from_config(transducer)
    water = tissues["water"]
    water_speed = water["speed_of_sound_m_s"]
    grid = check_grid(anatomy, plan, transducer, water_speed, config)
    spacing = grid.spacing
    medium = sample_medium(anatomy, grid, tissues, device.frequency)
    log.info("beam grid %d x %d x %d cells of %.2f mm, first plane %.1f mm from the apex",
             *grid.shape[1:], grid.shape[0], spacing * 1e3, grid.z[0] * 1e3)
    foci = grid.to_beam(plan.foci)
    middle = foci.mean(axis=0, keepdims=True)
    sources = source_plane(device, np.vstack([foci, middle]), grid.x, grid.y, grid.z[0], 1.0,
                           water["density_kg_m3"], water_speed)
    beam = HybridAngularSpectrum(medium, np.full(3, spacing), sources[-1])
    absorbing = medium.absorption / medium.impedance
    if not absorbing.any():
        raise InputError("nothing on the beam's way absorbs, so no heat is deposited",
                         file=config["file"], key="tissues.*.absorption_np_m_mhz", value=0,
                         allowed="> 0 in the body")
    return _all_foci(plan, device, grid, beam, absorbing, sources[:-1], threads)


def check_grid(anatomy: Anatomy, plan: Plan, transducer: dict, water_speed: float,
               config: dict) -> BeamGrid:
    """The beam's grid, once its spacing suits the wave and its size is one to compute with.

    Parameters
    ----------
    water_speed : speed of sound in water [m/s].  Others : see `compute_heating`.

    Raises
    ------
    InputError : a spacing that does not suit the wavelength or needs too many cells.
    """
    device = Transducer.from_config(transducer)
    spacing = _spacing(config, water_speed / device.frequency)
    grid = place_grid(anatomy, plan, device, spacing, water_speed)
    _check_size(grid, config)
    return grid


def _all_foci(plan: Plan, device: Transducer, grid: BeamGrid, beam: HybridAngularSpectrum,
              absorbing: np.ndarray, sources: np.ndarray, threads: int) -> Heating:
    foci = grid.to_beam(plan.foci)
    cell = grid.spacing**3

    def heat(source):
        squared = beam.squared_amplitude(source)
        return squared, squared * absorbing

    outermost = np.unique(np.concatenate([foci.argmin(axis=0), foci.argmax(axis=0)]))
    profiles = []
    with ThreadPoolExecutor(threads) as pool:
        for _, q in pool.map(heat, sources[outermost]):
            profiles.append([q.sum(axis=axes, dtype=float) for axes in ((1, 2), (0, 2), (0, 1))])
    box = choose_box(profiles)
    factor = choose_coarsening(box, len(foci))
    stored_shape = [-(-(part.stop - part.start) // factor) for part in box]
    out = np.empty((len(foci), stored_shape[1], stored_shape[2], stored_shape[0]), np.float32)
    pressure, total = np.empty(len(foci)), np.empty(len(foci))

    def work(i):
        squared, q = heat(sources[i])
        total[i] = q.sum(dtype=float) * cell
        pressure[i] = _at_focus(squared, grid, foci[i])
        out[i] = coarsen(q[box], factor).transpose(1, 2, 0)
        _check_balance(i, total[i], beam.power(sources[i]))

    with Progress("heating", len(foci), "foci") as progress, ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, range(len(foci))):
            progress.advance()
    fraction = out.sum(axis=(1, 2, 3), dtype=float) * cell * factor**3
    held = (fraction / total).min()
    log.info("absorbed %.1f to %.1f %% of the acoustic power; the stored %d x %d x %d cells of "
             "%.2f mm hold at least %.2f %% of it", fraction.min() * 100, fraction.max() * 100,
             *out.shape[1:], grid.spacing * factor * 1e3, held * 100)
    if held < 2 * HELD - 1:
        raise NumericalError(f"the stored box holds only {held:.2%} of the absorbed power")
    return Heating(out, _stored_affine(grid, box, factor), plan.foci.copy(), pressure, fraction,
                   device.frequency, device.name)


def _check_balance(focus: int, absorbed: float, incident: float) -> None:
    if not absorbed <= min(incident, 1.0) * (1 + BALANCE_TOLERANCE):
        raise NumericalError(f"focus {focus + 1}: {absorbed:.4f} W absorbed of {incident:.4f} W "
                             "that enter at 1 W radiated")


def _at_focus(squared: np.ndarray, grid: BeamGrid, focus: np.ndarray) -> float:
    """|p| at the planned focus by cubic splines over the cells around it [Pa]."""
    index = ([focus[2], focus[0], focus[1]] - np.array([grid.z[0], grid.x[0], grid.y[0]]))
    index /= grid.spacing
    low = np.clip(np.rint(index).astype(int) - 6, 0, np.array(squared.shape) - 1)
    block = np.sqrt(squared[tuple(slice(start, start + 13) for start in low)])
    return float(ndimage.map_coordinates(block, (index - low)[:, None], order=3, mode="nearest")[0])


def _stored_affine(grid: BeamGrid, box, factor: int) -> np.ndarray:
    """Index of the stored cells to patient position: the centre of factor^3 grid cells."""
    affine = grid.affine
    first = np.array([box[1].start, box[2].start, box[0].start]) + (factor - 1) / 2
    affine[:3, 3] += affine[:3, :3] @ first
    affine[:3, :3] *= factor
    return affine


def _spacing(config: dict, wavelength: float) -> float:
    """The grid's spacing [m], which must suit the wavelength."""
    value = config["spacing_mm"]
    low, high = (part * wavelength * 1e3 for part in (FINEST_WAVELENGTHS, COARSEST_WAVELENGTHS))
    if not low <= value <= high:
        raise InputError("does not resolve the wave" if value > high else
                         "is needlessly fine", file=config["file"], key="acoustics.spacing_mm",
                         value=value, allowed=f"{low:.3g} to {high:.3g}, {FINEST_WAVELENGTHS} to "
                                              f"{COARSEST_WAVELENGTHS} wavelengths in water")
    return value * 1e-3


def _check_size(grid: BeamGrid, config: dict) -> None:
    nz, nx, ny = grid.shape
    if nx * ny * nz > CELL_LIMIT:
        raise InputError(f"the beam's grid would have {nx} x {ny} x {nz} cells",
                         file=config["file"], key="acoustics.spacing_mm",
                         value=config["spacing_mm"],
                         allowed=f"at most {CELL_LIMIT} cells: a larger spacing, or a smaller "
                                 "anatomy.crop_margin_mm")
