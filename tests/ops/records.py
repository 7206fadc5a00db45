# SPDX-License-Identifier: Apache-2.0
"""One record per op, by family. A new op of the table without a record here fails test_every_op_has_a_record."""

from __future__ import annotations

import records_elementwise
import records_index
import records_nn
import records_random
import records_reduce
import records_shape

RECORDS: dict = {}
for part in (records_elementwise, records_reduce, records_shape, records_index, records_nn, records_random):
    for name, record in part.RECORDS.items():
        assert name not in RECORDS, f"{name} has two records"
        RECORDS[name] = record
