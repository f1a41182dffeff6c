from mmrun.head import FUSED, Head


def test_a_probe_whose_encoder_is_trained_without_it_is_no_head_of_the_run(open_run):
    assert open_run("strategy=component_supervised").heads == [FUSED]
    assert open_run("strategy=unimodal", name="unimodal").heads == [Head("a"), Head("b")]


def test_a_part_is_built_from_its_own_config(open_run):
    session = open_run()
    assert session.part_config("encoder.a")["dims"] == [8]
    assert session.part_config("fusion")[1] == {"a": 8, "b": 8}
    assert session.part_config("head.label") == session.part_config("probe.a")


def test_noise_differs_between_stages_and_resumed_processes(open_run):
    session = open_run()
    seeds = {session.noise_seed("pretrain"), session.noise_seed("finetune"), session.noise_seed("finetune", "/3")}
    assert len(seeds) == 3


def test_loaders_read_the_rows_of_a_split_once(open_run):
    session = open_run()
    rows = [row for batch in session.ordered("val", ["a"]) for row in batch.index.tolist()]
    assert rows == session.data.rows["val"].tolist()
    assert list(next(session.ordered("val", ["a"])).inputs) == ["a"]
