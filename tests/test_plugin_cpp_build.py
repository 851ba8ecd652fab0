"""The C++ plugin's build: every TensorRT and machine that is served; where its parts come from."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest
from plugin_tools import PLUGIN, cuda_headers, embedded_image, headers, need_nvrtc, program, run


def check_headers(folder: Path | str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(PLUGIN / "check_headers.sh"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("major", ["10", "11"])
def test_it_compiles_against_public_headers(major: str, tmp_path: Path) -> None:
    """The oldest and the newest of each major version, for PCs and for Jetsons."""
    program("g++")
    found = [version for version in headers() if version.split(".")[0] == major]
    if not found:
        pytest.skip(f"no headers of TensorRT {major} are there")
    # Between them, the plugin interfaces are the same: the script compares their layouts.
    for version in {found[0], found[-1]}:
        (tmp_path / version).symlink_to(headers()[version])

    done = check_headers(tmp_path, CUDA_INCLUDE=str(cuda_headers()))

    assert done.returncode == 0, done.stdout
    assert f"TensorRT {found[0]}  x86-64  compiled and linked" in done.stdout
    assert f"TensorRT {found[-1]}  x86-64  compiled and linked" in done.stdout
    if shutil.which("aarch64-linux-gnu-g++"):
        assert f"TensorRT {found[0]}  aarch64  compiled and linked" in done.stdout
    assert "plugin interfaces: the same layout in every version" in done.stdout


def test_without_headers_the_check_says_why_it_did_not_run(tmp_path: Path) -> None:
    done = check_headers(tmp_path)

    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("skipped: ")


def test_headers_that_lack_the_interface_fail_the_check(tmp_path: Path) -> None:
    program("g++")
    (tmp_path / "10.3.0").mkdir()
    (tmp_path / "10.3.0" / "NvInfer.h").touch()
    (tmp_path / "10.3.0" / "NvInferRuntime.h").write_text("namespace nvinfer1 {}\n")

    done = check_headers(tmp_path, CUDA_INCLUDE=str(cuda_headers()))

    assert done.returncode == 1
    assert "TensorRT 10.3.0  x86-64  FAILED" in done.stdout


TAGS = (
    "v8.6.1",
    "v9.3.0",
    "v10.2.0",
    "v10.3.0",
    "v10.11",
    "v10.13.0",
    "v10.13.2",
    "v11.0",
    "v11.1",
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A repository with the tags that NVIDIA's has, and headers that tell a version alone."""
    git = program("git")
    folder = tmp_path_factory.mktemp("headers")
    who = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
    run([git, "init", "--quiet", folder])
    run([git, "-C", folder, "config", "uploadpack.allowFilter", "true"])
    (folder / "include").mkdir()
    for tag in TAGS:
        version = [*tag[1:].split("."), "0"][:3]
        # 10.12 and later write the numbers by way of other names.
        stem = "TRT_{}_ENTERPRISE" if version[0] == "11" else "NV_TENSORRT_{}"
        lines = [
            f"#define {stem.format(part)} {number} //!< TensorRT.\n"
            for part, number in zip(("MAJOR", "MINOR", "PATCH"), version, strict=True)
        ]
        (folder / "include" / "NvInferVersion.h").write_text("".join(lines))
        (folder / "include" / "NvInfer.h").write_text(f"// {tag}\n")
        (folder / "samples").mkdir(exist_ok=True)
        (folder / "samples" / "large.bin").write_text("not wanted\n")
        run([git, "-C", folder, "add", "."])
        run([git, "-C", folder, *who, "commit", "--quiet", "-m", tag])
        run([git, "-C", folder, *who, "tag", tag])
    return folder.as_uri()


def find_tensorrt(folder: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    """Run cmake/find_tensorrt.cmake alone."""
    folder.mkdir(exist_ok=True)
    script = folder / "find.cmake"
    script.write_text(
        textwrap.dedent(f"""\
            cmake_minimum_required(VERSION 3.18)
            set(CMAKE_SYSTEM_PROCESSOR nothing)
            set(CMAKE_CROSSCOMPILING TRUE)
            include("{PLUGIN}/cmake/find_tensorrt.cmake")
            message("FOUND ${{ACF_TENSORRT_FOUND_VERSION}} MAJOR ${{ACF_TENSORRT_MAJOR}} "
              "IN ${{ACF_TENSORRT_INCLUDE}}")
            """),
        encoding="utf-8",
    )
    return subprocess.run(
        [program("cmake"), *settings, "-P", str(script)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key != "TENSORRT_ROOT"},
    )


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        ("10.3", "10.3.0"),  # JetPack 6.2
        ("10.3.0", "10.3.0"),
        ("10.13", "10.13.2"),  # the newest of that minor version
        ("10.13.3", "10.13.2"),  # never a newer one
        ("10.11.0", "10.11.0"),  # whose tag has two numbers
        ("11.4.1", "11.1.0"),  # newer than any that is public
    ],
)
def test_headers_are_fetched_at_the_tag_that_matches(
    repository: str, wanted: str, taken: str, tmp_path: Path
) -> None:
    settings = (f"-DACF_TENSORRT_VERSION={wanted}", f"-DACF_TENSORRT_REPOSITORY={repository}")

    done = find_tensorrt(tmp_path, *settings)

    assert f"FOUND {taken} MAJOR {taken.split('.')[0]} IN {tmp_path}" in done.stderr, done.stderr
    (include,) = tmp_path.glob("tensorrt-*/include")
    assert not (include.parent / "samples").exists(), "only the headers are wanted"
    again = find_tensorrt(tmp_path, *settings)
    assert "Fetching" in done.stdout and "Fetching" not in again.stdout


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("12.0", "no tag for TensorRT 12.0"),
        ("10.2", "TensorRT 10.2.0 is too old: the plugin needs 10.3"),
        ("9.3", "--no-plugins"),
    ],
)
def test_versions_that_cannot_be_served_are_refused(
    repository: str, wanted: str, says: str, tmp_path: Path
) -> None:
    done = find_tensorrt(
        tmp_path, f"-DACF_TENSORRT_VERSION={wanted}", f"-DACF_TENSORRT_REPOSITORY={repository}"
    )

    assert done.returncode != 0
    assert says in " ".join(done.stderr.split())


def test_a_repository_that_is_not_there_is_told(tmp_path: Path) -> None:
    program("git")
    nowhere = (tmp_path / "nowhere").as_uri()

    done = find_tensorrt(
        tmp_path, "-DACF_TENSORRT_VERSION=10.3", f"-DACF_TENSORRT_REPOSITORY={nowhere}"
    )

    assert done.returncode != 0
    assert "Point TENSORRT_ROOT at a TensorRT instead" in " ".join(done.stderr.split())


def test_the_root_that_is_named_comes_first(repository: str, tmp_path: Path) -> None:
    made = find_tensorrt(
        tmp_path / "a",
        "-DACF_TENSORRT_VERSION=11.1",
        f"-DACF_TENSORRT_REPOSITORY={repository}",
    )
    root = re.sub(r".* IN (.*)/include\s*$", r"\1", made.stderr, flags=re.S)

    done = find_tensorrt(tmp_path / "b", f"-DTENSORRT_ROOT={root}", "-DACF_TENSORRT_VERSION=10.3")
    wrong = find_tensorrt(tmp_path / "c", f"-DTENSORRT_ROOT={tmp_path}")

    assert "FOUND 11.1.0" in done.stderr
    assert wrong.returncode != 0 and "has no NvInfer.h" in " ".join(wrong.stderr.split())


def test_without_headers_the_ways_to_get_them_are_named(tmp_path: Path) -> None:
    done = find_tensorrt(tmp_path)
    if done.returncode == 0:
        pytest.skip("this machine has TensorRT's headers")

    said = " ".join(done.stderr.split())
    assert "libnvinfer-headers-dev" in said
    assert "-DTENSORRT_ROOT=" in said and "-DACF_TENSORRT_VERSION=10.3" in said


def test_nvcc_embeds_the_same_kernels_as_nvrtc(tmp_path: Path) -> None:
    """Under the same names, with the same hash of their sources."""
    from acf_edge.cuda import compile_cubin, kernel_hash
    from acf_edge.cuda.cubin import read_kernels

    program("nvcc")
    need_nvrtc()
    made = tmp_path / "embedded.cpp"
    run(["sh", PLUGIN / "embed_nvcc.sh", made, "87"])

    text = made.read_text(encoding="utf-8")
    assert f'kKernelHash[] = "{kernel_hash()}"' in text
    ours, theirs = read_kernels(embedded_image(made, "87")), compile_cubin("87").kernels
    assert {name: cost.parameters for name, cost in ours.items()} == {
        name: cost.parameters for name, cost in theirs.items()
    }
    assert not list(tmp_path.glob("embedded.cpp.*")), "nothing is left behind"


def test_an_sm_that_nvcc_does_not_know_is_refused(tmp_path: Path) -> None:
    program("nvcc")

    done = subprocess.run(
        ["sh", str(PLUGIN / "embed_nvcc.sh"), str(tmp_path / "embedded.cpp"), "53"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "makes no code for SM 53; it knows: " in done.stderr
    assert not list(tmp_path.iterdir())
