"""Requests that cannot be read as HTTP: aiohttp would log and send back the line in question, a token with it."""

from http import HTTPStatus

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler


class QuietHandler(RequestHandler):
    """A connection that names the kind of the error and repeats nothing of the request, neither to log nor client."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what the HTTP parser refused; anything else as aiohttp does."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        # `ServerLog` writes its kind to log and journal.
        self.log_exception("a request that is no HTTP", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun, no second one can be sent")
        text = f"{status} {HTTPStatus(status).phrase}: expected a request as HTTP/1.1 has it ({type(exc).__name__})"
        response = web.Response(status=status, text=text)
        response.force_close()
        return response


class _QuietServer(web.Server):
    def __call__(self) -> RequestHandler:
        return QuietHandler(self, loop=self._loop, **self._kwargs)


class QuietRunner(web.AppRunner):
    """Runs an application whose connections are `QuietHandler`s: aiohttp has no option for the class."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        quiet = _QuietServer(made.request_handler, request_factory=made.request_factory)
        quiet._kwargs = made._kwargs
        return quiet
