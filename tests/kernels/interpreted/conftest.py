"""These files run Triton kernels in NumPy, which triton decides when it is imported: in a process of their own.

`test_interpreted.py` starts that, one for all of them; by hand: `TRITON_INTERPRET=1 pytest tests/kernels/interpreted`.
"""

from __future__ import annotations

from kernels._choose import interpreting

collect_ignore_glob = [] if interpreting() else ["test_*.py"]
