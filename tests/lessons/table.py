"""What the failures of other uploaders taught us; docs/lessons.md is made of it: `python -m tests.lessons.table`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "lessons.md"
_INTRODUCTION: Final = """\
# What others taught us

Failures of other uploaders, as their users reported them or as their sources show, and the tests that show that we do
not have them. A name with a number is the public issue or pull request. The page is made by
`python -m tests.lessons.table`; a test holds that it is current and that every test it names is there.
"""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One failure.

    Attributes:
        whose: the programs, and the public issues that tell of it.
        failure: what happened to their users.
        tests: those of ours that would fail if we had it, as `file::name` under tests/.
        remark: why there is no test, or what a reader must know beside it.
    """

    whose: str
    failure: str
    tests: tuple[str, ...] = ()
    remark: str = ""


LOST_WORK: Final = (
    Lesson(
        "azcopy#806, #1831, #720, #2399",
        "a resume skips nothing that was sent, or leaves a skipped part out of the final list; progress is back at 0 %",
        (
            "lessons/test_lost_work.py::test_azcopy_806_what_was_acknowledged_is_skipped_and_keeps_its_place",
            "faults/test_kills.py::test_client_kills",
        ),
    ),
    Lesson(
        "azcopy",
        "a last block that is shorter than the others voids the list of all that was sent",
        ("engine/test_uploading.py::test_killed_between_join_and_commit_nothing_goes_again",),
    ),
    Lesson(
        "huggingface_hub#3726",
        "after Ctrl-C and a restart most of what was uploaded goes again",
        (
            "lessons/test_lost_work.py::test_huggingface_hub_3726_ctrl_c_and_restart_send_nothing_again_that_was_acknowledged",
        ),
    ),
    Lesson(
        "rclone#87, #3019, #4999, #7415, #7451; uppy#4269, #2121, #5961; upchunk#21, #112",
        "an interrupted upload begins at zero",
        ("faults/test_kills.py::test_client_kills", "faults/test_crash_points.py::test_a_kill_costs_nothing"),
    ),
    Lesson(
        "aws-cli#1425; boto3#3907, #3187; s5cmd#566",
        "when an upload fails, hours of it are taken down",
        ("lessons/test_lost_work.py::test_aws_cli_1425_an_upload_that_fails_is_not_taken_down",),
    ),
    Lesson(
        "rclone#4313",
        "a link that blinks for a second ends an upload of hours",
        ("lessons/test_lost_work.py::test_rclone_4313_two_hundred_failures_in_a_row_cost_nothing_but_their_time",),
    ),
    Lesson(
        "tus-js-client 5.0.0-pre2",
        "an expired upload is made anew, filled, and reported as an error",
        ("lessons/test_lost_work.py::test_tus_js_client_an_expired_upload_is_made_anew_and_the_run_ends_well",),
    ),
    Lesson(
        "upchunk",
        "what a server took only a part of is sent whole again; the end is overshot",
        ("lessons/test_lost_work.py::test_upchunk_a_partly_taken_append_goes_on_with_what_is_missing",),
    ),
    Lesson(
        "Uppy (S3)",
        "sizes of parts are not kept: another setting mixes two layouts in one object",
        ("lessons/test_lost_work.py::test_uppy_a_plan_of_an_older_version_goes_on_as_it_was_made",),
    ),
    Lesson(
        "huggingface_hub#3112",
        "a torn state file breaks every resume",
        (
            "lessons/test_lost_work.py::test_huggingface_hub_3112_a_state_file_torn_anywhere_costs_only_its_last_steps",
            "engine/runtime/test_repair.py::test_whatever_is_damaged_the_rest_is_saved",
        ),
    ),
    Lesson(
        "tus-js-client (Node)",
        "a store that cannot be read counts as empty, and the next write erases all uploads",
        (
            "engine/runtime/test_manifest.py::test_a_damaged_file_is_named",
            "engine/runtime/test_manifest.py::test_a_folder_that_cannot_be_used",
        ),
    ),
    Lesson(
        "tus-js-client (Node)",
        "one upload is taken for another whose name begins like it",
        ("engine/runtime/test_manifest.py::test_what_counts_as_the_same_recording",),
    ),
    Lesson(
        "tus-js-client#142",
        "a recording that is encoded anew for each attempt has other bytes each time, so nothing is resumed",
        (
            "preprocess/test_prepare.py::test_finished_artifact_is_reused",
            "engine/test_client.py::test_a_lost_artifact_is_made_and_sent_again",
        ),
    ),
    Lesson(
        "tus-py-client PR#37",
        "a fingerprint of the first block alone takes two recordings for one",
        (
            "preprocess/test_identity.py::test_edges_are_watched",
            "preprocess/test_identity.py::test_the_middle_is_sampled",
        ),
    ),
    Lesson(
        "B2_Command_Line_Tool#934, #137",
        "two processes resume one file",
        (
            "faults/test_attach.py::test_two_processes_share_one_upload",
            "faults/test_attach.py::test_the_follower_takes_over",
        ),
    ),
    Lesson(
        "rclone#717, #3777, #6424",
        "a recording that grows meanwhile aborts the upload",
        (
            "faults/test_growing.py::test_a_growing_file_is_followed_to_its_end",
            "faults/test_changed.py::test_a_recording_that_grew_between_two_runs_keeps_its_lanes",
            "faults/test_changed.py::test_an_edit_under_the_run_is_taken_up_in_it",
        ),
    ),
    Lesson(
        "google-resumable-media-python#213, #61",
        "an upload cannot be gone on with from its URL",
        ("personalities/test_given_upload.py::test_what_is_there_already_is_not_sent",),
    ),
)
HANGS: Final = (
    Lesson(
        "tus-js-client#773, PR#775, #906, #139; boto3#4148; Uppy (S3)",
        "a dead connection hangs for ever; a stall detector exists and does nothing",
        (
            "faults/test_stall.py::test_a_path_that_forgets_its_connections",
            "engine/core/test_watchdog.py::test_whatever_is_dead_is_cut_in_bounded_time",
        ),
    ),
    Lesson(
        "rclone#9841, #887, #2122",
        "a connection that trickles is never given up",
        (
            "engine/core/test_watchdog.py::test_acknowledgements_that_acknowledge_nothing",
            "engine/core/test_watchdog.py::test_a_peer_that_does_not_read",
        ),
        "where bytes arrive, however few, it is left alone, as it may be all there is; it holds up one lane, not all",
    ),
    Lesson(
        "boto3#2343; uppy#288; aws-cli#568",
        "after sleep, or with a new address, retries go on over dead sockets",
        (
            "engine/runtime/test_watchdog.py::test_after_sleep_no_connection_is_trusted",
            "engine/runtime/test_watchdog.py::test_another_address_ends_what_was_sent_from_the_old_one",
        ),
    ),
    Lesson(
        "uppy#1658",
        "the system's word for being online is believed",
        ("engine/runtime/test_link.py::test_every_rest_ends_when_the_link_is_back",),
    ),
    Lesson(
        "headroom#3259",
        "dead pooled connections stay hidden for minutes behind a long write timeout",
        ("engine/runtime/test_watchdog.py::test_a_dead_connection_is_cut",),
    ),
    Lesson(
        "azcopy#1657",
        "0.0 % for minutes, and no word about retries",
        ("lessons/test_patience.py::test_azcopy_1657_whoever_waits_is_told_for_what",),
    ),
    Lesson(
        "tuspy",
        "a blocking request stops the whole event loop",
        ("lessons/test_patience.py::test_tus_py_client_a_server_that_does_not_answer_stops_nothing_else",),
    ),
)
FALSE_DEATH: Final = (
    Lesson(
        "xet-core#807; python-storage#74",
        "a fixed timeout kills uploads that are slow and move",
        (
            "engine/core/test_watchdog.py::test_whatever_moves_is_never_cut",
            "engine/runtime/test_exchange.py::test_pieces_grow_while_they_go_quickly",
        ),
    ),
    Lesson(
        "tale#2779",
        "all is written and buffers still drain: a watchdog of progress cuts a healthy upload",
        ("engine/core/test_watchdog.py::test_the_phase_follows_from_what_the_kernel_says",),
    ),
    Lesson(
        "owncloud/core#32217",
        "the client does not wait for the server to put the upload together, and asks for it twice",
        (
            "faults/test_stall.py::test_a_server_that_takes_its_time",
            "engine/core/test_watchdog.py::test_a_server_at_work_is_waited_for",
            "personalities/test_personalities.py::test_send",
        ),
    ),
    Lesson(
        "Uppy (tus)",
        "the fifth 429 in a program's life fails the upload",
        ("lessons/test_patience.py::test_uppy_the_fiftieth_429_is_no_worse_than_the_first",),
    ),
    Lesson(
        "azcopy#3080, #54, #947",
        "fails unless the number of connections is turned down by hand",
        ("lessons/test_patience.py::test_azcopy_3080_a_server_that_takes_one_request_at_a_time_gets_everything",),
    ),
)
RETRIES: Final = (
    Lesson(
        "huggingface_hub#3325, PRs #3315, #3642",
        "a refusal that will not change is repeated for ever, at once",
        ("lessons/test_patience.py::test_huggingface_hub_3325_a_403_is_not_repeated_for_ever",),
    ),
    Lesson(
        "runloop api-client-python#803",
        "retries pile up connections and storm the server",
        (
            "lessons/test_patience.py::test_runloop_api_client_803_an_overloaded_server_is_not_stormed",
            "lessons/test_patience.py::test_runloop_api_client_803_a_storm_of_resets_makes_no_pile_of_connections",
        ),
    ),
    Lesson(
        "AzureStorageExplorer#8200",
        "a credential that expires half way leaves the upload stuck",
        ("lessons/test_jobs.py::test_azure_storage_explorer_8200_a_key_that_expires_half_way_costs_no_byte",),
    ),
)
TRUTH: Final = (
    Lesson(
        "rclone#3866, #2924, #3861",
        "bytes that go twice count twice: 164 %, 284 %",
        ("lessons/test_progress.py::test_rclone_3866_bytes_that_go_twice_never_count_twice",),
    ),
    Lesson(
        "rclone#4178",
        "the time left is nonsense",
        ("lessons/test_progress.py::test_rclone_4178_the_time_left_comes_from_what_arrived_in_this_run",),
    ),
    Lesson(
        "upchunk#146",
        "offline, the bar shoots to 100 %: it counts what a buffer took",
        ("lessons/test_progress.py::test_upchunk_146_bytes_in_a_buffer_are_not_progress",),
    ),
    Lesson(
        "huggingface_hub#3765, #1502",
        "100 %, and then nothing is said and nothing ends",
        (
            "engine/progress/test_bars.py::test_a_hundred_percent_are_all_of_it",
            "engine/runtime/test_together.py::test_a_long_wait_is_explained_and_a_short_one_is_not",
            "faults/test_stall.py::test_a_server_that_is_gone_while_it_is_waited_for",
        ),
    ),
    Lesson(
        "uppy#4985",
        "100 %, and an empty object is stored",
        ("lessons/test_progress.py::test_uppy_4985_an_empty_object_is_never_called_uploaded",),
    ),
    Lesson(
        "google-cloud-swift#861",
        "the server claims more than it was sent, and the client skips what is missing",
        ("lessons/test_truth.py::test_google_cloud_swift_861_bytes_that_were_never_sent_are_not_skipped",),
    ),
    Lesson(
        "google-cloud-rust#6686",
        "the checksum is not compared where the end of the upload is found by asking",
        ("engine/test_client.py::test_bytes_that_only_an_offset_speaks_for_are_not_verified",),
    ),
    Lesson(
        "google-resumable-media-python",
        "the answer to the last byte is lost, and the finished upload is called invalid",
        ("engine/runtime/test_upload.py::test_one_fault_at_any_step_costs_little",),
    ),
    Lesson(
        "s5cmd",
        "the user's metadata replaces what protects a retry",
        (
            "lessons/test_truth.py::test_s5cmd_what_a_user_tells_the_server_replaces_nothing_of_ours",
            "lessons/test_truth.py::test_s5cmd_metadata_told_twice_is_told_not_at_all",
        ),
    ),
)
MONEY_AND_MEMORY: Final = (
    Lesson(
        "AssemblyAI (Python)",
        "one broken connection while polling, and the caller has lost a paid job",
        (
            "lessons/test_jobs.py::test_assemblyai_an_hour_of_broken_connections_while_polling_end_no_job",
            "engine/runtime/test_service_calls.py::test_polling_outlasts_the_weather",
        ),
    ),
    Lesson(
        "assemblyai-node-sdk#17; assemblyai-java-sdk#60; linto-studio#337",
        "after a timeout the job is billed and cannot be had; a repetition makes another",
        ("lessons/test_jobs.py::test_assemblyai_node_17_a_job_is_had_by_its_id_at_any_later_time",),
    ),
    Lesson(
        "openai-python",
        "idempotency keys are made and never sent",
        ("lessons/test_jobs.py::test_openai_python_the_key_is_sent_and_outlives_the_process",),
    ),
    Lesson(
        "aws-cli#2390; rclone#7141, #4259; tuspy",
        "memory grows with the upload",
        (
            "lessons/test_truth.py::test_aws_cli_2390_a_pipe_of_any_length_takes_little_memory",
            "faults/test_kills.py::test_client_kills",
        ),
    ),
    Lesson(
        "aws-cli#6120, #923",
        "a pipe dies after hours, at part 10,001",
        ("lessons/test_truth.py::test_aws_cli_923_no_number_of_parts_ends_a_pipe",),
    ),
    Lesson(
        "AzureStorageExplorer#1099; azcopy#1108; hf_transfer#46",
        "an upload takes the whole link, and everybody else's calls with it",
        (
            "engine/runtime/test_pace.py::test_eight_lanes_share_a_limit",
            "engine/core/test_polite.py::test_whoever_else_sends_has_the_line_and_its_rest_is_taken_back",
        ),
        "`--limit-rate`, `speechstream limit` and a timetable; `--polite` measures the line's delay",
    ),
    Lesson(
        "tuspy",
        "an upload that is about to be made is kept without its address",
        ("engine/runtime/test_upload.py::test_a_kill_at_any_step_loses_nothing",),
    ),
)
CHAPTERS: Final = {
    "Work that was lost": LOST_WORK,
    "Hangs": HANGS,
    "False deaths": FALSE_DEATH,
    "Retries": RETRIES,
    "What is shown and believed": TRUTH,
    "Jobs, money, memory": MONEY_AND_MEMORY,
}
LESSONS: Final = tuple(lesson for chapter in CHAPTERS.values() for lesson in chapter)


def page() -> str:
    """The whole page."""
    chapters = [
        f"## {title}\n\n| whose | failure | our tests |\n|---|---|---|\n" + "".join(map(_row, lessons))
        for title, lessons in CHAPTERS.items()
    ]
    return "\n".join([_INTRODUCTION, *chapters])


def _row(lesson: Lesson) -> str:
    tests = ", ".join(f"`tests/{test}`" for test in lesson.tests)
    return f"| {lesson.whose} | {lesson.failure} | {'; '.join(filter(None, (tests, lesson.remark)))} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
