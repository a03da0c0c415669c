"""What judges: the model in use, how well it did, and whether today still looks like then."""

from fastapi import APIRouter, Request, Response

from receiver.console import plots
from receiver.console.doorway import ConsoleRoute
from receiver.console.pages import page
from receiver.guarded import needs
from receiver.routes import model
from receiver.tokens import Role

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@router.get("/model", openapi_extra=needs(Role.VIEWER))
def shown(request: Request) -> Response:
    story = model.story(request)
    card = story["card"] if isinstance(story["card"], dict) else {}
    figures = [
        one | {"plot": plots.calibration(one.get("calibration") or ())}
        for one in card.get("figures", ())
    ]
    return page(request, "model.html", model=story, card=card, figures=figures)
