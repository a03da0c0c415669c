"""Calls to the emulated AWS: read from HTTP by botocore's service models, and answered by them."""

import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

from moto.core.loaders import create_loader
from moto.core.model import OperationModel, ServiceModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.serialize import get_serializer_class

from demo.aws.world import AwsError

StartResponse: TypeAlias = Callable[..., Any]
_ZONAL_SHIFT = "arc-zonal-shift"
SERVICES = frozenset(
    {_ZONAL_SHIFT, "autoscaling", "cloudtrail", "ec2", "elbv2", "sns", "ssm", "sts"}
)
# Operations of the one service that names them by method and path.
_PATHS = {
    ("POST", "zonalshifts"): "StartZonalShift",
    ("DELETE", "zonalshifts"): "CancelZonalShift",
    ("GET", "managedresources"): "GetManagedResource",
}
# A credential scope is KEY/DATE/REGION/SERVICE/aws4_request.
_KEY, _SERVICE, _SCOPE_PARTS = 0, 3, 5
_JSON, _XML = "application/x-amz-json-1.1", "text/xml"
_READS = ("Describe", "Get", "List", "Lookup", "Simulate")
# The parameters that name what a call is about.
_SUBJECTS = ("InstanceIds", "InstanceId", "Resources", "Targets", "AutoScalingGroupName", "RuleArn")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call, as CloudTrail would record it.

    `session` is the run behind it, from the user agent (`smartcloudops-run/ID`). `status` is 0
    where no answer was sent. `took_s` is how long the emulation needed for it, in real seconds.
    """

    time: float
    service: str
    operation: str
    parameters: Mapping[str, Any]
    session: str = ""
    key: str = ""
    status: int = 0
    took_s: float = 0.0

    @property
    def reads(self) -> bool:
        return self.operation.startswith(_READS)

    @property
    def target(self) -> str:
        """The instance or the group that the call is about."""
        subject = next((self.parameters[name] for name in _SUBJECTS if name in self.parameters), "")
        first = subject[0] if isinstance(subject, list) else subject
        return str(first["Id"] if isinstance(first, Mapping) else first)


def read_call(environ: Mapping[str, Any], now: float) -> Call:
    """The call of a WSGI request. Raises AwsError where it is none of these services.

    A query is sent by GET, too, as VictoriaMetrics does:
    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Query-Requests.html
    """
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split("/")
    service = scope[_SERVICE] if len(scope) >= _SCOPE_PARTS else ""
    service = {"elasticloadbalancing": "elbv2"}.get(service, service)
    text = body.decode("utf-8", "replace") or environ.get("QUERY_STRING", "")
    form = dict(parse_qsl(text, keep_blank_values=True))
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    operation = target.rpartition(".")[2] or form.pop("Action", "")
    folder, _, rest = environ["PATH_INFO"].strip("/").partition("/")
    if service == _ZONAL_SHIFT:
        operation = _PATHS.get((environ["REQUEST_METHOD"], folder), "")
    if service not in SERVICES or operation not in _service(service).operation_names:
        raise AwsError("InvalidAction", f"The action {operation} of {service} is not emulated")
    model = _operation(service, operation)
    parser = PROTOCOL_PARSERS[model.service_model.protocol](model)
    named = re.findall(r"{(\w+)}", str(model.http.get("requestUri", "")))
    request: Any = {"body": body, "values": form, "headers": {}}
    request["url_params"] = dict.fromkeys(named, unquote(rest))
    return Call(
        time=now,
        service=service,
        operation=operation,
        parameters=parser.parse(request),
        session=environ.get("HTTP_USER_AGENT", "").partition("smartcloudops-run/")[2].split(" ")[0],
        key=scope[_KEY],
    )


def send_answer(
    call: Call, answer: Mapping[str, Any], start_response: StartResponse
) -> Iterable[bytes]:
    """The answer in the protocol of the service."""
    model = _operation(call.service, call.operation)
    serializer = get_serializer_class(call.service, model.service_model.protocol)
    response = serializer(model).serialize(answer)
    return _send(start_response, 200, str(response["body"]), response["headers"]["Content-Type"])


def send_error(service: str, error: AwsError, start_response: StartResponse) -> Iterable[bytes]:
    """A refusal in the protocol of the service."""
    inner = f"<Code>{escape(error.code)}</Code><Message>{escape(str(error))}</Message>"
    if service == "ec2":
        inner = f"<Errors><Error>{inner}</Error></Errors><RequestID>0</RequestID>"
        body, kind = f"<Response>{inner}</Response>", _XML
    elif service in {_ZONAL_SHIFT, "cloudtrail", "ssm"}:
        body, kind = json.dumps({"__type": error.code, "message": str(error)}), _JSON
    else:
        inner = f"<Error>{inner}</Error><RequestId>0</RequestId>"
        body, kind = f"<ErrorResponse>{inner}</ErrorResponse>", _XML
    return _send(start_response, error.status, body, kind)


def _send(start_response: StartResponse, status: int, body: str, kind: str) -> Iterable[bytes]:
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error"
    raw = body.encode()
    headers = [("Content-Type", kind), ("Content-Length", str(len(raw)))]
    start_response(f"{status} {phrase}", headers)
    return [raw]


@functools.cache
def _service(service: str) -> ServiceModel:
    return ServiceModel(create_loader().load_service_model(service, "service-2"), service)


@functools.cache
def _operation(service: str, operation: str) -> OperationModel:
    model: OperationModel = _service(service).operation_model(operation)
    return model
