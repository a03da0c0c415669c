"""The baseline: an endpoint that reads the same body and answers `{}`, on the same server."""

import uvicorn
from fastapi import FastAPI, Request

from receiver import settings
from receiver.http import server

app = FastAPI(openapi_url=None)


@app.post("/webhook/alertmanager")
async def noop(request: Request) -> dict[str, str]:
    await request.body()
    return {}


@app.get("/readyz")
async def ready() -> dict[str, str]:
    return {}


if __name__ == "__main__":
    uvicorn.run(app, **server.options(settings.load()))
