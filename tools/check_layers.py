"""Keeps the directions of dependencies: which folder may include which, and that core names no device or plugin.

    python tools/check_layers.py
"""

import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
SOURCES = {".h", ".hpp", ".cc", ".c", ".cpp"}

# Folder -> prefixes of quoted or angled project includes that it may use.
ALLOWED = {
    "kernel_api": ["tengen/kernel_api", "tengen/custom_ops"],
    "registry": ["tengen/kernel_api", "tengen/registry.h", "internal.h"],
    "plugins": ["tengen/kernel_api", "tengen/ext/"],
    "core/base": ["tengen/"],
    "core/runtime": ["tengen/", "runtime/"],
    "core/tensor": ["tengen/", "runtime/", "tensor/", "autograd/node.h"],
    "core/dispatch": ["tengen/", "runtime/", "tensor/", "dispatch/", "autograd/node.h", "transform/transform.h"],
    "core/ops": ["tengen/", "ops/"],
    "core/autograd": ["tengen/", "autograd/"],
    "core/transform": ["tengen/", "autograd/", "dispatch/", "transform/"],
    "core/graph": ["tengen/", "graph/", "dispatch/", "runtime/", "autograd/node.h"],
    "core/compile": ["tengen/", "compile/", "dispatch/", "runtime/"],
    "core/serialize": ["tengen/", "serialize/"],
    "core/include": ["tengen/"],
}
FORBIDDEN_IN_OPS = ["tengen/registry.h"]
# What code in core (comments aside) must not say: words for devices, also as a part of an identifier, and whole words that are
# names of plugins of this tree.
DEVICES = "cpu gpu npu tpu xpu cuda rocm hip opencl metal vulkan sycl arm neon avx x86 aarch64 dnnl onednn".split()
DEVICE_IN_CORE = re.compile(rf"(?<![a-z])({'|'.join(DEVICES)})(?![a-z])", re.IGNORECASE)
PLUGINS = sorted(p.name for p in (TOP / "plugins").iterdir() if p.is_dir())
PLUGIN_IN_CORE = re.compile(rf"\b({'|'.join(PLUGINS)})\b", re.IGNORECASE)
COMMENT_OR_STRING = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)


def is_project(kind: str, path: str) -> bool:
    return path.startswith("tengen/") or (kind == '"' and "/" in path)


def code_of(text: str) -> str:
    """The text without its comments, line for line."""
    return COMMENT_OR_STRING.sub(lambda m: m[0] if m[0][0] == '"' else re.sub(r"[^\n]", " ", m[0]), text)


def main() -> int:
    problems = []
    for folder, prefixes in ALLOWED.items():
        for file in sorted((TOP / folder).rglob("*")):
            if file.suffix not in SOURCES or "tests" in file.parts:
                continue
            for kind, path in INCLUDE.findall(file.read_text(encoding="utf-8")):
                if not is_project(kind, path):
                    continue
                local = (file.parent / path).exists() or (TOP / folder / path).exists()
                ok = any(path.startswith(p) for p in prefixes)
                if folder == "plugins":  # inside one plugin anything goes; a plugin may use another's public kernels
                    ok = ok or not path.startswith("tengen/")
                if not ok and not (local and folder in ("registry", "kernel_api")):
                    problems.append(f"{file.relative_to(TOP)}: may not include {path}")
                if folder == "core/ops" and path in FORBIDDEN_IN_OPS:
                    problems.append(f"{file.relative_to(TOP)}: may not include {path}")
    for file in sorted((TOP / "core").rglob("*")):
        if file.suffix not in SOURCES:
            continue
        for number, line in enumerate(code_of(file.read_text(encoding="utf-8")).splitlines(), 1):
            if DEVICE_IN_CORE.search(line) or PLUGIN_IN_CORE.search(line):
                problems.append(f"{file.relative_to(TOP)}:{number}: names a device type or a plugin: {line.strip()}")
    for problem in problems:
        print(problem)
    print(f"check_layers: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
