"""The files between stages, one dataclass a file: what it holds, in which units, how it is stored.

Stages meet only here. SI units, temperatures in degrees Celsius, thermal dose in CEM43 minutes,
positions in the patient frame (RAS+, metres).
"""
