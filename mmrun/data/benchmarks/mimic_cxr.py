"""MIMIC-CXR-JPG: chest radiographs with reports, and vital signs of MIMIC-IV-ED."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from mmrun.data.benchmarks.benchmark import Benchmark, Modality, Row
from mmrun.data.benchmarks.source import Source
from mmrun.errors import DataError

FINDINGS = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture"),
    *("Lung Lesion", "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia"),
    *("Pneumothorax", "Support Devices"),
)
VITALS = ("temperature", "heartrate", "resprate", "o2sat", "sbp", "dbp")
FRONTAL_VIEWS = ("PA", "AP")  # the first is preferred
SPLITS = {"train": "train", "validate": "val", "test": "test"}
PREFIX = "mimic-cxr-2.0.0-"  # also of version 2.1.0
INDICATION = re.compile(
    r"^[ \t]*(?:INDICATION|HISTORY|CLINICAL HISTORY|CLINICAL INFORMATION|REASON FOR EXAM(?:INATION)?)[ \t]*:"
    r"(.*?)(?=^[ \t]*[A-Z][A-Z \t/]*:|\Z)",
    re.DOTALL | re.MULTILINE,
)


class Study(NamedTuple):
    """The image that stands for a study.

    Attributes:
        patient: subject_id.
        image: dicom_id.
        view: one of FRONTAL_VIEWS.
        time: YYYYMMDDhhmmss.
    """

    patient: str
    image: str
    view: str
    time: str


class Stay(NamedTuple):
    """A stay in the emergency department.

    Attributes:
        start: YYYYMMDDhhmmss.
        end: YYYYMMDDhhmmss.
        name: stay_id.
    """

    start: str
    end: str
    name: str


def read_rows(source: Source) -> Iterator[Row]:
    """Yield a row for each study that has a frontal image and labels."""
    files = {name: _require_table(source, f"{PREFIX}{name}.csv") for name in ("metadata", "split", "chexpert")}
    source.require("files")
    studies = _select_images(source, files["metadata"])
    splits = {row["dicom_id"]: row["split"] for row in source.read_table(files["split"], ["dicom_id", "split"])}
    stays, vitals = _read_vitals(source, {study.patient for study in studies.values()})
    labelled = set()
    for cells in source.read_table(files["chexpert"], ["study_id", *FINDINGS]):
        name = cells["study_id"]
        study = studies.get(name)
        if study is None:
            continue
        labelled.add(name)
        split = splits.get(study.image)
        if split not in SPLITS:
            raise DataError(f"{files['split']}: image {study.image} is in split '{split}'; get the file again")
        folder = f"files/p{study.patient[:2]}/p{study.patient}"
        report = source.take_file("report", f"{folder}/s{name}.txt")
        row: Row = {"id": f"s{name}", "image": source.take_file("image", f"{folder}/s{name}/{study.image}.jpg")}
        row |= {"indication": None if report is None else read_indication(source.read_text(report)), "report": report}
        if vitals is not None:
            stay = _find_stay(stays.get(study.patient, []), study.time)
            row |= vitals.get(stay or "", dict.fromkeys(VITALS, None))
        positive = [finding for finding in FINDINGS if cells[finding] in ("1.0", "1")]
        yield row | {"findings": "|".join(positive) or "|", "patient": study.patient, "split": SPLITS[split]}
    unlabelled = len(studies.keys() - labelled)
    if unlabelled:
        source.left_out["studies without labels"] += unlabelled


def read_indication(report: str) -> str | None:
    """Return why a radiograph was taken, which is known before it is read; None if the report does not say.

    Args:
        report: all its text.
    """
    match = INDICATION.search(report)
    return (" ".join(match[1].split()) or None) if match else None


def _require_table(source: Source, name: str) -> str:
    return source.require(f"{name}.gz", name)


def _select_images(source: Source, table: str) -> dict[str, Study]:
    """Return one frontal image by study: the first PA, or the first AP."""
    columns = ["dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime"]
    studies: dict[str, Study] = {}
    all_studies = set()
    for cells in source.read_table(table, columns):
        name, view = cells["study_id"], cells["ViewPosition"]
        all_studies.add(name)
        if view not in FRONTAL_VIEWS:
            continue
        if name not in studies or (view, studies[name].view) == FRONTAL_VIEWS:
            time = cells["StudyDate"] + cells["StudyTime"].partition(".")[0].zfill(6)
            studies[name] = Study(cells["subject_id"], cells["dicom_id"], view, time)
    without_frontal = len(all_studies) - len(studies)
    if without_frontal:
        source.left_out["studies without a frontal image"] += without_frontal
    return studies


def _read_vitals(source: Source, patients: set[str]) -> tuple[dict[str, list[Stay]], dict[str, Row] | None]:
    """Return the stays by patient and the vital signs by stay; None if MIMIC-IV-ED is not there."""
    stay_table = source.find("ed/edstays.csv.gz", "mimic-iv-ed/ed/edstays.csv.gz", "ed/edstays.csv")
    triage_table = source.find("ed/triage.csv.gz", "mimic-iv-ed/ed/triage.csv.gz", "ed/triage.csv")
    if stay_table is None or triage_table is None:
        source.notes.append("ed/edstays.csv.gz and ed/triage.csv.gz (MIMIC-IV-ED) are not there: no vitals")
        return {}, None
    stays: dict[str, list[Stay]] = {}
    names = set()
    for cells in source.read_table(stay_table, ["subject_id", "stay_id", "intime", "outtime"]):
        if cells["subject_id"] in patients:
            stay = Stay(_pack_time(cells["intime"]), _pack_time(cells["outtime"]), cells["stay_id"])
            stays.setdefault(cells["subject_id"], []).append(stay)
            names.add(stay.name)
    vitals: dict[str, Row] = {}
    for cells in source.read_table(triage_table, ["stay_id", *VITALS]):
        if cells["stay_id"] in names:
            vitals[cells["stay_id"]] = {name: cells[name] or None for name in VITALS}
    return stays, vitals


def _pack_time(text: str) -> str:
    return re.sub(r"\D", "", text)


def _find_stay(stays: list[Stay], time: str) -> str | None:
    """Return the stay during which a radiograph was taken."""
    return next((stay.name for stay in stays if stay.start <= time <= stay.end), None)


BENCHMARK = Benchmark(
    title="MIMIC-CXR-JPG",
    paper="Johnson et al., 2019",
    url="https://physionet.org/content/mimic-cxr-jpg; reports: mimic-cxr (mimic-cxr-reports.zip); vitals: mimic-iv-ed",
    size="227,827 studies of 65,379 patients, 377,110 images; about 570 GB",
    license="PhysioNet Credentialed Health Data License 1.5.0: training and a signed agreement are needed",
    layout=(
        "mimic-cxr-2.0.0-metadata.csv.gz, mimic-cxr-2.0.0-split.csv.gz, mimic-cxr-2.0.0-chexpert.csv.gz",
        "files/p10/p10000032/s50414267/02aa804e-....jpg",
        "files/p10/p10000032/s50414267.txt (unpacked from mimic-cxr-reports.zip)",
        "ed/edstays.csv.gz, ed/triage.csv.gz (MIMIC-IV-ED; vitals)",
    ),
    modalities={
        "image": Modality("image"),
        "indication": Modality("text"),
        "vitals": Modality("tabular", VITALS),
    },
    target="findings",
    task="multilabel",
    group="patient",
    split="official, by patient",
    metric="AUROC by finding",
    num_rows=227827,
    read_rows=read_rows,
    caution="the labels were computed from the reports, so the command below does not read `report`, only the reason "
    "for the radiograph; uncertain labels count as negative; a study is represented by one frontal image",
)
