"""Every acf-edge command in the documents about boards and containers is one that it has."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from acf_edge.cli.main import VERBS, build_parser, load_verb
from acf_edge.engine.trt.profiles import parse_profile
from acf_edge.engine.trt.targets import TARGETS
from acf_edge.stream.live.command import split_lanes
from acf_edge.stream.live.deadline import parse_deadline
from acf_edge.stream.uri import parse_sink, parse_source

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "docs" / "jetson.md", ROOT / "docker" / "README.md"]

FOUND = all(path.exists() for path in DOCUMENTS)

pytestmark = pytest.mark.skipif(not FOUND, reason="the documents are in the repository only")


def commands() -> list[str]:
    found = []
    for path in DOCUMENTS if FOUND else []:
        text = path.read_text().replace("\\\n", " ")
        blocks = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        lines = [line.strip() for block in blocks for line in block.splitlines()]
        lines += [" ".join(span.split()) for span in re.findall(r"`(acf-edge [a-z]+[^`]*)`", text)]
        found += [line for line in lines if re.search(r"\bacf-edge (?!\.)[a-z]", line)]
    return [line[re.search(r"\bacf-edge (?=[a-z])", line).start() :] for line in found]  # type: ignore[union-attr]


@pytest.mark.parametrize("line", commands())
def test_the_command_exists(line: str) -> None:
    words = shlex.split(line)[1:]
    assert words[0] in VERBS
    args = build_parser([load_verb(words[0])]).parse_args(words)
    if words[0] == "stream":
        for lane in split_lanes(args.lanes):
            parse_source(lane.source)
            for sink in lane.sinks:
                parse_sink(sink)
        if args.deadline:
            parse_deadline(args.deadline)
    for size in [*(getattr(args, "size", None) or [])] if words[0] == "build" else []:
        parse_profile(size)
    target = getattr(args, "target", None)
    assert target in (None, "auto", *TARGETS)


@pytest.mark.parametrize(
    "word", re.findall(r"`((?:web|rtsp)://[^`]+)`", DOCUMENTS[0].read_text()) if FOUND else []
)
def test_sinks_in_the_text(word: str) -> None:
    if word not in ("web://", "rtsp://"):
        parse_sink(word)


def test_the_document_says_what_it_is() -> None:
    text = DOCUMENTS[0].read_text()
    assert "None of this was run on a board" in text and "gpu-status.md" in text
    assert len(commands()) > 12
    for name in re.findall(r"\]\(([^)#]+)\)", text):
        assert (DOCUMENTS[0].parent / name).exists(), name
