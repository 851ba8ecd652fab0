"""The pose benchmark's parts: joints of six data sets, geometry, measures, tables."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pose_people import SPOTS, FakeModel, FloatArray, Rooms, coco, load_rooms, person

from acf_edge.errors import InputError
from acf_edge.imaging.files import write_image


@pytest.fixture
def rooms(monkeypatch: pytest.MonkeyPatch) -> Rooms:
    return load_rooms(monkeypatch)


# What the sets' joints become.


def test_joints_are_coco_s_and_the_landmarks_are_those_of_mediapipe(rooms: Rooms) -> None:
    assert rooms.data.JOINTS[:5] == ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
    assert rooms.data.JOINTS[5:7] == ("left_shoulder", "right_shoulder")
    assert rooms.data.JOINTS[-2:] == ("left_ankle", "right_ankle")
    body = (11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
    assert rooms.model.LANDMARKS[:5] == (0, 2, 5, 7, 8)
    assert rooms.model.LANDMARKS[5:] == body
    tens = [26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]
    assert [round(1000 * sigma) for sigma in rooms.metrics.SIGMAS] == tens


# file, photo's name, names of its keypoints, how it names the photo
SETS = [
    (
        "aic_gt.json",
        "aic_0123456789ab.png",
        "Right Shoulder, Left Shoulder, Right Hip, Left Hip, Right Knee, Left Knee, Head top, Neck",
        "0123456789abcdef0123.jpg",
    ),
    (
        "crowdpose_gt.json",
        "crowdpose_7.png",
        "right_shoulder, left_shoulder, right_hip, left_hip, right_knee, left_knee, head, neck",
        "7.jpg",
    ),
    (
        "posetrack18_gt.json",
        "posetrack_0034_mpii_test_000000.png",
        "right_shoulder, left_shoulder, right_hip, left_hip, right_knee, left_knee, "
        "head_top, head_bottom",
        "images/val/0034_mpii_test/000000.jpg",
    ),
]


@pytest.mark.parametrize(("file", "photo", "names", "source"), SETS)
def test_sets_in_coco_s_format_name_their_own_joints(
    rooms: Rooms, tmp_path: Path, file: str, photo: str, names: str, source: str
) -> None:
    write_image(tmp_path / "images" / photo, np.zeros((90, 80, 3), np.uint8))
    (tmp_path / "annotations").mkdir()
    places = [[20, 30, 2], [50, 30, 1], [25, 60, 1], [45, 60, 1], [25, 80, 1], [45, 80, 1]]
    places += [[35, 5, 1], [35, 25, 1]]
    image = {"id": 3, "file_name": source, "width": 80, "height": 90}
    text = coco(names.split(", "), [image], [person(3, places, [10, -4, 50, 100])])
    (tmp_path / "annotations" / file).write_text(text)
    (subject,), left_out = rooms.data.annotated(tmp_path)
    assert (subject.photo.name, left_out) == (photo, {})
    assert subject.box == rooms.data.Box(10, 0, 50, 90)  # cut to the photo
    at = dict(zip(rooms.data.JOINTS, subject.truth.points, strict=True))
    assert at["right_shoulder"].tolist() == [20.5, 30.5]
    assert at["left_knee"].tolist() == [45.5, 80.5]
    assert np.isnan(at["nose"]).all() and np.isnan(at["left_ankle"]).all()
    assert (subject.truth.ruler, subject.truth.tolerance) == ("head", 10.0)
    assert subject.truth.area == pytest.approx(0.53 * 50 * 90)
    assert rooms.data.with_annotations(tmp_path) == {subject.photo}


def test_mpii_counts_from_one_and_has_no_boxes(rooms: Rooms, tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "mpii_9.png", np.zeros((100, 100, 3), np.uint8))
    (tmp_path / "annotations").mkdir()
    joints = [[index + 1, 10 * index + 1] for index in range(10)] + [[30, 2]] * 6
    entry = {"image": "9.jpg", "joints": joints, "joints_vis": [0] + [1] * 15}
    (tmp_path / "annotations" / "mpii_gt.json").write_text(json.dumps([entry]))
    (subject,), _ = rooms.data.annotated(tmp_path)
    at = dict(zip(rooms.data.JOINTS, subject.truth.points, strict=True))
    assert np.isnan(at["right_ankle"]).all()
    assert at["right_knee"].tolist() == [1.5, 10.5]
    assert at["left_wrist"].tolist() == [29.5, 1.5]
    assert subject.truth.ruler == "head"  # from joint 8, the neck, to joint 9
    assert subject.truth.tolerance == pytest.approx(0.5 * math.hypot(1, 10))
    # 1.5 to 90.5 high: a tenth of it more on each side, as far as the photo goes.
    assert (subject.box.y, subject.box.height) == (0, pytest.approx(99.4))


def test_whom_a_single_person_model_cannot_be_asked_for(rooms: Rooms, tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "1.png", np.zeros((100, 300, 3), np.uint8))
    (tmp_path / "annotations").mkdir()

    def points(known: int, left: float) -> list[list[float]]:
        spots = [[left + 40 * x, 80 * y, 2] for x, y in SPOTS[::-1][:known]]
        return ([[0, 0, 0]] * (17 - known) + spots[::-1])[:17]

    people = [
        person(1, points(17, 0), [0, 0, 50, 90], area=1000),
        person(1, points(17, 10), [10, 10, 30, 70], area=1000),  # inside of the first
        person(1, points(5, 100), [100, 0, 40, 90], area=1000),  # legs alone
        person(1, points(6, 200), [200, 0, 40, 90], area=1000),  # legs and hips: no ruler
        person(1, points(17, 250), [250, 0, 40, 90], area=1000, iscrowd=1),
    ]
    image = {"id": 1, "file_name": "1.png", "width": 300, "height": 100}
    text = coco(list(rooms.data.JOINTS), [image], people)
    (tmp_path / "annotations" / "coco_keypoints_gt.json").write_text(text)
    subjects, left_out = rooms.data.annotated(tmp_path)
    assert [subject.name for subject in subjects] == ["1.png#1"]
    assert subjects[0].truth.ruler == "torso"
    assert subjects[0].truth.area == 1000  # of the outline, not of the box
    assert left_out == {
        "1.png#2": "under somebody else",
        "1.png#3": "fewer than 6 joints",
        "1.png#4": "neither head nor torso",
    }


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "no JSON"),
        ('{"images": []}', "not annotated as it should be"),
        (coco(["nose"], [{"id": 1, "file_name": "no.png", "width": 9, "height": 9}], []), "no.png"),
    ],
)
def test_bad_annotations_are_named(rooms: Rooms, tmp_path: Path, text: str, named: str) -> None:
    write_image(tmp_path / "images" / "0.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "coco_keypoints_gt.json").write_text(text)
    with pytest.raises(InputError, match=named):
        rooms.data.annotated(tmp_path)


# Measures.


def truth_of(rooms: Rooms, **changes: Any) -> Any:
    points = SPOTS * 100
    return replace(rooms.data.Truth(points, 5.0, "head", 2500.0), **changes)


def test_pck_counts_annotated_joints_within_the_tolerance(rooms: Rooms) -> None:
    truth = truth_of(rooms)
    found = truth.points.copy()
    assert rooms.metrics.pck(found, truth) == 1.0
    found[0] += (3, 4)  # 5 away: still in
    found[1] += (3.1, 4)
    assert rooms.metrics.pck(found, truth) == 16 / 17
    unknown = truth.points.copy()
    unknown[1] = np.nan
    assert rooms.metrics.pck(found, truth_of(rooms, points=unknown)) == 1.0
    assert rooms.metrics.pck(None, truth) == 0.0


def test_oks_is_coco_s(rooms: Rooms) -> None:
    truth = truth_of(rooms)
    found = truth.points.copy()
    assert rooms.metrics.oks(found, truth) == 1.0
    # One joint alone, off by its k times the root of the area: exp(-1/2).
    alone = np.full((17, 2), np.nan)
    alone[11] = truth.points[11]
    found[11, 0] += 2 * 0.107 * 50
    one = truth_of(rooms, points=alone)
    assert rooms.metrics.oks(found, one) == pytest.approx(math.exp(-0.5))
    assert rooms.metrics.oks(found, truth) == pytest.approx((16 + math.exp(-0.5)) / 17)
    assert rooms.metrics.oks(None, truth) == 0.0


def test_agreement_asks_for_the_confident_joints_alone(rooms: Rooms) -> None:
    reference = np.column_stack([SPOTS * 100, np.ones(17)])
    torso = math.hypot(32, 30)  # both diagonals, from the shoulders to the opposite hips
    assert rooms.data.torso(reference) == pytest.approx(torso)
    found = reference.copy()
    found[0, 0] += 0.19 * torso
    found[1, 0] += 0.21 * torso
    assert rooms.metrics.agreement(found, reference) == 16 / 17
    reference[1, 2] = 0.4
    assert rooms.metrics.agreement(found, reference) == 1.0
    assert rooms.metrics.agreement(None, reference) == 0.0
    reference[5:, 2] = 0.4
    assert rooms.metrics.usable_reference(found) and not rooms.metrics.usable_reference(reference)
    assert not rooms.metrics.usable_reference(None)


def test_intervals_tell_noise_from_a_difference(rooms: Rooms) -> None:
    interval = rooms.metrics.mean_interval
    assert interval([0.2] * 9, "same").verdict == "better"
    assert interval([-0.2] * 9, "same").verdict == "worse"
    random = np.random.default_rng(4).standard_normal(40)
    noise = interval(list(random - random.mean()), "noise")
    assert noise.verdict == "within noise" and noise == interval(
        list(random - random.mean()), "noise"
    )
    # The width is that of a normal mean: 2 x 1.96 sigma / sqrt n.
    assert noise.high - noise.low == pytest.approx(3.92 * random.std() / math.sqrt(40), rel=0.05)
    assert interval([0.5], "one").low is None and interval([0.5], "one").verdict == "within noise"
    assert math.isnan(interval([], "none").mean)


# Geometry.


def test_a_crop_keeps_the_joints_on_their_pixels(rooms: Rooms) -> None:
    photo = np.zeros((400, 300, 3), np.uint8)
    photo[200:204, 100:104] = 255  # its centre is at 102, 202
    box = rooms.data.Box(60, 120, 90, 160)
    crop = rooms.crop.cut_out(photo, box, height=20, scale=4)
    # The box and a quarter of its longer side all around: 170 x 240 at half the size.
    assert crop.image.shape == (120, 84, 3)
    points = np.full((17, 2), np.nan)
    points[0] = (102, 202)
    truth = rooms.data.Truth(points, 8.0, "head", 900.0)
    placed = crop.place(truth)
    weights = crop.image[..., 0].astype(float)
    rows, columns = np.indices(weights.shape)
    centre = [np.average(columns + 0.5, weights=weights), np.average(rows + 0.5, weights=weights)]
    assert placed.points[0] == pytest.approx(centre, abs=0.1)
    assert placed.tolerance == pytest.approx(4.0, rel=0.01)
    assert placed.area == pytest.approx(225.0, rel=0.02)


def test_a_pose_on_the_small_picture_lies_where_it_does_on_the_large_one(rooms: Rooms) -> None:
    small = FakeModel().find(np.zeros((80, 72, 3), np.uint8))
    large = FakeModel().find(np.zeros((320, 288, 3), np.uint8))
    assert rooms.crop.scale_pose(small, 4) == pytest.approx(large)
    assert rooms.crop.scale_pose(None, 4) is None


def test_every_picture_s_pose_is_told_in_pixels_of_the_result(rooms: Rooms) -> None:
    class FindsAll(FakeModel):
        least = 0

    crop = rooms.crop.Crop(np.zeros((120, 80, 3), np.uint8), np.zeros(2), np.ones(2))
    setup = rooms.run.Setup({}, [rooms.crop.HARSH], [30], 1, 4)
    shown = rooms.run.show(crop, rooms.crop.HARSH, 7, setup)
    assert shown["low"].image.shape == (30, 20, 3)
    for picture in shown.values():
        assert rooms.run.find(picture, FindsAll())[:, :2] == pytest.approx(SPOTS * (80, 120))


def test_people_without_annotation_are_found_once(rooms: Rooms, tmp_path: Path) -> None:
    class InTheRightHalf:
        def find(self, image: npt.NDArray[np.uint8]) -> FloatArray | None:
            # Marked by a white pixel in the photo; seen in squares alone.
            marks = np.argwhere(image[..., 0] == 255)
            if image.shape[0] != image.shape[1] or not len(marks):
                return None
            row, column = marks[0]
            spots = (SPOTS - SPOTS[0]) * 60 + (column + 0.5, row + 0.5)
            return np.column_stack([spots, np.ones(17)])

    photo = np.zeros((100, 300, 3), np.uint8)
    photo[20, 190] = 255  # in the middle square and, at its edge, not in the right one
    photo[20, 250] = 255
    people = rooms.crop.find_people(tmp_path / "p.png", photo, InTheRightHalf())
    assert [one.name for one in people] == ["p.png#1", "p.png#2"]
    assert all(one.truth is None for one in people)
    centres = [one.box.x + one.box.width / 2 for one in people]
    assert centres == pytest.approx([190.5, 250.5], abs=1)


# Tables and sheets.


def sample(rooms: Rooms, name: str, bicubic: float, acf: float, **more: Any) -> Any:
    def score(value: float) -> Any:
        return rooms.run.Score(1.0, value, value, value, None)

    scores = {"original": 1.0, "low": 0.0, "bicubic": bicubic, "acf": acf}
    known = {"recipe": "clean", "height": 48, "subject": name} | more
    return rooms.run.Sample(scores={n: score(v) for n, v in scores.items()}, **known)


def test_cells_pair_persons_and_count_each_once(rooms: Rooms) -> None:
    samples = [
        sample(rooms, "a", 0.2, 0.4),
        sample(rooms, "b", 0.4, 0.4),
        sample(rooms, "b", 0.0, 0.8, height=96),
    ]
    cells = {(c.measure, c.height): c for c in rooms.table.cells(samples)}
    assert {measure for measure, _ in cells} == {"found", "detected", "pck", "oks"}
    assert cells["pck", 48].means["bicubic"].mean == pytest.approx(0.3)
    assert cells["pck", 48].differences["acf", "bicubic"].mean == pytest.approx(0.1)
    assert cells["pck", 96].persons == 1 and cells["pck", "all"].persons == 2
    # b counts once, with the mean of 0 and 0.8.
    assert cells["pck", "all"].differences["acf", "bicubic"].mean == pytest.approx(0.3)


def test_figures_are_spelled_with_their_interval_and_marked(rooms: Rooms) -> None:
    interval = rooms.metrics.Interval
    assert rooms.table.spell(interval(0.012, -0.004, 0.029, 9)) == "+1.2 [−0.4, +2.9]"
    assert rooms.table.spell(interval(-0.02, -0.03, -0.01, 9)) == "−2.0 [−3.0, −1.0] *"
    assert rooms.table.spell(interval(0.0, None, None, 1)) == "0.0"


def test_markdown_has_a_row_for_each_cell_and_no_stray_bars(rooms: Rooms) -> None:
    samples = [sample(rooms, name, 0.2, 0.9) for name in "abc"]
    grids = rooms.table.grids(rooms.table.cells(samples))
    text = rooms.table.to_markdown(grids, ["a line"])
    assert text.startswith("- a line\n")
    rows = [line for line in text.splitlines() if line.startswith("| clean")]
    assert len(rows) == 4 and all(row.count("|") == 9 for row in rows)
    assert "| 100.0 | 0.0 | 20.0 | 90.0 | +70.0 [+70.0, +70.0] \\* |" in text


def test_the_sheet_shows_gains_and_losses_alike(rooms: Rooms) -> None:
    gains = {"a": 0.0, "b": -0.5, "c": 0.5, "d": 0.1, "e": -0.1}
    samples = [sample(rooms, name, 0.5, 0.5 + gain) for name, gain in gains.items()]
    chosen = rooms.sheet.choose(samples, "acf", 3)
    assert [one.subject for one in chosen] == ["c", "a", "b"]
    assert [one.subject for one in rooms.sheet.choose(samples, "acf", 9)] == list("cdaeb")
    assert rooms.sheet.choose([], "acf", 3) == []


def test_a_drawn_pose_touches_its_own_place_alone(rooms: Rooms) -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    pose = FakeModel().find(np.zeros((100, 100, 3), np.uint8))
    drawn = rooms.sheet.draw_pose(image, pose, truth_of(rooms), 2.0)
    assert not image.any() and drawn.any()
    assert drawn[24, 100].any()  # the nose
    assert not drawn[:, :20].any() and not drawn[190:].any()
    assert not rooms.sheet.draw_pose(image, None, None, 2.0).any()
