"""HTTP of a pod: metrics, progress, health, and saving on demand."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from finetune_trainer.gang.peers import authorized
from finetune_trainer.gang.state import RunState

REQUEST_LIMIT = 4096


def http_application(
    state: RunState, registry: CollectorRegistry, token: str, save: Callable[[str], None]
) -> web.Application:
    """The application of port 9300."""

    async def metrics(_: web.Request) -> web.Response:
        body = generate_latest(registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def progress(_: web.Request) -> web.Response:
        text = state.report().model_dump_json(by_alias=True, exclude_none=True)
        return web.Response(text=text, content_type="application/json")

    async def health(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def save_now(request: web.Request) -> web.Response:
        if not authorized(request.headers.get("Authorization"), token):
            raise web.HTTPForbidden(text="wrong gang token\n")
        name = request.query.get("request") or (await request.text()).strip()
        if not name:
            raise web.HTTPBadRequest(text="name the request: POST /save?request=<value>\n")
        save(name[:200])
        return web.json_response({"request": name, "step": state.step}, status=202)

    application = web.Application(client_max_size=REQUEST_LIMIT)
    application.router.add_get("/metrics", metrics)
    application.router.add_get("/progress", progress)
    application.router.add_get("/healthz", health)
    application.router.add_post("/save", save_now)
    return application
