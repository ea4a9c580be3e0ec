from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.faults import (
    Busy,
    Conflict,
    Corrupted,
    Fault,
    Gone,
    Intercepted,
    Nonsense,
    NoSpace,
    Refused,
    ServerTrouble,
    Throttled,
    TooLarge,
    Unauthorized,
)
from engine.model import Capabilities, Span, Standing
from engine.redaction import Secret
from engine.wire import tus
from engine.wire.message import Body
from tests.engine.talk import Talk

FILES = "https://speech.example/v1/uploads"
UPLOAD = Secret("https://speech.example/v1/uploads/7c9e6679f7425d40")
SPAN = Span(1000, 5000)


def creating(name: str = "talk.ogg", size_bytes: int | None = 4000, at: str = FILES) -> Talk[tus.Created]:
    return Talk(tus.create(at, size_bytes=size_bytes, filename=name, media_type="audio/ogg"))


class TestDiscover:
    def test_a_full_answer(self) -> None:
        """One OPTIONS without Tus-Resumable tells versions, extensions, size and checksums."""
        talk = Talk(tus.discover(FILES))
        assert (talk.request.method, talk.request.url, talk.request.headers) == ("OPTIONS", FILES, ())
        talk.reply(
            204,
            tus_version="1.0.0,0.2.2",
            tus_extension="creation, Termination ,checksum",
            tus_max_size="1099511627776",
            tus_checksum_algorithm="sha1,xxh3-128",
        )
        expected = Capabilities(
            frozenset({"creation", "termination", "checksum"}), 1 << 40, ("sha1", "xxh3-128"), creation_url=FILES
        )
        assert talk.result == expected

    @pytest.mark.parametrize("status", [200, 204])
    @pytest.mark.parametrize("header", ["tus_resumable", "tus_version"])
    def test_one_tus_header_is_enough(self, status: int, header: str) -> None:
        """Servers are known that leave Tus-Version out, and either success code is allowed."""
        result = Talk(tus.discover(FILES)).reply(status, b"", **{header: "1.0.0"}).result
        assert result == Capabilities(creation_url=FILES)

    @pytest.mark.parametrize("status", [200, 204])
    def test_no_tus_header_means_no_tus(self, status: int) -> None:
        """A gateway that answers OPTIONS of itself is not a tus server, and that is no error."""
        assert Talk(tus.discover(FILES)).reply(status, allow="GET, POST").result is None

    @pytest.mark.parametrize("status", [404, 405])
    @pytest.mark.parametrize(("first", "second"), [(FILES, f"{FILES}/"), (f"{FILES}/", FILES)])
    def test_the_other_slash_form_is_tried(self, status: int, first: str, second: str) -> None:
        """Some frameworks route one form of the path only; the one that answered is used from then on."""
        talk = Talk(tus.discover(first)).reply(status)
        assert (talk.request.method, talk.request.url) == ("OPTIONS", second)
        found = talk.reply(204, tus_resumable="1.0.0", tus_extension="creation").result
        assert found == Capabilities(frozenset({"creation"}), creation_url=second)

    @pytest.mark.parametrize("location", ["/files/", "https://tus.example/files/"])
    @pytest.mark.parametrize("status", [301, 307, 308])
    def test_a_redirect_to_the_other_slash_form_is_a_route(self, status: int, location: str) -> None:
        """So do frameworks that answer the other form by a redirect instead of 404."""
        talk = Talk(tus.discover("https://tus.example/files")).reply(status, location=location)
        assert talk.request.url == "https://tus.example/files/"
        found = talk.reply(204, tus_resumable="1.0.0", tus_extension="creation").result
        assert found == Capabilities(frozenset({"creation"}), creation_url="https://tus.example/files/")

    @pytest.mark.parametrize(
        ("status", "headers"),
        [(301, {"location": "https://login.hotel.example/"}), (200, {"content_type": "text/html; charset=utf-8"})],
    )
    def test_a_captive_portal_decides_nothing(self, status: int, headers: dict[str, str]) -> None:
        """A redirect or a page is somebody else's answer; what it says must not choose the wire for a day."""
        with pytest.raises(Intercepted):
            Talk(tus.discover(FILES)).reply(status, b"<html>Please log in</html>", **headers)

    @pytest.mark.parametrize("status", [400, 403, 404, 405, 410, 412])
    def test_a_refusal_means_no_tus(self, status: int) -> None:
        """A server that will not answer OPTIONS gets the documented call instead."""
        talk = Talk(tus.discover(FILES)).reply(status)
        if status in {404, 405}:
            talk.reply(status)
        assert talk.result is None

    def test_another_version_is_another_protocol(self) -> None:
        """A server that speaks only a version to come is not spoken to in ours."""
        assert Talk(tus.discover(FILES)).reply(204, tus_version="2.0.0", tus_extension="creation").result is None

    @pytest.mark.parametrize(
        ("status", "fault"), [(503, Busy), (500, ServerTrouble), (429, Throttled), (401, Unauthorized)]
    )
    def test_a_server_in_trouble_is_asked_again(self, status: int, fault: type[Fault]) -> None:
        """“Busy” is not “does not speak tus”: nothing is decided by it."""
        with pytest.raises(fault):
            Talk(tus.discover(FILES)).reply(status)

    @pytest.mark.parametrize("size", ["", "much", "-1", "1e9", "٣", "9" * 5000])
    def test_a_size_limit_that_is_no_number_is_none(self, size: str) -> None:
        """A malformed Tus-Max-Size limits nothing and breaks nothing."""
        found = Talk(tus.discover(FILES)).reply(204, tus_resumable="1.0.0", tus_max_size=size).result
        assert found is not None
        assert found.max_size_bytes is None


class TestCreate:
    def test_the_request(self) -> None:
        """A creation names the protocol, the length, and both kinds of metadata that servers need."""
        talk = creating()
        assert (talk.request.method, talk.request.url, talk.request.body.size_bytes) == ("POST", FILES, 0)
        assert talk.header == {
            "Tus-Resumable": "1.0.0",
            "Upload-Length": "4000",
            "Upload-Metadata": "filename dGFsay5vZ2c=,filetype YXVkaW8vb2dn",
        }

    def test_a_length_told_later(self) -> None:
        """Exactly one of Upload-Length and Upload-Defer-Length goes along."""
        header = creating(size_bytes=None).header
        assert header["Upload-Defer-Length"] == "1"
        assert "Upload-Length" not in header

    def test_headers_of_the_caller_go_along(self) -> None:
        """Such as the key that makes a repeated creation recognisable."""
        talk = Talk(
            tus.create(FILES, size_bytes=1, filename="a", media_type="b", headers=(("Idempotency-Key", '"6f1d"'),))
        )
        assert talk.header["Idempotency-Key"] == '"6f1d"'

    @pytest.mark.parametrize(
        ("base", "location", "url"),
        [
            (FILES, "https://speech.example/v1/uploads/a1", "https://speech.example/v1/uploads/a1"),
            (FILES, "/v1/uploads/a1", "https://speech.example/v1/uploads/a1"),
            (f"{FILES}/", "a1", "https://speech.example/v1/uploads/a1"),
            (FILES, "//speech.example/files/a1", "https://speech.example/files/a1"),
            (FILES, "  /v1/uploads/a1 ", "https://speech.example/v1/uploads/a1"),
            (FILES, "https://cdn.example/a1?sig=x%2Fy", "https://cdn.example/a1?sig=x%2Fy"),
            (FILES, "http://speech.example/v1/uploads/a1", "https://speech.example/v1/uploads/a1"),
            (FILES, "http://speech.example:80/v1/uploads/a1", "https://speech.example/v1/uploads/a1"),
            ("https://[::1]:8443/files", "http://[::1]/files/a1", "https://[::1]:8443/files/a1"),
            ("http://127.0.0.1:1080/files", "http://127.0.0.1:1080/files/a1", "http://127.0.0.1:1080/files/a1"),
            ("http://127.0.0.1:1080/files", "https://127.0.0.1/files/a1", "https://127.0.0.1/files/a1"),
        ],
    )
    def test_every_form_of_location(self, base: str, location: str, url: str) -> None:
        """Absolute, relative and protocol-relative resolve by RFC 3986, and https is never left for http."""
        assert creating(at=base).reply(201, location=location).result.url == Secret(url)

    @pytest.mark.parametrize(
        "location",
        ["http://other.example/a1", "ftp://speech.example/a1", "javascript:x", "http://[", "https://h:99999/"],
    )
    def test_a_location_that_must_not_be_followed(self, location: str) -> None:
        """In clear to another host, another scheme, or no address at all: not a creation."""
        with pytest.raises(Nonsense, match="Location"):
            creating().reply(201, location=location)

    @pytest.mark.parametrize("headers", [{}, {"location": ""}])
    def test_no_location(self, headers: dict[str, str]) -> None:
        """A portal's 200 without a Location is no creation."""
        with pytest.raises(Nonsense, match="without a Location"):
            creating().reply(200, b"<html>Welcome</html>", **headers)

    def test_expiry_is_kept(self) -> None:
        """Upload-Expires is a moment, in seconds since the epoch."""
        made = creating().reply(201, location="/f/1", upload_expires="Wed, 25 Jun 2014 16:00:00 GMT").result
        assert made.expires_at == 1403712000

    def test_a_name_beyond_ascii_is_tried_in_ascii_after_a_400(self) -> None:
        """A server is known that takes only printable ASCII names; the second try differs in nothing else."""
        talk = creating("Gespräch №5.ogg")
        first = talk.header
        second = talk.reply(400, b"invalid filename").header
        assert decoded(first["Upload-Metadata"]) == {"filename": "Gespräch №5.ogg", "filetype": "audio/ogg"}
        assert decoded(second["Upload-Metadata"]) == {"filename": "Gesprach No5.ogg", "filetype": "audio/ogg"}
        assert first | {"Upload-Metadata": ""} == second | {"Upload-Metadata": ""}
        assert talk.reply(201, location="/f/1").result.url == Secret("https://speech.example/f/1")

    def test_a_second_400_is_final(self) -> None:
        """The server's own words are kept."""
        with pytest.raises(Refused, match="no such album"):
            creating("ü").reply(400).reply(400, b'{"error": "no such album"}')

    def test_an_ascii_name_is_sent_once(self) -> None:
        """What could not be better the second time is not repeated."""
        with pytest.raises(Refused):
            creating("talk.ogg").reply(400)

    @pytest.mark.parametrize(
        ("status", "fault"),
        [
            *[(301, Intercepted), (307, Intercepted), (401, Unauthorized), (403, Unauthorized), (404, Gone)],
            *[(412, Refused), (413, TooLarge), (429, Throttled), (500, ServerTrouble), (503, Busy), (507, NoSpace)],
        ],
    )
    def test_refusals(self, status: int, fault: type[Fault]) -> None:
        """Each status becomes the fault that the policy knows; no redirect is followed with a recording in hand."""
        with pytest.raises(fault):
            creating().reply(status, location="/elsewhere")


class TestLocate:
    def test_the_offset(self) -> None:
        """A HEAD past every cache tells offset, length and expiry."""
        talk = Talk(tus.locate(UPLOAD))
        assert (talk.request.method, talk.request.url) == ("HEAD", UPLOAD)
        assert talk.header == {"Tus-Resumable": "1.0.0", "Cache-Control": "no-cache"}
        assert talk.request.reply_wait_s >= 45  # a server may hold it until it has ended a hung append
        standing = talk.reply(200, upload_offset="70", upload_length="100").result
        assert standing == Standing(70, 100)

    @pytest.mark.parametrize("status", [403, 404, 410])
    def test_a_resource_that_is_not_there(self, status: int) -> None:
        """The protocol allows all three; 403 to a HEAD is not about the key."""
        with pytest.raises(Gone):
            Talk(tus.locate(UPLOAD)).reply(status)

    def test_a_key_that_is_not_good_any_more(self) -> None:
        """401 is about the key, never about the upload."""
        with pytest.raises(Unauthorized):
            Talk(tus.locate(UPLOAD)).reply(401)

    def test_success_without_an_offset(self) -> None:
        """A captive portal's 200 does not say where an upload stands."""
        with pytest.raises(Nonsense, match="without an Upload-Offset"):
            Talk(tus.locate(UPLOAD)).reply(200, content_type="text/html")

    @pytest.mark.parametrize("offset", ["", "-1", "+1", "1.0", "0x10", "seven", "٣", "1 2", "9" * 5000])
    def test_an_offset_that_is_no_number(self, offset: str) -> None:
        """Nothing but digits is believed."""
        with pytest.raises(Nonsense):
            Talk(tus.locate(UPLOAD)).reply(200, upload_offset=offset)


class TestLocateJoined:
    def test_it_is_whole_where_it_has_an_offset(self) -> None:
        """As any upload."""
        talk = Talk(tus.locate_joined(UPLOAD))
        assert talk.request.method == "HEAD"
        talk.reply(200, upload_offset="7", upload_length="7", upload_concat="final;/a /b")
        assert talk.result == Standing(7, 7)

    def test_bytes_are_missing_where_it_has_none(self) -> None:
        """A final upload has no offset before all its parts are complete."""
        assert Talk(tus.locate_joined(UPLOAD)).reply(200, upload_concat="final;/a /b").result is None

    def test_what_is_no_final_upload_needs_an_offset(self) -> None:
        """A captive portal's 200 does not say that bytes are missing."""
        with pytest.raises(Nonsense):
            Talk(tus.locate_joined(UPLOAD)).reply(200, content_type="text/html")

    @pytest.mark.parametrize("status", [403, 404, 410])
    def test_it_is_not_there(self, status: int) -> None:
        """As of any upload; also where one of its parts was lost."""
        with pytest.raises(Gone):
            Talk(tus.locate_joined(UPLOAD)).reply(status)


class TestAppend:
    def test_the_request(self) -> None:
        """A PATCH names its offset and carries one span and nothing else."""
        talk = Talk(tus.append(UPLOAD, SPAN, 1000))
        assert (talk.request.method, talk.request.url, talk.request.body) == ("PATCH", UPLOAD, Body(span=SPAN))
        assert talk.header == {
            "Tus-Resumable": "1.0.0",
            "Upload-Offset": "1000",
            "Content-Type": "application/offset+octet-stream",
        }
        assert talk.reply(204, upload_offset="5000").result == Standing(5000)

    def test_the_servers_offset_is_the_result(self) -> None:
        """An interrupted server says 204 and less than was sent: it is believed, not our arithmetic."""
        assert Talk(tus.append(UPLOAD, SPAN, 1000)).reply(204, upload_offset="1024").result == Standing(1024)

    def test_a_checksum(self) -> None:
        """The digest of this payload goes along in base64 (checksum extension)."""
        header = Talk(tus.append(UPLOAD, SPAN, 1000, checksum=tus.Checksum("sha1", b"\xff" * 20))).header
        assert header["Upload-Checksum"] == "sha1 //////////////////////////8="

    def test_the_length_of_a_deferred_upload(self) -> None:
        """An empty span with a length only tells the length."""
        talk = Talk(tus.append(UPLOAD, Span(5000, 5000), 5000, declare_bytes=5000))
        assert talk.header["Upload-Length"] == "5000"
        assert talk.request.body.size_bytes == 0

    @pytest.mark.parametrize(
        ("status", "fault"),
        [
            *[(404, Gone), (409, Conflict), (410, Gone), (413, TooLarge), (423, Busy), (460, Corrupted), (503, Busy)],
            *[(401, Unauthorized), (415, Refused), (507, NoSpace), (500, ServerTrouble), (502, ServerTrouble)],
        ],
    )
    def test_refusals(self, status: int, fault: type[Fault]) -> None:
        """Each failure the protocol names is told apart from the others."""
        with pytest.raises(fault) as caught:
            Talk(tus.append(UPLOAD, SPAN, 1000)).reply(status, b"ERR_LOCKED: file locked\n")
        assert "ERR_LOCKED: file locked" in caught.value.message

    def test_success_without_an_offset(self) -> None:
        """A middlebox that swallows a PATCH with 200 has not stored it: the upload stands where it stood."""
        talk = Talk(tus.append(UPLOAD, SPAN, 1000)).reply(200)
        assert (talk.request.method, talk.request.url) == ("HEAD", UPLOAD)
        with pytest.raises(Nonsense):
            talk.reply(200, upload_offset="1000")

    def test_success_that_only_a_question_proves(self) -> None:
        """A server that answers 204 and no more is asked at once how much it took."""
        talk = Talk(tus.append(UPLOAD, SPAN, 1000)).reply(204)
        assert talk.reply(200, upload_offset="5000", upload_length="9000").result == Standing(5000, 9000)

    def test_a_page_is_no_success(self) -> None:
        """A captive portal's 200 is not looked into further."""
        with pytest.raises(Nonsense):
            Talk(tus.append(UPLOAD, SPAN, 1000)).reply(200, b"<p>welcome", content_type="text/html")


class TestTerminate:
    @pytest.mark.parametrize("status", [200, 204, 404, 405, 410, 501])
    def test_gone_is_gone(self, status: int) -> None:
        """Removed, absent already, or not offered at all: nothing is left to do."""
        talk = Talk(tus.terminate(UPLOAD))
        assert (talk.request.method, talk.header) == ("DELETE", {"Tus-Resumable": "1.0.0"})
        talk.reply(status)
        assert talk.result is None

    def test_trouble_is_told(self) -> None:
        """A server that could not is asked again."""
        with pytest.raises(ServerTrouble):
            Talk(tus.terminate(UPLOAD)).reply(500)


def decoded(metadata: str) -> dict[str, str]:
    """Upload-Metadata as a strict server reads it."""
    pairs = (pair.split(" ") for pair in metadata.split(","))
    return {key: base64.b64decode(value, validate=True).decode() for key, value in pairs}


@settings(deadline=None, max_examples=200)
@given(name=st.text(min_size=1))
def test_any_file_name_survives_metadata(name: str) -> None:
    """Names are data: commas, blanks, controls and every script arrive as they were, in padded base64."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return  # a lone surrogate is a byte of a name that is no text; see the next test
    text = tus.metadata((("filename", name), ("filetype", "audio/ogg")))
    assert text.isascii()
    assert text.isprintable()
    assert decoded(text) == {"filename": name, "filetype": "audio/ogg"}


def test_a_file_name_that_is_no_text_survives_as_its_bytes() -> None:
    """File systems hold bytes; those that are not UTF-8 go as they are."""
    assert tus.metadata((("filename", "\udcff.mp4"),)) == "filename /y5tcDQ="


def test_an_empty_value_keeps_only_its_key() -> None:
    """The blank after the key goes with the value."""
    assert tus.metadata((("filename", ""), ("filetype", "a"))) == "filename,filetype YQ=="


@pytest.mark.parametrize("key", ["", "a b", "a,b", "ä", "a\r\nb"])
def test_keys_that_no_header_can_carry(key: str) -> None:
    """A key is the program's own, so a bad one is a mistake of the program."""
    with pytest.raises(ValueError, match="not a metadata key"):
        tus.metadata(((key, "v"),))


@settings(deadline=None, max_examples=200)
@given(name=st.text())
def test_the_ascii_name_is_one(name: str) -> None:
    """Whatever the name, its nearest ASCII form is printable and not empty."""
    safe = tus.ascii_name(name)
    assert safe
    assert safe.isascii()
    assert safe.isprintable()
