"""The picture in the body of a request: the body itself, or the field ``image`` of a multipart form.

A form is read piece by piece in memory, so that no file is written and a piece never takes long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from edgecnn.runtime.terminal import printable
from edgecnn.serve.http import Refusal, Request

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELD = "image"
FORM = "multipart/form-data"
BYTES = "application/octet-stream"


async def picture(request: Request) -> bytes:
    """The picture in the request's body.

    Raises Refusal: 400 for a broken form, 408, 411, 413, 415 for another kind of body, 422 when there is none.
    """
    kind, options = parse_options_header(request.header("content-type"))
    content = bytearray()
    if kind == FORM.encode():
        request.expect_body()
        await _read_form(request, options.get(b"boundary", b""), content)
    elif kind.startswith(b"image/") or kind == BYTES.encode():
        request.expect_body()
        await request.read(content.extend)
    else:
        found = f"is {_shown(kind)}" if kind else "has no Content-Type"
        raise Refusal(415, f"the body {found} (valid: image/*, {BYTES}, {FORM} with the field '{FIELD}')")
    if not content:
        raise Refusal(422, "the image is empty")
    return bytes(content)


async def _read_form(request: Request, boundary: bytes, content: bytearray) -> None:
    form = _Form(content)
    try:
        if not boundary:
            raise FormParserError("its Content-Type names no boundary")
        parser = MultipartParser(boundary, form.callbacks)
        await request.read(parser.write)
        parser.finalize()
    except FormParserError as error:
        raise Refusal(400, f"the form cannot be read: {printable(str(error))[:100]}") from error
    if not form.ended:
        raise Refusal(400, "the form cannot be read: its last boundary is missing")
    if not form.fields:
        raise Refusal(422, f"the form has no field '{FIELD}'")


class _Form:
    """Takes the one field that a form may have."""

    def __init__(self, content: bytearray) -> None:
        self._content = content
        self._name, self._value = bytearray(), bytearray()
        self._disposition = b""
        self.fields = 0
        self.ended = False

    @property
    def callbacks(self) -> MultipartCallbacks:
        """What the parser calls."""
        return {
            "on_header_field": self._header_field, "on_header_value": self._header_value,
            "on_header_end": self._header_end, "on_headers_finished": self._field,
            "on_part_data": self._data, "on_end": self._end,
        }  # fmt: skip

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._name, self._value = bytearray(), bytearray()

    def _field(self) -> None:
        name = parse_options_header(self._disposition)[1].get(b"name", b"")
        self._disposition = b""
        self.fields += 1
        if name != FIELD.encode():
            raise Refusal(400, f"the form has a field {_shown(name)} (valid: '{FIELD}')")
        if self.fields > 1:
            raise Refusal(400, f"the form has the field '{FIELD}' more than once; send one image in each request")

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def _end(self) -> None:
        self.ended = True


def _shown(name: bytes) -> str:
    return f"'{printable(name.decode('latin-1'))[:100]}'" if name else "without a name"
