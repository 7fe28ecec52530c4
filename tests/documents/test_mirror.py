"""tests/unit mirrors serving/: each module has a test file of its own, and each test file a module.

The lists hold the exceptions, each with its reason. They only shrink: an entry that is no
exception any more is an error here.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE, UNIT = ROOT / "serving", ROOT / "tests" / "unit"

# Modules below serving/ without a test file of their own: where they are tested instead.
ELSEWHERE = {
    "__main__.py": "one line; test_story runs it",
    "api/actions.py": "api/test_audit.py, api/routes; the routes call them",
    "api/build.py": "it builds the application of support/api.py: all of unit/api",
    "api/compreface/answers.py": "api/routes/test_compreface.py, test_compreface_faces.py",
    "api/context.py": "a record that the routes are given; api/routes",
    "api/example_photos.py": "api/test_openapi.py finds the face in each",
    "api/examples.py": "every example is sent to the real service by service/test_openapi.py",
    "api/facts.py": "api/middleware/test_access.py reads what it notes",
    "api/ingress.py": "the deployment itself: service",
    "api/middleware/guard.py": "api/test_bodies.py, api/test_problems.py",
    "api/read_back.py": "api/routes/test_identities.py, api/routes/test_corrections.py",
    "api/routes/collections.py": "api/middleware/test_gate.py, service/test_keys.py",
    "api/routes/duplicates.py": "service/test_conflicts.py",
    "api/routes/generate.py": "api/test_bodies.py, api/test_answers.py, api/test_problems.py",
    "api/routes/health.py": "api/test_problems.py, matching/test_threshold.py",
    "api/routes/infer.py": "api/test_bodies.py, api/test_answers.py, api/test_problems.py",
    "api/v2_codec.py": "api/routes/test_v2.py",
    "api/v2_schemas.py": "api/routes/test_v2.py",
    "cli/calibrate.py": "cli/test_evaluate.py",
    "cli/evaluation.py": "cli/test_evaluate.py",
    "cli/infer.py": "cli/test_root.py",
    "cli/services.py": "a record of factories; cli/gallery, cli/test_model.py",
    "cli/status.py": "cli/test_root.py",
    "cli/terminal.py": "cli/test_root.py",
    "client/asynchronous.py": "client/test_calls.py, for both clients",
    "client/errors.py": "client/test_exchange.py, client/test_retry.py",
    "client/synchronous.py": "client/test_calls.py, for both clients",
    "evaluation/comparisons.py": "evaluation/test_tail.py, evaluation/test_calibrate.py",
    "evaluation/evaluate.py": "evaluation/test_html_report.py, cli/test_evaluate.py",
    "evaluation/lookups.py": "evaluation/test_identification.py, evaluation/test_distractors.py",
    "evaluation/plots.py": "evaluation/test_html_report.py",
    "evaluation/sample.py": "evaluation/test_verification.py, evaluation/test_card_file.py",
    "evaluation/tables.py": "evaluation/test_html_report.py",
    "gallery/blocks.py": "gallery/test_slots.py",
    "gallery/centroids.py": "gallery/test_state.py",
    "gallery/columns.py": "gallery/test_slots.py, gallery/test_state.py",
    "gallery/commit.py": "gallery/test_gallery.py, gallery/test_machine.py",
    "gallery/details.py": "gallery/test_state.py, gallery/test_segment.py",
    "gallery/folding.py": "gallery/test_fold.py",
    "gallery/following.py": "gallery/test_gallery.py, gallery/test_memory.py",
    "gallery/limits.py": "a record: gallery/test_machine.py makes each of them small",
    "gallery/manifest_file.py": "gallery/test_manifest.py, gallery/test_gallery.py",
    "gallery/objects.py": "gallery/test_gallery.py, gallery/test_machine.py",
    "gallery/ownership.py": "gallery/test_state.py, gallery/test_fold.py",
    "gallery/snapshot.py": "gallery/test_state.py, gallery/test_fold.py",
    "gallery/stored.py": "gallery/test_compaction.py, gallery/test_erasure.py",
    "gallery/writer.py": "gallery/test_gallery.py, gallery/test_machine.py",
    "model/server.py": "model/test_embedder.py, model/test_liveness.py: the two that ask it",
    "operations/events.py": "cli/test_events.py",
    "operations/trail.py": "cli/test_audit.py",
    "pipeline/subjects.py": "api/routes/test_compreface_subjects.py, test_compreface_faces.py",
    "pipeline/verification.py": "pipeline/test_pipeline.py",
    "stack/credentials.py": "stack/test_s3.py",
    "stages/detect.py": "a thin class over vision/faces.py: service",
    "stages/interfaces.py": "Protocols; stages/test_remote.py compares them with what calls them",
    "torchscript.py": "triton/test_trace_model.py, vision/mtcnn",
    "trail/people.py": "trail/test_writer.py, trail/test_reading.py, trail/test_retention.py",
    "trail/places.py": "trail/test_writer.py, trail/test_reading.py",
    "vision/detector.py": "vision/mtcnn/test_detector.py, vision/test_turning.py",
    "vision/formats/heif_child.py": "vision/formats/test_heif.py runs it",
    "vision/formats/tiff_values.py": "vision/formats/test_tiff_samples.py",
    "vision/mtcnn/convert.py": "vision/mtcnn/test_cascade.py compares the faces",
    "vision/mtcnn/networks.py": "vision/mtcnn/test_cascade.py",
    "vision/yunet/network.py": "vision/yunet/test_detector.py",
    "vision/yunet/weights_file.py": "vision/yunet/test_detector.py reads what it fetched",
    "vision/records.py": "matching/test_records.py",
}
# Test files below tests/unit without a module of the same name below serving/.
OF_MORE = {
    "api/test_forms_fuzz.py": "api/forms.py, api/bodies.py, with made-up forms",
    "api/test_made_up.py": "all of api, by made-up requests of its own description",
    "client/test_light.py": "what importing serving.client loads",
    "evaluation/test_growth.py": "model, matching and evaluation: false names as a gallery grows",
    "gallery/test_machine.py": "everything at once on one gallery: all of serving/gallery",
    "gallery/test_memory.py": "what a matcher takes at its peaks: all of serving/gallery",
    "triton/test_facenet.py": "triton/facenet.py, which is no part of the package",
    "triton/test_onnx_file.py": "triton/onnx_file.py, likewise",
    "triton/test_sface.py": "triton/sface.py, likewise",
    "triton/test_trace_model.py": "triton/trace_model.py, likewise",
    "vision/test_decode_fuzz.py": "vision/decode.py, with damaged files",
}


def modules() -> set[str]:
    files = PACKAGE.rglob("*.py")
    return {str(f.relative_to(PACKAGE)) for f in files if f.name != "__init__.py"}


def files_of_tests() -> set[str]:
    return {str(f.relative_to(UNIT)) for f in UNIT.rglob("test_*.py")}


def own_test(module: str) -> str:
    """The path of a module's test file, below tests/unit."""
    return str(Path(module).with_name(f"test_{Path(module).name}"))


def test_every_module_has_a_test_file_of_its_own() -> None:
    missing = {module for module in modules() if own_test(module) not in files_of_tests()}
    without = sorted(missing - set(ELSEWHERE))
    assert without == [], "write tests/unit/<path>/test_<name>.py, or list it here with a reason"
    assert sorted(set(ELSEWHERE) - missing) == [], "these have a test file now, or are gone"


def test_every_test_file_has_its_module() -> None:
    of_none = files_of_tests() - {own_test(module) for module in modules()}
    assert sorted(of_none - set(OF_MORE)) == [], "no module of serving/ has this name"
    assert sorted(set(OF_MORE) - of_none) == [], "these have a module now, or are gone"


def test_every_folder_of_tests_is_a_package() -> None:
    """Or two test files of one name would be one module to pytest."""
    folders = {file.parent for file in UNIT.rglob("test_*.py")}
    assert [str(f.relative_to(ROOT)) for f in folders if not (f / "__init__.py").is_file()] == []
