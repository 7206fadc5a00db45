# SPDX-License-Identifier: Apache-2.0
"""The check of layers sees names of devices and plugins in code, and leaves comments and ordinary words alone."""

import importlib.util
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("check_layers", Path(__file__).parents[2] / "tools" / "check_layers.py")
check_layers = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(check_layers)


def named(text: str) -> bool:
    code = check_layers.code_of(text)
    return bool(check_layers.DEVICE_IN_CORE.search(code) or check_layers.PLUGIN_IN_CORE.search(code))


@pytest.mark.parametrize("text", [
    'constexpr const char* kKind = "cpu";', "#if defined(__aarch64__)", "bool is_cuda = true;", 'find("reference")',
    'if (name == "chaos") return;', "row.cpu_missing", "use_arm_kernels();", 'x = "opencl:0"; // fine',
])
def test_names_are_seen(text):
    assert named(text)


@pytest.mark.parametrize("text", [
    "// the cpu plugin", "/* cuda\n and chaos */ int x;", "last_reference(s);", "int alarm = warm;", "references(x)",
    'print("no // comment"); // arm',
])
def test_words_and_comments_are_not(text):
    assert not named(text)


def test_core_is_clean():
    assert check_layers.main() == 0
