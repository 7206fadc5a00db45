# SPDX-License-Identifier: Apache-2.0
"""All records: RECORDS of every records_<family>.py here. A new op of the table without one fails test_every_op_has_a_record."""

from __future__ import annotations

import importlib
from pathlib import Path

RECORDS: dict = {}
for path in sorted(Path(__file__).parent.glob("records_*.py")):
    for name, record in importlib.import_module(path.stem).RECORDS.items():
        assert name not in RECORDS, f"{name} has two records"
        RECORDS[name] = record
