from hifuflow.cholesky import ShiftedSolver


def shifted_solver(capacity, stiffness, kind):
    return ShiftedSolver(capacity, stiffness)
