from mmrun.cli.braille import draw_curve


def test_a_falling_line():
    assert draw_curve([0, 1], [1, 0], width=4, height=2) == "⠑⢄⠀⠀\n⠀⠀⠑⢄"


def test_a_constant_is_at_the_top():
    assert draw_curve([0, 1], [3, 3], width=2, height=1) == "⠉⠉"


def test_a_steep_curve_has_no_gap():
    assert draw_curve([0, 0.1, 1], [1, 0, 0], width=2, height=2) == "⢱⠀\n⢸⣀"
