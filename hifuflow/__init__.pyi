# ruff: noqa: I001 (in the order of the data)
from .study.patient import Patient as Patient, load_patient as load_patient
from .anatomy.settings import (
    AnatomySettings as AnatomySettings, ConstraintSettings as ConstraintSettings)
from .anatomy.build import build_anatomy as build_anatomy
from .anatomy.constraints import place_constraints as place_constraints
from .acoustics.settings import PlanSettings as PlanSettings, HeatingSettings as HeatingSettings
from .acoustics.plan import plan_treatment as plan_treatment
from .acoustics.heating import compute_heating as compute_heating
from .meshes.settings import MeshSettings as MeshSettings
from .meshes.build import mesh_anatomy as mesh_anatomy
from .fem.settings import ModelSettings as ModelSettings
from .fem.model import build_model as build_model
from .reduction.settings import ReductionSettings as ReductionSettings
from .reduction.reduce import reduce_model as reduce_model
from .controller.treatment_settings import TreatmentSettings as TreatmentSettings
from .controller.loop import run_treatment as run_treatment
from .records.anatomy import Anatomy as Anatomy
from .records.plan import Plan as Plan
from .records.heating import Heating as Heating
from .records.bioheat_model import BioheatModel as BioheatModel
from .records.reduced_model import ReducedModel as ReducedModel
from .records.trajectory import Trajectory as Trajectory
from .errors import HifuflowError as HifuflowError, InputError as InputError
