# Sourced by the scripts beside it: sets $root, and `need EXTRA` makes .venv hold mmrun with an extra ("" for none).
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv

# What a .venv was made for; a changed file, a moved folder or another Python makes it stale.
describe_venv() {
    echo "extra=$1 root=$root"
    cat "$root/pyproject.toml" "$root/constraints.txt"
}

fits() { # EXTRA: is the .venv whole, and does it hold the extra?
    [ -x "$venv/bin/python" ] && [ -f "$venv/made-for$1" ] && describe_venv "$1" | cmp -s - "$venv/made-for$1"
}

python3_of_system() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    echo "mmrun needs Python 3.11 or newer as python3" >&2
    exit 1
}

need() {
    if fits "$1" || { [ -z "$1" ] && fits dev; }; then return; fi
    exec 9>"$root/.venv.lock"
    flock 9 2>/dev/null || true # two first calls at once: the second waits
    if fits "$1"; then return; fi
    echo "mmrun: preparing .venv (once; some minutes, some GB)" >&2
    rm -f "$venv"/made-for*
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        rm -rf "$venv"
        "$(python3_of_system)" -m venv "$venv"
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        -c "$root/constraints.txt" -e "$root${1:+[$1]}" >&2 || exit 1
    describe_venv "$1" >"$venv/made-for$1"
    echo "mmrun: .venv is ready; \`. .venv/bin/activate\` makes mmrun a command of this shell" >&2
    exec 9>&-
}
