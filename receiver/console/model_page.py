"""The model in use: its scores on labelled sets, its calibration and its drift."""

from fastapi import APIRouter, Request, Response

from receiver.api import model
from receiver.console.session_route import ConsoleRoute
from receiver.console.templating import render_page
from receiver.html.calibration_plot import calibration_plot
from receiver.http.access.auth import require_role
from receiver.http.access.callers import Role

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@router.get("/model", openapi_extra=require_role(Role.VIEWER))
def show_model(request: Request) -> Response:
    view = model.show_model(request)
    card = view["card"] if isinstance(view["card"], dict) else {}
    scores = [
        row | {"plot": calibration_plot(row.get("calibration") or ())}
        for row in card.get("figures", ())
    ]
    return render_page(request, "model.html", model=view, card=card, scores=scores)
