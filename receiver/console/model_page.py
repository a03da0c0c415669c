"""What judges: the model in use, how well it did, and whether today still looks like then."""

from fastapi import APIRouter, Request, Response

from receiver.api import model
from receiver.console.session_route import ConsoleRoute
from receiver.console.templating import page
from receiver.html.calibration_plot import calibration_plot
from receiver.http.auth import needs
from receiver.http.tokens import Role

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@router.get("/model", openapi_extra=needs(Role.VIEWER))
def shown(request: Request) -> Response:
    story = model.story(request)
    card = story["card"] if isinstance(story["card"], dict) else {}
    figures = [
        one | {"plot": calibration_plot(one.get("calibration") or ())}
        for one in card.get("figures", ())
    ]
    return page(request, "model.html", model=story, card=card, figures=figures)
