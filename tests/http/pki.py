"""Certificates for tests."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Pki:
    """A CA, and what it signed, as PEM files."""

    ca: Path
    server: tuple[Path, Path]
    client: tuple[Path, Path]


def make_pki(folder: Path) -> Pki:
    """A CA, and a certificate of it for a server at 127.0.0.1 and for a client."""
    key, name = ec.generate_private_key(ec.SECP256R1()), _name("ca")
    ca = _builder(name, name, key.public_key())
    ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    signed = ca.sign(key, hashes.SHA256())
    (folder / "ca.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    pairs = {role: _issued(folder, role, key) for role in ("server", "client")}
    return Pki(ca=folder / "ca.pem", **pairs)


def _issued(folder: Path, role: str, ca_key: ec.EllipticCurvePrivateKey) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    built = _builder(_name(role), _name("ca"), key.public_key()).add_extension(here, critical=False)
    cert = built.sign(ca_key, hashes.SHA256())
    (folder / f"{role}.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / f"{role}.key").write_bytes(pem)
    return folder / f"{role}.pem", folder / f"{role}.key"


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=1))
    )
