"""The package imports downwards only, without cycles, and docs/design.md names every part of it."""

import ast
import functools
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mmrun"

# Each part may import those of the lines before it. Imports inside functions count too.
FLOORS = [
    ["errors", "seeding", "installation", "version", "data_types", "kinds", "known_metrics"],
    ["values"],
    ["types", "head", "config", "digests", "plugins", "quoting", "hub"],
    ["processes", "towers", "recipe", "renamed"],
    ["hydra_internals", "instantiate", "code_version"],
    ["overrides", "augment_overrides", "dataset_path"],
    ["compose", "data", "models"],
    ["tasks"],
    ["objectives"],
    ["training"],
    ["testing", "results"],
    ["run", "search"],
    ["evaluation"],
    ["deploy"],
    ["cli"],
    ["api"],
    ["__main__"],
]


def module_name(file):
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@functools.cache
def read_imports():
    """Return, by module, the modules of the package that it imports."""
    files = {module_name(file): file for file in PACKAGE.rglob("*.py")}
    imports: dict[str, set[str]] = {}
    for module, file in files.items():
        imports[module] = set()
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [name if name in files else node.module for name in names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            imports[module] |= {name for name in names if name in files and name != module}
    return imports


def part_of(module):
    return module.split(".")[1] if "." in module else ""


def test_imports_only_go_down():
    floor = {part: number for number, parts in enumerate(FLOORS) for part in parts}
    upwards = []
    for module, imported in read_imports().items():
        for target in imported:
            part, target_part = part_of(module), part_of(target)
            if part and target_part and part != target_part and floor[target_part] >= floor[part]:
                upwards.append(f"{module} -> {target}")
    assert upwards == []


def test_no_import_cycle():
    remaining = dict(read_imports())
    while remaining:
        leaves = [module for module, imported in remaining.items() if not imported & remaining.keys()]
        assert leaves, f"a cycle among {', '.join(sorted(remaining))}"
        for module in leaves:
            del remaining[module]


def test_every_part_has_a_floor_and_a_place_in_the_map():
    parts = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    parts.discard("__init__")
    assert parts == {part for floor in FLOORS for part in floor}
    design = (ROOT / "docs" / "design.md").read_text()
    packages = design.split("## The packages")[1].split("## ")[0]
    missing = [
        part for part in sorted(parts - {"__main__"}) if f"  {part}/" not in packages and f"{part}.py" not in packages
    ]
    assert missing == []


def test_hydra_internals_stand_in_one_file():
    users = [file.name for file in PACKAGE.rglob("*.py") if "hydra._internal" in file.read_text()]
    assert users == ["hydra_internals.py"]


def test_the_installed_hydra_is_one_that_was_tested():
    from mmrun.hydra_internals import HYDRA_VERSIONS

    assert version("hydra-core") in HYDRA_VERSIONS
