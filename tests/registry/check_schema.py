# SPDX-License-Identifier: Apache-2.0
"""Checks kernel_api/plugin.schema.json against manifests.json: the schema and the C++ reader must agree, case by case.

usage: check_schema.py SCHEMA MANIFESTS. Exit status 77 (skipped) where the package jsonschema is missing.
"""

import copy
import json
import sys


def merged(base, patch):
    """RFC 7386: a null removes, an object merges, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    out = copy.deepcopy(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merged(out.get(key), value)
    return out


def main():
    try:
        import jsonschema
    except ImportError:
        print("skipped: the Python package jsonschema is not installed")
        return 77
    schema = json.load(open(sys.argv[1]))
    table = json.load(open(sys.argv[2]))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    wrong = 0
    for case in table["cases"]:
        good = validator.is_valid(merged(table["base"], case["patch"]))
        expected = case.get("schema", "error" not in case)
        if good != expected:
            wrong += 1
            print(f"{case['why']}: the schema says {good}, expected {expected}")
    print(f"{len(table['cases'])} manifests, {wrong} wrong")
    return 1 if wrong or len(table["cases"]) < 40 else 0


if __name__ == "__main__":
    sys.exit(main())
