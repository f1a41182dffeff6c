"""mmrun data check: what it needs."""

import subprocess
import sys


def test_a_table_is_checked_without_torch(tmp_path):
    lines = [f"{row}.5,{row % 7},{'ab'[row % 2]}" for row in range(60)]
    (tmp_path / "table.csv").write_text("\n".join(["age,visits,label", *lines]))
    code = (
        "import sys; from mmrun.cli import main; "
        "print(main(['data', 'check', 'table.csv', '--no-labels']), {'torch', 'sklearn'} & set(sys.modules))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert printed.stdout.splitlines()[-1] == "0 set()"
